-- +goose Up

-- Which lines of the audit log speak of a repository, by their details: an index, and no part of the chain.
CREATE TABLE audit_repositories (
    repository_id TEXT   NOT NULL,
    seq           BIGINT NOT NULL,
    name          TEXT   NOT NULL,          -- owner/name in lower case when the line was written; empty when the line has none
    PRIMARY KEY (repository_id, seq)
);
CREATE INDEX audit_repositories_of_name ON audit_repositories (name, repository_id);
