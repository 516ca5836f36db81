-- +goose Up

-- Trust policies are found by the name of their repository, lines of the audit log by their time.
CREATE INDEX policies_of_name ON policies (lower(repository));
CREATE INDEX audit_of_time ON audit_log (at);
