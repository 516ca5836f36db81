-- +goose Up

-- Secrets at GitHub that the service keeps fresh.
CREATE TABLE rotations (
    id            TEXT   NOT NULL PRIMARY KEY,   -- rot_...
    account_id    TEXT   NOT NULL REFERENCES accounts (id),
    repository    TEXT   NOT NULL,               -- OWNER/NAME as it was called last; empty: of an organization
    repository_id BIGINT NOT NULL,               -- 0: of an organization
    owner         TEXT   NOT NULL,
    owner_id      BIGINT NOT NULL,
    secret_name   TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    stopped       TEXT   NOT NULL,               -- why nothing is written any more; empty: it is
    removed_at    BIGINT                         -- its targets are gone then
);
CREATE INDEX rotations_of_account ON rotations (account_id, id);
CREATE INDEX rotations_of_repository ON rotations (repository_id);
CREATE INDEX rotations_of_name ON rotations (lower(repository));

-- The places that keep the secret of a rotation, and how each is doing.
CREATE TABLE rotation_targets (
    rotation_id     TEXT   NOT NULL REFERENCES rotations (id),
    target          TEXT   NOT NULL,             -- as people spell it: repository, environment:prod
    place           TEXT   NOT NULL UNIQUE,      -- which secret at GitHub that is: no two rotations write to one
    owner_id        BIGINT NOT NULL,             -- whose it is
    due_at          BIGINT NOT NULL,             -- 0: at once
    lease_until     BIGINT NOT NULL,             -- who claimed it has it until then; 0: nobody
    fence           BIGINT NOT NULL,             -- grows with each claim
    tried_at        BIGINT NOT NULL,             -- 0: never
    pending         TEXT   NOT NULL,             -- jti of a token that was recorded and may not have been written; empty: none
    jti             TEXT   NOT NULL,             -- of the token that was written last; empty: none was
    expires_at      BIGINT NOT NULL,
    written_at      BIGINT NOT NULL,
    tier            TEXT   NOT NULL,             -- what that token says of the account
    features        TEXT   NOT NULL,
    valid_until     BIGINT NOT NULL,
    failure_code    TEXT   NOT NULL,             -- of the last try; empty: it did not fail
    failure_text    TEXT   NOT NULL,
    failure_remedy  TEXT   NOT NULL,
    failed_since    BIGINT NOT NULL,
    told_at         BIGINT NOT NULL,             -- when an event told of the failure last; 0: none did
    attempts        BIGINT NOT NULL,
    PRIMARY KEY (rotation_id, target)
);
CREATE INDEX rotation_targets_due ON rotation_targets (due_at);
