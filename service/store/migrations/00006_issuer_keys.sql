-- +goose Up

-- The keys that an issuer of identities published last, for when it does not answer. They are public.
CREATE TABLE issuer_keys (
    issuer     TEXT   NOT NULL PRIMARY KEY,
    jwks       TEXT   NOT NULL,             -- JSON Web Key Set, as it was fetched
    fetched_at BIGINT NOT NULL
);

-- What an API token or a policy issued is revoked while nobody else can write. Most tokens are refreshed ones, which nobody issued.
CREATE INDEX tokens_of_issuer ON tokens (issued_by) WHERE issued_by <> '';
