-- +goose Up

-- Logins of programs by the device flow (RFC 8628). A row is let go of when neither its codes nor its token can be good any more.
CREATE TABLE device_logins (
    id          TEXT   NOT NULL PRIMARY KEY,
    device_hash TEXT   NOT NULL UNIQUE,     -- SHA-256 of the device code, hexadecimal
    user_hash   TEXT   NOT NULL UNIQUE,     -- keyed hash of the user code
    client      TEXT   NOT NULL,
    address     TEXT   NOT NULL,            -- where the program asked from
    state       TEXT   NOT NULL,            -- waiting, approved, denied, used
    account_id  TEXT   REFERENCES accounts (id), -- null before somebody decided
    interval_ms BIGINT NOT NULL,            -- between polls
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,            -- of the codes
    polled_at   BIGINT,                     -- null before the first poll
    token_hash  TEXT   UNIQUE,              -- SHA-256 of the login token; null before it is handed out
    token_ends  BIGINT
);
CREATE INDEX device_logins_by_end ON device_logins (expires_at);

-- Machines that were activated. machine_id is not unique: two containers of one image have the same.
CREATE TABLE machines (
    id         TEXT   NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    machine_id TEXT   NOT NULL,
    label      TEXT   NOT NULL,
    family     TEXT   NOT NULL UNIQUE,      -- of its license tokens
    created_at BIGINT NOT NULL,
    ended_at   BIGINT                       -- null while it is active
);
CREATE INDEX machines_of_account ON machines (account_id, id);

-- Links by which people sign in, once: a row that was used is gone.
CREATE TABLE sign_in_links (
    hash       TEXT   NOT NULL PRIMARY KEY, -- SHA-256 of its secret, hexadecimal
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    expires_at BIGINT NOT NULL
);
CREATE INDEX sign_in_links_by_end ON sign_in_links (expires_at);

CREATE TABLE sessions (
    id         TEXT   NOT NULL PRIMARY KEY,
    hash       TEXT   NOT NULL UNIQUE,      -- SHA-256 of its secret, hexadecimal
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_end ON sessions (expires_at);
