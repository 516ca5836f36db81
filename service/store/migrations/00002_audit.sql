-- +goose Up

-- Who did what. Lines are added and never changed: each hash covers the one before it.
CREATE TABLE audit_log (
    seq        BIGINT NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor_kind TEXT   NOT NULL,
    actor_id   TEXT   NOT NULL,
    address    TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    account_id TEXT   NOT NULL,             -- empty when it belongs to no account
    object     TEXT   NOT NULL,
    details    TEXT   NOT NULL,             -- JSON object
    hash       TEXT   NOT NULL
);
CREATE INDEX audit_of_account ON audit_log (account_id, seq);

-- The one row that says where the log ends; whoever writes to the log holds its lock.
CREATE TABLE audit_head (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq  BIGINT  NOT NULL,
    hash TEXT    NOT NULL
);
INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '');

-- What people and programs call the Admin API with.
CREATE TABLE admin_tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    hash       TEXT   NOT NULL UNIQUE,      -- SHA-256 of the token, hexadecimal; the token itself is not kept
    scopes     TEXT   NOT NULL,             -- JSON array of names
    created_at BIGINT NOT NULL,
    expires_at BIGINT,                      -- null when it lasts until it is revoked
    revoked_at BIGINT                       -- null while it is good
);
