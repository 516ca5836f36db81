package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// rightsAge is how old the state of rights may be that a process goes by. What another process ends
// holds here when that time is over, and for what is recorded at once.
const rightsAge = 250 * time.Millisecond

// rightsKnown is the state of rights that this process knows.
type rightsKnown struct {
	begin   time.Time
	maxAge  time.Duration
	now     atomic.Pointer[rightsSeen]
	reading chan struct{} // holds a value while somebody reads
	reads   atomic.Int64  // how many have ended
	failed  error         // of the newest one; nil: it went well
}

type rightsSeen struct {
	state int64
	at    time.Duration // by the monotonic clock: one that is set makes nothing last
}

func newRightsKnown() *rightsKnown {
	return &rightsKnown{begin: time.Now(), maxAge: rightsAge, reading: make(chan struct{}, 1)}
}

// saw notes a state that this process has read, or made itself; began is when it began to read, or
// to commit.
func (k *rightsKnown) saw(state int64, began time.Duration) {
	for {
		old := k.now.Load()
		if old != nil && old.state >= state && old.at >= began {
			return
		}
		next := &rightsSeen{state, began}
		if old != nil {
			next.state = max(old.state, state)
			next.at = max(old.at, began)
			if old.state > state {
				next.at = old.at // what was read is older than what is known
			}
		}
		if k.now.CompareAndSwap(old, next) {
			return
		}
	}
}

func (k *rightsKnown) elapsed() time.Duration { return time.Since(k.begin) }

// Rights returns the state of rights, at most 250 ms old, and never one of before a change that
// this process has made. It grows with each transaction that ends or changes a right, in the order
// in which they are committed. 0: nothing tells it.
func (s *Store) Rights(ctx context.Context) (int64, error) {
	return s.write.rights.state(ctx, func(ctx context.Context) (int64, error) {
		state, err := s.readRights(ctx)
		if isMoved(err) {
			s.read.note(err, false) // no connection to that server is used again
			state, err = s.readRights(ctx)
		}
		if errors.Is(err, sql.ErrNoRows) {
			return 0, nil // somebody took it away, which is for the audit log to say
		}
		return state, storeError(err)
	})
}

// state returns a state that is not too old, or reads one. Those who come while somebody reads
// share what comes of it, also that nobody can tell: one after the other they would each wait for a
// database that hangs.
func (k *rightsKnown) state(ctx context.Context, read func(context.Context) (int64, error)) (int64, error) {
	if seen := k.now.Load(); seen != nil && k.elapsed()-seen.at < k.maxAge {
		return seen.state, nil
	}
	came := k.reads.Load()
	select {
	case k.reading <- struct{}{}:
		defer func() { <-k.reading }()
	case <-ctx.Done():
		return 0, fmt.Errorf("read the state of rights: %w", context.Cause(ctx))
	}
	began := k.elapsed()
	if seen := k.now.Load(); seen != nil && began-seen.at < k.maxAge {
		return seen.state, nil // somebody has read it while we waited
	}
	if k.failed != nil && k.reads.Load() > came {
		return 0, k.failed
	}
	state, err := read(ctx)
	if err != nil {
		err = fmt.Errorf("read the state of rights: %w", err)
		if ctx.Err() == nil { // else it is only this caller who has left
			k.failed = err
			k.reads.Add(1)
		}
		return 0, err
	}
	k.failed = nil
	k.reads.Add(1)
	if state > 0 {
		k.saw(state, began)
	}
	return state, nil
}

// readRights reads the state of rights. PostgreSQL has to say that it takes writes, too: a server that
// was the primary before answers reads as it did, and never hears of what ends.
func (s *Store) readRights(ctx context.Context) (state int64, err error) {
	if s.read.engine != postgres {
		err = s.read.QueryRowContext(ctx, `SELECT rights FROM audit_head WHERE id = 1`).Scan(&state)
		return state, err
	}
	var reads bool
	err = s.read.QueryRowContext(ctx, `SELECT rights, current_setting('transaction_read_only') = 'on' FROM audit_head WHERE id = 1`).Scan(&state, &reads)
	if err == nil && reads {
		return 0, errReadOnly
	}
	return state, err
}

// AlwaysAsk makes Rights read the database each time. It is for tests in which what one process
// changes must hold for another with its next request.
func (s *Store) AlwaysAsk() { s.write.rights.maxAge = 0 }

// RevokedSince returns up to limit tokens and families that were revoked after a state of rights.
func (s *Store) RevokedSince(ctx context.Context, state int64, limit int) ([]string, error) {
	text := `SELECT subject FROM revocations WHERE rights > $1 LIMIT $2`
	if state == 0 {
		state = -1 // those of before they had a state too
	}
	rows, err := s.read.QueryContext(ctx, text, state, limit)
	if err != nil {
		return nil, fmt.Errorf("list revocations: %w", storeError(err))
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var subject string
		if err := rows.Scan(&subject); err != nil {
			return nil, fmt.Errorf("list revocations: %w", storeError(err))
		}
		list = append(list, subject)
	}
	return list, storeError(rows.Err())
}
