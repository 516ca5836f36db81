-- +goose Up

-- What is written when nothing else is, to find out whether the database can be written again; see Ready.
CREATE TABLE write_probe (
    id     BIGINT NOT NULL PRIMARY KEY,
    filler TEXT   NOT NULL
);
INSERT INTO write_probe (id, filler) VALUES (1, '');
