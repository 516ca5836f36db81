-- +goose Up

-- A trust policy whose repository_id is * is for every repository of its owner, and is found by that.
CREATE INDEX policies_of_owner ON policies (owner_id, created_at) WHERE repository_id = '*';
