-- +goose Up

-- Which key is newer, whatever the clock said when they were added: 1, 2, 3, …
ALTER TABLE signing_keys ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE signing_keys SET number = (
    SELECT count(*) FROM signing_keys AS o WHERE o.signs_from < signing_keys.signs_from OR (o.signs_from = signing_keys.signs_from AND o.id <= signing_keys.id)
);
