package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/webhook/in"
)

var _ in.Store = (*Store)(nil)

// ReceiveDelivery keeps the first body, event and time of a delivery: of a request only the body is
// signed, and so a body that was captured must not take the place of another under its id. Nor does it
// become news under another id: what it tells was told when that body came first.
func (s *Store) ReceiveDelivery(ctx context.Context, d in.Delivery, state in.State, due time.Time) (in.State, error) {
	sum := fmt.Sprintf("%x", sha256.Sum256(d.Body))
	var before in.State // not read when the caller has left: the write may yet be done
	err := s.group.do(ctx, func(ctx context.Context, t *tx) error {
		before = ""
		err := t.QueryRowContext(ctx, `SELECT state FROM hook_deliveries WHERE guid = $1`, d.ID).Scan(&before)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			var processed time.Time
			if state == in.Processed {
				processed = d.ReceivedAt
			}
			_, err = t.ExecContext(ctx, `INSERT INTO hook_deliveries (guid, event, action, state, body, error, attempts, received_at, processed_at,
				due_at, owner, lease_until, sum, told_at) VALUES ($1, $2, $3, $4, $5, '', 0, $6, $7, $8, '', 0, $9,
				coalesce((SELECT min(told_at) FROM hook_deliveries WHERE sum = $9), $6))`,
				d.ID, d.Event, d.Action, state, d.Body, millis(d.ReceivedAt), nullMillis(processed), nullMillis(due), sum)
		case err == nil && before != in.Processed && state == in.Received:
			_, err = t.ExecContext(ctx, `UPDATE hook_deliveries SET state = $2, body = coalesce(body, $3), action = $4,
				due_at = CASE WHEN lease_until > $5 THEN lease_until ELSE $5 END WHERE guid = $1 AND event = $6`,
				d.ID, state, d.Body, d.Action, millis(due), d.Event)
		}
		return storeError(err)
	})
	if err != nil {
		return "", fmt.Errorf("store a delivery: %w", err)
	}
	return before, nil
}

func (s *Store) NextReceived(ctx context.Context) (time.Time, error) {
	var due sql.NullInt64
	err := s.read.QueryRowContext(ctx, `SELECT min(due_at) FROM hook_deliveries WHERE due_at IS NOT NULL`).Scan(&due)
	if err != nil {
		return time.Time{}, fmt.Errorf("look for deliveries: %w", storeError(err))
	}
	return fromNullMillis(due), nil
}

const deliveryColumns = `guid, event, action, state, error, attempts, received_at, processed_at, due_at`

// ClaimReceived names the condition in the update too: on PostgreSQL two claims may find the same
// rows, and the second of them waits for the first.
func (s *Store) ClaimReceived(ctx context.Context, owner string, now, until time.Time, limit int) (list []in.Claim, err error) {
	err = inTx(ctx, s.write, func(t *tx) error {
		list = nil
		rows, err := t.QueryContext(ctx, `UPDATE hook_deliveries SET owner = $1, due_at = $2, lease_until = $2, attempts = attempts + 1
			WHERE due_at <= $3 AND guid IN (SELECT guid FROM hook_deliveries WHERE due_at <= $3 ORDER BY due_at, guid LIMIT $4)
			RETURNING `+deliveryColumns+`, told_at`, owner, millis(until), millis(now), limit)
		if err != nil {
			return storeError(err)
		}
		defer rows.Close()
		for rows.Next() {
			var told int64
			r, err := scanDelivery(rows, &told)
			if err != nil {
				return err
			}
			list = append(list, in.Claim{Record: r, Owner: owner, ToldAt: fromMillis(told)})
		}
		return storeError(rows.Err())
	})
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	return list, nil
}

// scanDelivery reads deliveryColumns, and what follows them.
func scanDelivery(row interface{ Scan(...any) error }, more ...any) (r in.Record, err error) {
	var received int64
	var processed, due sql.NullInt64
	err = row.Scan(append([]any{&r.ID, &r.Event, &r.Action, &r.State, &r.Error, &r.Attempts, &received, &processed, &due}, more...)...)
	r.ReceivedAt, r.ProcessedAt, r.DueAt = fromMillis(received), fromNullMillis(processed), fromNullMillis(due)
	return r, storeError(err)
}

func (s *Store) ReceivedBody(ctx context.Context, id string) (body []byte, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT body FROM hook_deliveries WHERE guid = $1 AND body IS NOT NULL`, id).Scan(&body)
	if err != nil {
		return nil, fmt.Errorf("delivery %s: %w", id, notFound(err))
	}
	return body, nil
}

func (s *Store) FinishReceived(ctx context.Context, c in.Claim, o in.Outcome) error {
	var processed time.Time
	if o.State == in.Processed {
		processed = o.At
	}
	err := inTx(ctx, s.write, func(t *tx) error {
		_, err := t.ExecContext(ctx, `UPDATE hook_deliveries SET state = $4, error = $5, processed_at = $6, due_at = $7, owner = '', lease_until = 0
			WHERE guid = $1 AND owner = $2 AND attempts = $3`,
			c.ID, c.Owner, c.Attempts, o.State, o.Error, nullMillis(processed), nullMillis(o.DueAt))
		return storeError(err)
	})
	if err != nil {
		return fmt.Errorf("delivery %s: %w", c.ID, err)
	}
	return nil
}

func (s *Store) ListReceived(ctx context.Context, q in.Query) ([]in.Record, error) {
	var f filter
	f.where("state = %s", string(q.State), q.State != "")
	f.where("event = %s", q.Event, q.Event != "")
	if q.After != "" {
		var received int64
		err := s.read.QueryRowContext(ctx, `SELECT received_at FROM hook_deliveries WHERE guid = $1`, q.After).Scan(&received)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, failure.Cursor("there is no delivery of that id")
		}
		if err != nil {
			return nil, fmt.Errorf("list deliveries: %w", storeError(err))
		}
		f.conditions = append(f.conditions, fmt.Sprintf("(received_at, guid) < (%s, %s)", f.mark(received), f.mark(q.After)))
	}
	rows, err := s.read.QueryContext(ctx, `SELECT `+deliveryColumns+` FROM hook_deliveries`+f.list("received_at DESC, guid DESC", q.Limit), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", storeError(err))
	}
	defer rows.Close()
	var list []in.Record
	for rows.Next() {
		r, err := scanDelivery(rows)
		if err != nil {
			return nil, fmt.Errorf("list deliveries: %w", err)
		}
		list = append(list, r)
	}
	return list, storeError(rows.Err())
}

func (s *Store) RetryReceived(ctx context.Context, id string, now time.Time) (r in.Record, err error) {
	err = inTx(ctx, s.write, func(t *tx) error {
		var body bool
		err := t.QueryRowContext(ctx, `SELECT body IS NOT NULL FROM hook_deliveries WHERE guid = $1`, id).Scan(&body)
		if err != nil {
			return notFound(err)
		}
		if !body {
			return failure.Invalid("its body is not stored any more: let GitHub deliver it again")
		}
		r, err = scanDelivery(t.QueryRowContext(ctx, `UPDATE hook_deliveries SET state = $2,
			due_at = CASE WHEN lease_until > $3 THEN lease_until ELSE $3 END WHERE guid = $1 RETURNING `+deliveryColumns,
			id, in.Received, millis(now)))
		return err
	})
	if err != nil {
		return r, fmt.Errorf("delivery: %w", err)
	}
	return r, nil
}

func (s *Store) KnownReceived(ctx context.Context, ids []string) (map[string]bool, error) {
	known := map[string]bool{}
	for len(ids) > 0 {
		some := ids[:min(len(ids), 100)]
		ids = ids[len(some):]
		var f filter
		names := oneOf(&f, some)
		rows, err := s.read.QueryContext(ctx, `SELECT guid FROM hook_deliveries WHERE guid IN (`+names+`)`, f.args...)
		if err != nil {
			return nil, fmt.Errorf("look up deliveries: %w", storeError(err))
		}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return nil, errors.Join(storeError(err), rows.Close())
			}
			known[id] = true
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("look up deliveries: %w", storeError(err))
		}
	}
	return known, nil
}

func (s *Store) PruneReceived(ctx context.Context, bodies, rows time.Time, limit int) (pruned int64, err error) {
	err = inTx(ctx, s.write, func(t *tx) error {
		pruned = 0
		for _, one := range []struct {
			text   string
			before time.Time
		}{
			{`UPDATE hook_deliveries SET body = NULL WHERE guid IN (SELECT guid FROM hook_deliveries WHERE body IS NOT NULL
				AND state IN ('processed', 'ignored') AND received_at < $1 ORDER BY received_at LIMIT $2)`, bodies},
			{`DELETE FROM hook_deliveries WHERE guid IN (SELECT guid FROM hook_deliveries WHERE due_at IS NULL
				AND received_at < $1 ORDER BY received_at LIMIT $2)`, rows},
		} {
			done, err := t.ExecContext(ctx, one.text, millis(one.before), limit)
			if err != nil {
				return storeError(err)
			}
			n, err := done.RowsAffected()
			if err != nil {
				return err
			}
			pruned += n
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("prune deliveries: %w", err)
	}
	return pruned, nil
}
