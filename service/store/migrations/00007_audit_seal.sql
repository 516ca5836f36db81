-- +goose Up

-- Proves that the service itself set the head there: keyed hash of number and hash; empty until the service, which has the key, seals it at its next start.
ALTER TABLE audit_head ADD COLUMN seal TEXT NOT NULL DEFAULT '';
