-- +goose Up

-- How far each endpoint is. Events are the backlog: a receiver that is dead lags behind by its cursor, and not by rows.
CREATE TABLE webhook_queues (
    endpoint_id   TEXT   NOT NULL PRIMARY KEY,  -- also of one that was removed, until its history is pruned
    cursor_seq    BIGINT NOT NULL,              -- number of the newest event that was looked at for it
    next_at       BIGINT NOT NULL,              -- when there is something to do for it, as far as its rows tell
    visits        BIGINT NOT NULL,              -- grows each time that deliveries are claimed: their fencing token
    ended         BIGINT NOT NULL,              -- how many rows of webhook_history it ever had
    failures      BIGINT NOT NULL,              -- attempts that failed in a row
    failing_since BIGINT NOT NULL,              -- 0: the newest attempt went well
    not_before    BIGINT NOT NULL,              -- it is left alone until then
    allowed       BIGINT NOT NULL,              -- how many deliveries it gets at once
    held          BIGINT NOT NULL,              -- 1: it was seen disabled
    replays       BIGINT NOT NULL               -- how many are under way
);
CREATE INDEX webhook_queues_by_next ON webhook_queues (next_at);

-- What is to be sent next: a bounded window of each endpoint.
CREATE TABLE webhook_deliveries (
    endpoint_id TEXT   NOT NULL,
    seq         BIGINT NOT NULL,                -- of the event
    due_at      BIGINT NOT NULL,                -- when it is tried next; of one that somebody has: when the lease ends
    owner       TEXT   NOT NULL,                -- the replica that has it; empty: none
    visit       BIGINT NOT NULL,                -- in which it was claimed
    tries       BIGINT NOT NULL,                -- that count
    replay_id   TEXT   NOT NULL,                -- empty: it is sent for the first time
    first_at    BIGINT NOT NULL,                -- of the first attempt; 0: none yet
    tried_at    BIGINT NOT NULL,                -- of the newest one, and what came of it
    took        BIGINT NOT NULL,
    status      BIGINT NOT NULL,
    reason      TEXT   NOT NULL,
    body        TEXT   NOT NULL,
    addr        TEXT   NOT NULL,
    PRIMARY KEY (endpoint_id, seq)
);

-- What was sent, or given up.
CREATE TABLE webhook_history (
    endpoint_id TEXT   NOT NULL,
    seq         BIGINT NOT NULL,
    n           BIGINT NOT NULL,                -- grows by endpoint; an event that was sent again has several
    state       TEXT   NOT NULL,                -- delivered, failed, skipped
    tries       BIGINT NOT NULL,
    replay_id   TEXT   NOT NULL,
    first_at    BIGINT NOT NULL,
    tried_at    BIGINT NOT NULL,
    took        BIGINT NOT NULL,
    status      BIGINT NOT NULL,
    reason      TEXT   NOT NULL,
    body        TEXT   NOT NULL,
    addr        TEXT   NOT NULL,
    PRIMARY KEY (endpoint_id, seq, n)
);
CREATE INDEX webhook_history_undelivered ON webhook_history (endpoint_id, state, seq) WHERE state <> 'delivered';

-- What is sent again, as a job: a receiver takes it as fast as it can, and a restart changes nothing.
CREATE TABLE webhook_replays (
    id          TEXT   NOT NULL PRIMARY KEY,    -- rpl_...
    endpoint_id TEXT   NOT NULL,
    position    BIGINT NOT NULL,                -- number of the newest event that was looked at
    to_seq      BIGINT NOT NULL,                -- of the last one to be looked at
    undelivered BIGINT NOT NULL,                -- 1: only those that the endpoint never accepted
    total       BIGINT NOT NULL,                -- how many there were when it was made
    queued      BIGINT NOT NULL,                -- how many have been put into the queue
    created_at  BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL                 -- when the last one was put there; 0: not yet
);
CREATE INDEX webhook_replays_of_endpoint ON webhook_replays (endpoint_id, created_at);
