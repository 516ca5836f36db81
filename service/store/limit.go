package store

import (
	"context"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/limit"
)

var _ limit.Store = (*Store)(nil)

// SharedLimits are the buckets that all processes on the database take from; nil on SQLite, where
// each process counts alone.
func (s *Store) SharedLimits() limit.Store {
	if s.write.engine == postgres {
		return s
	}
	return nil
}

// takeLimit is what takes from a bucket: a statement that is a transaction of its own and locks no
// more than the row of its key, never the head of the audit log. clock is an expression for now in
// microseconds, condition is true.
//
// Arguments: key, what is owed in microseconds, wanted, requests a minute, a minute in microseconds,
// the time or null. A bucket lacks at most a minute and a tenth, so that a clock that is set back
// keeps nobody out for longer.
func takeLimit(clock, condition string) string {
	return `INSERT INTO rate_limits AS l (key, full_at, asked_at, granted)
	SELECT $1, new.full_at, new.now, new.granted FROM (
		SELECT room.now, ` + granted + ` AS granted, room.base + (` + granted + `) * $5 / $4 AS full_at FROM (
			SELECT base.now, base.base, (base.now + $5 - base.base) * $4 / $5 AS n FROM (
				SELECT c.now, c.now + CASE WHEN $2 > 0 THEN $2 ELSE 0 END AS base FROM (SELECT ` + clock + ` AS now) AS c
			) AS base) AS room) AS new
	WHERE ` + condition + `
	ON CONFLICT (key) DO UPDATE SET asked_at = excluded.asked_at, (full_at, granted) = (
		SELECT room.base + (` + granted + `) * $5 / $4, ` + granted + ` FROM (
			SELECT base.base, (excluded.asked_at + $5 - base.base) * $4 / $5 AS n FROM (
				SELECT $2 + CASE WHEN l.full_at < excluded.asked_at THEN excluded.asked_at
					WHEN l.full_at > excluded.asked_at + $5 * 11 / 10 THEN excluded.asked_at + $5 * 11 / 10
					ELSE l.full_at END AS base) AS base) AS room)
	RETURNING granted, full_at - asked_at`
}

// granted is what is got of n: at most half, so that there is something for the others near the end.
const granted = `CASE WHEN room.n < 1 THEN 0 WHEN (room.n + 1) / 2 < $3 THEN (room.n + 1) / 2 ELSE $3 END`

// What is taken need not survive a crash of the database: nobody waits for its disk. A row that
// somebody holds for long is as good as a database that does not answer.
var (
	takeLimitPostgres = takeLimit(`coalesce(CAST($6 AS BIGINT), CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))`,
		`set_config('synchronous_commit', 'off', true) || set_config('lock_timeout', '300ms', true) <> ''`)
	takeLimitSQLite = takeLimit(`CAST($6 AS BIGINT)`, `TRUE`)
)

// TakeLimit goes by the clock of the database server; on SQLite by that of the machine.
func (s *Store) TakeLimit(ctx context.Context, t limit.Take) (limit.Taken, error) {
	db, text := s.write, takeLimitSQLite
	var now any = time.Now().UnixMicro()
	if s.write.engine == postgres { // writers stand in a row for the head of the audit log, readers do not
		db, text, now = s.read, takeLimitPostgres, nil
	}
	if s.limitClock != nil {
		now = s.limitClock().UnixMicro()
	}
	var got limit.Taken
	var micros int64
	err := db.QueryRowContext(ctx, text, t.Key, t.Owed.Microseconds(), int64(t.Want), int64(t.PerMinute), time.Minute.Microseconds(), now).
		Scan(&got.Granted, &micros)
	db.note(err, false)
	if err != nil {
		return limit.Taken{}, fmt.Errorf("take from the limit of %s: %w", t.Key, storeError(err))
	}
	got.FullIn = max(0, time.Duration(micros)*time.Microsecond)
	return got, nil
}

// SetLimitClock makes limits go by a clock in place of the database's. It is for tests.
func (s *Store) SetLimitClock(now func() time.Time) { s.limitClock = now }

// pruneLimitsBatch is how many buckets are removed at once.
const pruneLimitsBatch = 1000

// PruneLimits removes buckets that were full at a time, which say nothing any more: at most a
// thousand, so that nobody waits for long. It returns how many there were.
func (s *Store) PruneLimits(ctx context.Context, before time.Time) (int64, error) {
	done, err := s.write.ExecContext(ctx, `DELETE FROM rate_limits WHERE full_at < $1
		AND key IN (SELECT key FROM rate_limits WHERE full_at < $1 LIMIT $2)`, before.UnixMicro(), pruneLimitsBatch)
	if err != nil {
		return 0, fmt.Errorf("remove limits: %w", storeError(err))
	}
	return done.RowsAffected()
}
