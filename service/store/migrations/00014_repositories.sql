-- +goose Up

-- Which repositories have exchanged identities of their jobs, and when last, to the hour.
CREATE TABLE repositories (
    account_id    TEXT   NOT NULL REFERENCES accounts (id),
    repository_id TEXT   NOT NULL,
    issuer        TEXT   NOT NULL,
    owner_id      TEXT   NOT NULL,
    name          TEXT   NOT NULL,          -- OWNER/NAME as its newest job calls it; empty when none did
    last_at       BIGINT NOT NULL,
    PRIMARY KEY (account_id, repository_id, issuer)
);

-- Lines of refused jobs are found by the request. No other line pays for it.
CREATE INDEX audit_refusals ON audit_log (request_id) WHERE action = 'exchange.refuse';
