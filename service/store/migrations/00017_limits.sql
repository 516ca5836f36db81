-- +goose Up

-- How far the limit of a key is used, where several processes count together: a bucket that holds as many requests as the limit allows in
-- a minute, and fills evenly. Times are microseconds since 1970 by the clock of the database. A row whose bucket is full says nothing.
CREATE TABLE rate_limits (
    key      TEXT   NOT NULL PRIMARY KEY,   -- the limit and whom it counts
    full_at  BIGINT NOT NULL,               -- when the bucket is full again
    asked_at BIGINT NOT NULL,               -- when it was taken from last
    granted  BIGINT NOT NULL                -- what was got then
);
