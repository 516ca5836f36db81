-- One text for SQLite and PostgreSQL. All times are milliseconds since 1970 UTC; ids are text; lists are JSON text.

-- +goose Up
CREATE TABLE accounts (
    id          TEXT   NOT NULL PRIMARY KEY,
    email       TEXT   UNIQUE,              -- null once the account is deleted
    tier        TEXT   NOT NULL,
    features    TEXT   NOT NULL,            -- JSON array of names
    valid_until BIGINT NOT NULL,
    status      TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    name       TEXT   NOT NULL,
    hash       TEXT   NOT NULL UNIQUE,      -- SHA-256 of the token, hexadecimal; the token itself is not kept
    created_at BIGINT NOT NULL,
    revoked_at BIGINT                       -- null while it is good
);
CREATE INDEX api_tokens_of_account ON api_tokens (account_id, created_at);

-- A record for each license token that was handed out. Ids begin with the time, so new rows go to the end.
CREATE TABLE tokens (
    id          TEXT   NOT NULL PRIMARY KEY,
    account_id  TEXT   NOT NULL REFERENCES accounts (id),
    parent_id   TEXT   NOT NULL,            -- empty for the first of a family
    issued_by   TEXT   NOT NULL,            -- id of the API token that asked for it; empty otherwise
    key_id      TEXT   NOT NULL,
    issued_at   BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL
);
CREATE INDEX tokens_of_account ON tokens (account_id, id);

-- What ended before its time: a token id or a family.
CREATE TABLE revocations (
    subject    TEXT   NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    revoked_at BIGINT NOT NULL
);

CREATE TABLE signing_keys (
    id         TEXT   NOT NULL PRIMARY KEY,
    sealed     TEXT   NOT NULL,             -- base64; encrypted under the key-encryption key
    created_at BIGINT NOT NULL,
    signs_from BIGINT NOT NULL,
    retired_at BIGINT                       -- null while it verifies; its secret is erased then
);
