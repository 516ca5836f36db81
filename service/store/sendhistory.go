package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/upkeep"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/out"
)

// sendColumns are those that both tables of deliveries have.
const sendColumns = `d.endpoint_id, d.seq, d.tries, d.replay_id, d.first_at, d.tried_at, d.took, d.status, d.reason, d.body, d.addr`

// eventOfSend are those of its event, which may have been pruned.
const eventOfSend = `, coalesce(e.id, ''), coalesce(e.type, ''), coalesce(e.account_id, ''), coalesce(e.at, 0)`

// lastN is the place of a delivery that has not ended: before all that the history has of its event.
const lastN = never

// Sends reads what is queued and what has ended apart, each by its own index, and joins what both
// reach to.
func (s *Store) Sends(ctx context.Context, q deliver.Query) ([]deliver.Delivery, error) {
	var of int64
	if q.Event != "" {
		if err := s.read.QueryRowContext(ctx, `SELECT seq FROM events WHERE id = $1`, q.Event).Scan(&of); err != nil {
			return nil, fmt.Errorf("event %.100q: %w", q.Event, notFound(err))
		}
	}
	queued, ended := queuedStates[q.State], q.State == deliver.IsDelivered || q.State == deliver.GaveUp || q.State == deliver.Skipped
	var list []deliver.Delivery
	if !ended {
		var f filter
		f.where("d.endpoint_id = %s", q.Endpoint, true)
		f.where("d.seq < %s", q.After.Seq, q.After != deliver.Position{})
		f.where("d.seq = %s", of, of != 0)
		if q.State != "" {
			f.conditions = append(f.conditions, queued)
		}
		more, err := s.sends(ctx, `SELECT `+sendColumns+eventOfSend+`, 0, d.due_at, CASE WHEN w.status <> 'active' THEN 'held' WHEN d.owner <> '' THEN 'sending' ELSE 'pending' END
			FROM webhook_deliveries d LEFT JOIN events e ON e.seq = d.seq JOIN webhook_endpoints w ON w.id = d.endpoint_id`+f.list("d.seq DESC", q.Limit), f.args)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	if ended || q.State == "" {
		var f filter
		f.where("d.endpoint_id = %s", q.Endpoint, true)
		if q.After != (deliver.Position{}) {
			n := q.After.N
			if n == 0 {
				n = lastN
			}
			f.where("d.seq <= %s", q.After.Seq, true)
			f.conditions = append(f.conditions, "(d.seq < "+f.mark(q.After.Seq)+" OR d.n < "+f.mark(n)+")")
		}
		f.where("d.seq = %s", of, of != 0)
		f.where("d.state = %s", string(q.State), q.State != "")
		if q.State != "" && q.State != deliver.IsDelivered {
			f.conditions = append(f.conditions, "d.state <> 'delivered'") // redundant: it lets the planner use the partial index
		}
		more, err := s.sends(ctx, `SELECT `+sendColumns+eventOfSend+`, d.n, 0, d.state
			FROM webhook_history d LEFT JOIN events e ON e.seq = d.seq`+f.list("d.seq DESC, d.n DESC", q.Limit), f.args)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	slices.SortStableFunc(list, newestFirst)
	return list[:min(len(list), q.Limit)], nil
}

func newestFirst(a, b deliver.Delivery) int {
	place := func(d deliver.Delivery) int64 {
		if d.N == 0 {
			return lastN
		}
		return d.N
	}
	switch {
	case a.Event.Seq != b.Event.Seq:
		return int(max(-1, min(1, b.Event.Seq-a.Event.Seq)))
	case place(a) > place(b):
		return -1
	case place(a) < place(b):
		return 1
	}
	return 0
}

// queuedStates are the conditions of the states of what has not ended.
var queuedStates = map[deliver.State]string{
	deliver.Held: "w.status <> 'active'", deliver.Sending: "w.status = 'active' AND d.owner <> ''", deliver.Pending: "w.status = 'active' AND d.owner = ''",
}

func (s *Store) sends(ctx context.Context, text string, args []any) (list []deliver.Delivery, err error) {
	rows, err := s.read.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var d deliver.Delivery
		var first, tried, took, at, next int64
		if err := rows.Scan(&d.EndpointID, &d.Event.Seq, &d.Tries, &d.Replay, &first, &tried, &took, &d.Last.Status, &d.Last.Err, &d.Last.Body, &d.Last.Addr,
			&d.Event.ID, &d.Event.Type, &d.Event.AccountID, &at, &d.N, &next, &d.State); err != nil {
			return nil, fmt.Errorf("list deliveries: %w", storeError(err))
		}
		d.FirstAt, d.TriedAt, d.NextAt, d.Event.At = timeOrZero(first), timeOrZero(tried), timeOrZero(next), timeOrZero(at)
		d.Last.Took = time.Duration(took) * time.Millisecond
		list = append(list, d)
	}
	return list, storeError(rows.Err())
}

func (s *Store) QueueOf(ctx context.Context, e out.Endpoint) (of deliver.Queue, err error) {
	q, err := readQueue(ctx, s.read, e)
	if err != nil {
		return of, err
	}
	newest, err := s.NewestEvent(ctx)
	if err != nil {
		return of, err
	}
	if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1`, e.ID).Scan(&of.Pending); err != nil {
		return of, fmt.Errorf("deliveries of webhook endpoint %s: %w", e.ID, storeError(err))
	}
	of.Waiting, of.FailingSince, of.NextAt = max(0, newest-q.cursor), q.circuit.FailingSince, q.circuit.NotBefore
	return of, nil
}

// inScope are the conditions of the events that a replay sends, those of its time apart.
func inScope(f *filter, e out.Endpoint, x deliver.Extent, undelivered bool) {
	f.where("seq > %s", x.After, true)
	f.where("seq <= %s", x.To, true)
	hears(f, e)
	if undelivered {
		neverAccepted(f, e)
	}
}

// CountReplay goes by numbers: time grows with them, but for what clocks differ. What is behind the
// cursor is sent by itself, and is not sent again.
func (s *Store) CountReplay(ctx context.Context, e out.Endpoint, scope deliver.Scope) (x deliver.Extent, err error) {
	q, err := readQueue(ctx, s.read, e)
	if err != nil {
		return x, err
	}
	x.To = q.cursor
	var f filter
	switch {
	case scope.Event != "":
		if err := s.read.QueryRowContext(ctx, `SELECT seq FROM events WHERE id = $1`, scope.Event).Scan(&x.To); err != nil {
			return x, fmt.Errorf("event %.100q: %w", scope.Event, notFound(err))
		}
		x.After = x.To - 1
	default:
		f.where("at >= %s", millis(scope.Since), !scope.Since.IsZero())
		f.where("at < %s", millis(scope.Until), !scope.Until.IsZero())
		if len(f.conditions) > 0 {
			var from, to int64
			err := s.read.QueryRowContext(ctx, `SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM events WHERE `+joined(f.conditions), f.args...).Scan(&from, &to)
			if err != nil {
				return x, fmt.Errorf("look for events: %w", storeError(err))
			}
			x.After, x.To = from-1, min(x.To, to)
		}
	}
	f = filter{}
	inScope(&f, e, x, scope.Undelivered)
	if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM events WHERE `+joined(f.conditions), f.args...).Scan(&x.Total); err != nil {
		return x, fmt.Errorf("count events: %w", storeError(err))
	}
	return x, nil
}

func joined(conditions []string) (text string) {
	for i, c := range conditions {
		if i > 0 {
			text += " AND "
		}
		text += c
	}
	return text
}

func (s *Store) AddReplay(ctx context.Context, r deliver.Replay, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		e, err := endpointByID(ctx, t, r.EndpointID)
		if err != nil {
			return err
		}
		q, err := t.lockQueue(ctx, e.ID, e.Since)
		if err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, `INSERT INTO webhook_replays (id, endpoint_id, position, to_seq, undelivered, total, queued, created_at, ended_at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)`,
			r.ID, r.EndpointID, r.After, r.To, flag(r.Undelivered), r.Total, millis(r.CreatedAt), millisOrZero(r.EndedAt))
		if err != nil {
			return fmt.Errorf("add replay: %w", storeError(err))
		}
		if r.EndedAt.IsZero() {
			q.replays++
			q.next = min(q.next, millis(r.CreatedAt))
			q.circuit.NotBefore = time.Time{} // somebody says that its receiver is back: it is asked at once
		}
		t.log(act)
		return t.storeQueue(ctx, e.ID, q)
	})
}

func (s *Store) Replays(ctx context.Context, q deliver.ReplayQuery) ([]deliver.Replay, error) {
	var f filter
	f.where("endpoint_id = %s", q.Endpoint, true)
	if q.After != "" {
		after := f.mark(q.After)
		created := "(SELECT created_at FROM webhook_replays WHERE id = " + after + ")"
		f.conditions = append(f.conditions, "(created_at < "+created+" OR created_at = "+created+" AND id < "+after+")")
	}
	return s.replays(ctx, f.list("created_at DESC, id DESC", q.Limit), f.args...)
}

func (s *Store) replays(ctx context.Context, which string, args ...any) (list []deliver.Replay, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, endpoint_id, position, to_seq, undelivered, total, queued, created_at, ended_at FROM webhook_replays`+which, args...)
	if err != nil {
		return nil, fmt.Errorf("list replays: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var r deliver.Replay
		var undelivered, created, ended int64
		if err := rows.Scan(&r.ID, &r.EndpointID, &r.After, &r.To, &undelivered, &r.Total, &r.Queued, &created, &ended); err != nil {
			return nil, fmt.Errorf("list replays: %w", storeError(err))
		}
		r.Undelivered, r.CreatedAt, r.EndedAt = undelivered != 0, fromMillis(created), timeOrZero(ended)
		list = append(list, r)
	}
	return list, storeError(rows.Err())
}

func (s *Store) SkipSends(ctx context.Context, e out.Endpoint, now time.Time, act audit.Act) (skipped int64, err error) {
	err = inTx(ctx, s.write, func(t *tx) error {
		q, err := t.lockQueue(ctx, e.ID, e.Since)
		if err != nil {
			return err
		}
		var f filter
		f.where("seq > %s", q.cursor, true)
		hears(&f, e)
		if err := t.QueryRowContext(ctx, `SELECT count(*) FROM events WHERE `+joined(f.conditions), f.args...).Scan(&skipped); err != nil {
			return fmt.Errorf("count events: %w", storeError(err))
		}
		// what somebody is sending now ends by itself
		done, err := t.ExecContext(ctx, `INSERT INTO webhook_history (endpoint_id, seq, n, state, tries, replay_id, first_at, tried_at, took, status, reason, body, addr)
			SELECT endpoint_id, seq, $2 + row_number() OVER (ORDER BY seq), 'skipped', tries, replay_id, first_at, tried_at, took, status, reason, body, addr
			FROM webhook_deliveries WHERE endpoint_id = $1 AND (owner = '' OR due_at <= $3)`, e.ID, q.ended, millis(now))
		if err != nil {
			return fmt.Errorf("skip deliveries: %w", storeError(err))
		}
		n, err := done.RowsAffected()
		if err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `DELETE FROM webhook_deliveries WHERE endpoint_id = $1 AND (owner = '' OR due_at <= $2)`, e.ID, millis(now)); err != nil {
			return fmt.Errorf("skip deliveries: %w", storeError(err))
		}
		if _, err := t.ExecContext(ctx, `UPDATE webhook_replays SET ended_at = $2 WHERE endpoint_id = $1 AND ended_at = 0`, e.ID, millis(now)); err != nil {
			return fmt.Errorf("end replays: %w", storeError(err))
		}
		skipped += n
		q.ended += n
		q.cursor, q.replays = t.head.events, 0
		t.log(act)
		return t.storeQueue(ctx, e.ID, q)
	})
	return skipped, err
}

func (s *Store) SendStock(ctx context.Context) (stock deliver.Stock, err error) {
	stock = deliver.Stock{Pending: map[out.Status]int64{}, Oldest: map[out.Status]time.Time{}, Endpoints: map[out.Status]int64{}}
	rows, err := s.read.QueryContext(ctx, `SELECT w.status, count(*), coalesce(sum(q.n), 0), coalesce(min(q.at), 0), coalesce(sum(q.failing), 0) FROM webhook_endpoints w LEFT JOIN (
		SELECT u.endpoint_id, (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint_id = u.endpoint_id) AS n, CASE WHEN u.failing_since > 0 THEN 1 ELSE 0 END AS failing,
			(SELECT e.at FROM webhook_deliveries d JOIN events e ON e.seq = d.seq WHERE d.endpoint_id = u.endpoint_id ORDER BY d.seq LIMIT 1) AS at FROM webhook_queues u
	) AS q ON q.endpoint_id = w.id WHERE w.status <> 'removed' GROUP BY w.status`)
	if err != nil {
		return stock, fmt.Errorf("count deliveries: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var status out.Status
		var endpoints, pending, oldest, failing int64
		if err := rows.Scan(&status, &endpoints, &pending, &oldest, &failing); err != nil {
			return stock, fmt.Errorf("count deliveries: %w", storeError(err))
		}
		stock.Endpoints[status], stock.Pending[status] = endpoints, pending
		if oldest != 0 {
			stock.Oldest[status] = fromMillis(oldest)
		}
		if status == out.Active {
			stock.Failing = failing
		}
	}
	return stock, storeError(rows.Err())
}

// pruneSends removes what was sent long ago: the history of events that were pruned, replays that
// ended before, and all that is left of endpoints that were removed.
func (s *Store) pruneSends(ctx context.Context, held upkeep.Lease, p upkeep.Pruning) (did bool, err error) {
	newest, err := s.NewestEvent(ctx)
	if err != nil {
		return false, err
	}
	oldest, err := s.oldestEvent(ctx, newest)
	if err != nil {
		return false, err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT q.endpoint_id, coalesce(w.status, 'removed') FROM webhook_queues q LEFT JOIN webhook_endpoints w ON w.id = q.endpoint_id
		WHERE coalesce(w.status, 'removed') = 'removed' OR EXISTS (SELECT 1 FROM webhook_history h WHERE h.endpoint_id = q.endpoint_id AND h.seq < $1)
		OR EXISTS (SELECT 1 FROM webhook_replays r WHERE r.endpoint_id = q.endpoint_id AND r.created_at < $2 AND r.ended_at <> 0) LIMIT 1`, oldest, millis(p.Before))
	if err != nil {
		return false, fmt.Errorf("look for deliveries to prune: %w", storeError(err))
	}
	defer rows.Close()
	var id, status string
	for rows.Next() {
		if err := rows.Scan(&id, &status); err != nil {
			return false, fmt.Errorf("look for deliveries to prune: %w", storeError(err))
		}
	}
	if err := rows.Err(); err != nil || id == "" {
		return false, storeError(err)
	}
	return true, inTx(ctx, s.write, func(t *tx) error {
		if err := t.holds(ctx, held); err != nil {
			return err
		}
		t.wrote = true
		return t.pruneSendsOf(ctx, id, status == string(out.Removed), oldest, millis(p.Before))
	})
}

func (t *tx) pruneSendsOf(ctx context.Context, id string, removed bool, oldest, before int64) error {
	if removed {
		oldest, before = never, never
	}
	left := int64(0)
	for _, c := range []command{
		newCommand(`DELETE FROM webhook_history WHERE endpoint_id = $1 AND seq < $2 AND seq IN (SELECT seq FROM webhook_history
			WHERE endpoint_id = $1 AND seq < $2 ORDER BY seq LIMIT $3)`, id, oldest, pruneBatch),
		newCommand(`DELETE FROM webhook_replays WHERE endpoint_id = $1 AND created_at < $2 AND (ended_at <> 0 OR $2 = $3)`, id, before, int64(never)),
	} {
		done, err := t.ExecContext(ctx, c.text, c.args...)
		if err != nil {
			return fmt.Errorf("prune deliveries: %w", storeError(err))
		}
		n, err := done.RowsAffected()
		if err != nil {
			return err
		}
		left += n
	}
	if !removed || left >= pruneBatch {
		return nil
	}
	for _, table := range []string{"webhook_deliveries", "webhook_queues"} {
		if _, err := t.ExecContext(ctx, `DELETE FROM `+table+` WHERE endpoint_id = $1`, id); err != nil {
			return fmt.Errorf("prune deliveries: %w", storeError(err))
		}
	}
	return nil
}
