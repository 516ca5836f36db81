-- +goose Up

-- What GitHub delivered to the webhook of the service. A row is there before its answer, and its id is known for longer than GitHub
-- delivers again.
CREATE TABLE hook_deliveries (
    guid         TEXT   NOT NULL PRIMARY KEY,  -- X-GitHub-Delivery; the same when it is delivered again
    event        TEXT   NOT NULL,
    action       TEXT   NOT NULL,              -- empty: the event has none
    state        TEXT   NOT NULL,              -- received, processed, failed or ignored
    body         BYTEA,                        -- null once nobody needs it
    error        TEXT   NOT NULL,              -- of the newest attempt
    attempts     BIGINT NOT NULL,
    received_at  BIGINT NOT NULL,
    processed_at BIGINT,
    due_at       BIGINT,                       -- when it is to be processed; null: it is not
    owner        TEXT   NOT NULL,              -- the claim by which it is being processed
    lease_until  BIGINT NOT NULL,
    sum          TEXT   NOT NULL,              -- SHA-256 of the body that came first, hex
    told_at      BIGINT NOT NULL               -- when that body came first, under whatever id
);
CREATE INDEX hook_deliveries_by_sum ON hook_deliveries (sum);
CREATE INDEX hook_deliveries_due ON hook_deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX hook_deliveries_by_time ON hook_deliveries (received_at, guid);
CREATE INDEX hook_deliveries_by_state ON hook_deliveries (state, received_at, guid);

-- Which account of ours gets what an account of GitHub buys. It gives no other right.
CREATE TABLE github_accounts (
    github_id  BIGINT NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    how        TEXT   NOT NULL,                -- email, made, or operator
    linked_at  BIGINT NOT NULL
);
CREATE INDEX github_accounts_of_account ON github_accounts (account_id);

-- What a plan of GitHub's gives.
CREATE TABLE plans (
    id         TEXT   NOT NULL PRIMARY KEY,    -- marketplace-435, sponsors-monthly-1000, sponsors-once-5000
    source     TEXT   NOT NULL,                -- marketplace, sponsors-monthly or sponsors-once
    number     BIGINT NOT NULL,                -- id of the plan, or cents at least
    days       BIGINT NOT NULL,                -- of a sponsorship that is paid once; 0 otherwise
    tier       TEXT   NOT NULL,
    features   TEXT   NOT NULL,                -- JSON array
    created_at BIGINT NOT NULL
);

-- What an account of GitHub has bought, as far as we know.
CREATE TABLE purchases (
    source     TEXT   NOT NULL,                -- marketplace or sponsors
    key        TEXT   NOT NULL,                -- id of the buyer, or node id of the sponsorship
    github_id  BIGINT NOT NULL,                -- of the buyer; 0: not known
    account_id TEXT REFERENCES accounts (id),  -- who gets it; null: nobody yet
    status     TEXT   NOT NULL,                -- active, ended or unknown
    unmatched  TEXT   NOT NULL,                -- what is missing: plan, buyer; empty: nothing
    state      TEXT   NOT NULL,                -- JSON, see service/billing
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (source, key)
);
CREATE INDEX purchases_of_account ON purchases (account_id);
CREATE INDEX purchases_unmatched ON purchases (source, key) WHERE unmatched <> '';

-- What an account had before GitHub's purchases, and what they made of it.
CREATE TABLE billed_accounts (
    account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
    base       TEXT,                           -- JSON license that the operator gave; null: none
    applied    TEXT                            -- JSON license that billing set last; null: it set none
);

-- Where the GitHub App is installed, and the repositories that GitHub told of.
CREATE TABLE github_installations (
    id         BIGINT NOT NULL PRIMARY KEY,
    owner_id   BIGINT NOT NULL,
    login      TEXT   NOT NULL,
    status     TEXT   NOT NULL,                -- active, suspended or deleted
    updated_at BIGINT NOT NULL                 -- by GitHub's clock, of the newest that we heard
);
CREATE TABLE github_repositories (
    id         BIGINT NOT NULL PRIMARY KEY,
    owner_id   BIGINT NOT NULL,
    name       TEXT   NOT NULL,                -- OWNER/NAME
    status     TEXT   NOT NULL,                -- active or deleted
    updated_at BIGINT NOT NULL
);
