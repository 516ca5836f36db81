-- +goose Up

-- What a key signs, and how: HS256 for license tokens, EdDSA for leases.
ALTER TABLE signing_keys ADD COLUMN algorithm TEXT NOT NULL DEFAULT 'HS256';

-- The newest lease of each license token under each key, and how long any of them lasts: a key is needed for so long.
CREATE TABLE leases (
    token_id   TEXT   NOT NULL,
    key_id     TEXT   NOT NULL,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    id         TEXT   NOT NULL,             -- of the newest
    issued_at  BIGINT NOT NULL,             -- of the newest
    expires_at BIGINT NOT NULL,             -- of the one that lasts longest
    PRIMARY KEY (token_id, key_id)
);

-- Whether a key may be retired is asked while nobody else can write.
CREATE INDEX leases_of_key ON leases (key_id, expires_at);
CREATE INDEX tokens_of_key ON tokens (key_id, expires_at);
