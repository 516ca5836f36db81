-- +goose Up

-- Blocks of the audit log: what one transaction recorded of tokens is one row, and each record in it is a line of the log. A block covers
-- the numbers from seq - n + 1 to seq. Tokens of before have rows in tokens, and their lines rows in audit_log.
CREATE TABLE ledger (
    seq    BIGINT NOT NULL PRIMARY KEY,     -- number of its last record
    n      BIGINT NOT NULL,
    at     BIGINT NOT NULL,                 -- time of its newest record
    digest BYTEA  NOT NULL,                 -- SHA-256 of body
    body   BYTEA,                           -- see service/store/ledger; null once it was pruned
    hash   TEXT   NOT NULL                  -- covers the entry before it, its numbers and its digest
);

-- What is in a stretch of blocks, made after them: where a name cannot be, nobody has to read.
CREATE TABLE ledger_segments (
    seq     BIGINT NOT NULL PRIMARY KEY,    -- number of its last record
    first   BIGINT NOT NULL,                -- of its first
    from_at BIGINT NOT NULL,                -- times of its oldest and its newest record
    to_at   BIGINT NOT NULL,
    ends    BIGINT NOT NULL,                -- when the last of its tokens expires
    filter  BYTEA  NOT NULL                 -- of the names in its records
);

-- How many tokens in segments a key signed, by the hour in which they expire.
CREATE TABLE ledger_lives (
    key_id  TEXT   NOT NULL,
    hour    BIGINT NOT NULL,                -- number of hours since 1970
    n       BIGINT NOT NULL,
    PRIMARY KEY (key_id, hour)
);

-- Grows with each transaction that ends or changes a right: what was read before is true as long as it is the same.
ALTER TABLE audit_head ADD COLUMN rights BIGINT NOT NULL DEFAULT 1;

-- The state of rights that began with a revocation, so that a process that knows one reads what came since.
ALTER TABLE revocations ADD COLUMN rights BIGINT NOT NULL DEFAULT 0;
CREATE INDEX revocations_by_rights ON revocations (rights);
