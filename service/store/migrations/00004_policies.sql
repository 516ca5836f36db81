-- +goose Up

-- Which jobs of GitHub Actions get license tokens of an account.
CREATE TABLE policies (
    id            TEXT   NOT NULL PRIMARY KEY,
    version       BIGINT NOT NULL,          -- 1, 2, 3, … of one account and repository
    account_id    TEXT   NOT NULL REFERENCES accounts (id),
    repository    TEXT   NOT NULL,          -- OWNER/NAME when it was added; for people
    issuer        TEXT   NOT NULL,
    repository_id TEXT   NOT NULL,
    owner_id      TEXT   NOT NULL,
    narrowing     TEXT   NOT NULL,          -- JSON object of lists
    created_at    BIGINT NOT NULL,
    removed_at    BIGINT                    -- null while it holds
);
CREATE INDEX policies_of_repository ON policies (repository_id, created_at);

-- Identity tokens that were exchanged, so that none is twice. Forgotten when nobody accepts them any more.
CREATE TABLE used_identities (
    hash     TEXT   NOT NULL PRIMARY KEY,   -- SHA-256 of issuer and jti
    at       BIGINT NOT NULL,
    until    BIGINT NOT NULL,
    token_id TEXT   NOT NULL
);
CREATE INDEX used_identities_until ON used_identities (until);
