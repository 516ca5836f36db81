-- +goose Up

-- The GitHub App of this installation, if github-app create made one: a single row. What is secret is sealed.
CREATE TABLE github_app (
    id             BIGINT NOT NULL PRIMARY KEY,   -- 1
    app_id         BIGINT NOT NULL,
    client_id      TEXT   NOT NULL,
    slug           TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    html_url       TEXT   NOT NULL,
    owner          TEXT   NOT NULL,               -- login of the organization or the person
    private_key    BYTEA  NOT NULL,               -- sealed
    webhook_secret BYTEA  NOT NULL,               -- sealed
    created_at     BIGINT NOT NULL
);

-- Links by which an operator makes the App in a browser, once. The text of a link is not stored.
CREATE TABLE github_setups (
    hash         TEXT   NOT NULL PRIMARY KEY,     -- SHA-256 of its secret, hexadecimal
    state        TEXT   NOT NULL UNIQUE,          -- SHA-256 of what GitHub hands back, hexadecimal
    organization TEXT   NOT NULL,                 -- whose the App is to be; empty: the person's
    stores       TEXT   NOT NULL,                 -- JSON array: kinds of secrets beside those of Actions
    name         TEXT   NOT NULL,                 -- of the App
    replace_app  BIGINT NOT NULL,                 -- 1: the App that there is may be replaced
    expires_at   BIGINT NOT NULL
);
CREATE INDEX github_setups_by_end ON github_setups (expires_at);

-- Accounts one of whose tokens was found in the open, until their managed secrets are on the way to be fresh.
CREATE TABLE leaks (
    account_id TEXT   NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL
);

-- Keys that sign a test of the alerts (leak test): each is good for one token, once, for a minute.
CREATE TABLE leak_tests (
    id         TEXT   NOT NULL PRIMARY KEY,       -- of the key
    public_key TEXT   NOT NULL,                   -- PEM
    token_hash TEXT   NOT NULL,                   -- SHA-256 of the one token, hexadecimal
    expires_at BIGINT NOT NULL
);
CREATE INDEX leak_tests_by_end ON leak_tests (expires_at);
