-- +goose Up

-- The newest time that was ever written to the audit log: a clock that is behind it is wrong, or was ahead then.
ALTER TABLE audit_head ADD COLUMN newest BIGINT NOT NULL DEFAULT 0;
UPDATE audit_head SET newest = coalesce((SELECT max(at) FROM audit_log), 0);
