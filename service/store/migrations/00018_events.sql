-- +goose Up

-- What happened, for those who want to hear it. A number is given under the lock of all writers, so that numbers grow in the order of
-- commits, and none is given twice (audit_head.events is the newest, also of an event that was pruned).
CREATE TABLE events (
    seq        BIGINT NOT NULL PRIMARY KEY,
    id         TEXT   NOT NULL UNIQUE,         -- evt_...
    type       TEXT   NOT NULL,
    account_id TEXT   NOT NULL,                -- whose; empty: nobody's
    endpoint_id TEXT  NOT NULL,                -- for this endpoint alone, to try it; empty: for all that hear it
    at         BIGINT NOT NULL,                -- when it happened
    data       TEXT   NOT NULL                 -- JSON object: ids and dates, no token
);
CREATE INDEX events_of_account ON events (account_id, seq);
CREATE INDEX events_by_time ON events (at);
ALTER TABLE audit_head ADD COLUMN events BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_head ADD COLUMN endpoints BIGINT NOT NULL DEFAULT 0; -- grows when it changes who hears what

-- Where events are sent.
CREATE TABLE webhook_endpoints (
    id              TEXT   NOT NULL PRIMARY KEY,   -- wh_...
    account_id      TEXT   REFERENCES accounts (id), -- null: it hears all accounts, and what is nobody's
    url             TEXT   NOT NULL,
    events          TEXT   NOT NULL,               -- JSON array of types; empty: all
    status          TEXT   NOT NULL,               -- active, disabled, or removed
    reason          TEXT   NOT NULL,               -- why it is disabled; empty: it is not, or its owner did it
    secret          BYTEA  NOT NULL,               -- sealed
    previous_secret BYTEA,                         -- sealed; signs too until previous_until
    previous_until  BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    since           BIGINT NOT NULL                -- number of the newest event when it was made: it hears what came later
);
CREATE INDEX webhook_endpoints_of_account ON webhook_endpoints (account_id);

-- When an account is to be looked at next, because its license ends soon; and of which end it was told last, and how many days before.
ALTER TABLE accounts ADD COLUMN notice_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN told_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN told_days BIGINT NOT NULL DEFAULT 0;
CREATE INDEX accounts_by_notice ON accounts (notice_at);
