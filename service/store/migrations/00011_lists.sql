-- +goose Up

-- Trust policies are found by the name of their repository. Lines of the audit log by time have no
-- index of their own: each refresh adds a line, and would pay for it.
CREATE INDEX policies_of_name ON policies (lower(repository));
