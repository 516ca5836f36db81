-- +goose Up

-- The one row that says which replica does upkeep, and how far it has come.
CREATE TABLE upkeep (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    owner   TEXT    NOT NULL,               -- the replica that does it; empty: none
    fence   BIGINT  NOT NULL,               -- grows each time that it is claimed, so that an earlier holder cannot write
    beat    BIGINT  NOT NULL,               -- grows while its holder is alive
    indexed BIGINT  NOT NULL,               -- number of the newest record of the ledger that was put into a segment
    pruned  BIGINT  NOT NULL                -- number of the newest record that was pruned
);
INSERT INTO upkeep (id, owner, fence, beat, indexed, pruned) VALUES (1, '', 0, 0, 0, 0);

-- Names that repositories have in segments, so that what stands under another name is found too.
CREATE TABLE ledger_repositories (
    name          TEXT NOT NULL,            -- owner/name in lower case
    repository_id TEXT NOT NULL,
    PRIMARY KEY (name, repository_id)
);

-- Who issued the first token of a family whose record was pruned, as long as a later token of the family can be valid.
CREATE TABLE ledger_families (
    family     TEXT   NOT NULL,
    issued_by  TEXT   NOT NULL,
    account_id TEXT   NOT NULL,
    ends       BIGINT NOT NULL,             -- when the last of its tokens expires whose record was pruned
    PRIMARY KEY (family, issued_by)
);
CREATE INDEX ledger_families_of_issuer ON ledger_families (issued_by);
CREATE INDEX ledger_families_by_end ON ledger_families (ends);
