package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/out"
)

// What is sent to endpoints. Its transactions do not take the lock of all writers on PostgreSQL: they
// add nothing to the audit log, and rest on no rule but these:
//
//   - Whoever changes what is queued for an endpoint locks its row of webhook_queues first, and those
//     of several endpoints in the order of ids. So what is counted in a transaction stays as it is,
//     and no two wait for each other.
//   - A row is claimed by an update that repeats its condition, and ended under its fencing token.
//   - The cursor moves from what it was when events were read, in the transaction that adds them.

var (
	_ deliver.Store        = (*Store)(nil)
	_ deliver.HistoryStore = (*Store)(nil)
)

const (
	never     = math.MaxInt64 // no time
	neverSeen = math.MaxInt32 // tries: no limit
)

func (s *Store) WebhookHeads(ctx context.Context) (h deliver.Heads, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT events, endpoints FROM audit_head WHERE id = 1`).Scan(&h.Events, &h.Endpoints)
	if err != nil {
		return h, noHead(storeError(err))
	}
	return h, nil
}

func (s *Store) Receivers(ctx context.Context) ([]deliver.Receiver, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+endpointColumns+` FROM webhook_endpoints WHERE status <> 'removed' ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list webhook endpoints: %w", storeError(err))
	}
	defer rows.Close()
	var list []deliver.Receiver
	for rows.Next() {
		r, err := scanReceiver(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list webhook endpoints: %w", storeError(err))
		}
		list = append(list, r)
	}
	return list, storeError(rows.Err())
}

// scanReceiver reads an endpoint; one that cannot be read says so, and stops no other.
func scanReceiver(scan func(into ...any) error) (r deliver.Receiver, err error) {
	var types string
	var until, created int64
	if err := scan(&r.ID, &r.AccountID, &r.URL, &types, &r.Status, &r.Reason, &r.SealedSecret, &r.SealedPrevious, &until, &created, &r.Since); err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(types), &r.Events); err != nil {
		r.Err = fmt.Errorf("events of webhook endpoint %s: %w", r.ID, err)
	}
	r.CreatedAt = fromMillis(created)
	if until != 0 {
		r.PreviousUntil = fromMillis(until)
	}
	return r, nil
}

func (s *Store) EventHeads(ctx context.Context, after int64, limit int) (list []out.Event, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT seq, type, account_id, endpoint_id FROM events WHERE seq > $1 ORDER BY seq LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var e out.Event
		if err := rows.Scan(&e.Seq, &e.Type, &e.AccountID, &e.EndpointID); err != nil {
			return nil, fmt.Errorf("read events: %w", storeError(err))
		}
		list = append(list, e)
	}
	return list, storeError(rows.Err())
}

func (s *Store) DueReceivers(ctx context.Context, now time.Time, limit int) (list []string, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT endpoint_id FROM webhook_queues WHERE next_at <= $1 ORDER BY next_at LIMIT $2`, millis(now), limit)
	if err != nil {
		return nil, fmt.Errorf("look for deliveries: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("look for deliveries: %w", storeError(err))
		}
		list = append(list, id)
	}
	return list, storeError(rows.Err())
}

// inQueueTx runs f in a transaction that does not take the lock of all writers. Nothing of it may be
// an act. durable: nobody is told that it was done before it outlasts a crash of the server.
func (s *Store) inQueueTx(ctx context.Context, durable bool, f func(*tx) error) error {
	err := s.tryQueueTx(ctx, durable, f)
	if err != nil && ctx.Err() == nil && mayTryAgain(err, false) {
		err = s.tryQueueTx(ctx, durable, f)
	}
	s.write.note(err, err == nil)
	return err
}

// queueLimits are the time limits of a transaction, see lockHead.
const queueLimits = `SELECT set_config('lock_timeout', '4s', true), set_config('statement_timeout', '5s', true),
	set_config('idle_in_transaction_session_timeout', '800ms', true), set_config('synchronous_commit', CASE WHEN CAST($1 AS BIGINT) = 1
	THEN current_setting('synchronous_commit') ELSE 'off' END, true)`

func (s *Store) tryQueueTx(ctx context.Context, durable bool, f func(*tx) error) error {
	t := &tx{pool: s.write}
	if err := t.beginQueue(ctx, durable); err != nil {
		return fmt.Errorf("begin: %w", storeError(err))
	}
	defer func() { s.write.prepareAll(ctx, t.unprepared) }()
	// what was not committed, after a panic too
	defer func() { _ = t.Rollback() }()
	if err := f(t); err != nil {
		return storeError(err)
	}
	failed, err := t.commitWith(ctx, t.later)
	if failed != nil {
		err = fmt.Errorf("queue of a webhook endpoint: %w", storeError(err))
	}
	return err
}

// beginQueue begins a transaction of a queue.
func (t *tx) beginQueue(ctx context.Context, durable bool) (err error) {
	if t.pool.engine == postgres {
		limits := newCommand(queueLimits, flag(durable))
		limits.row = func(scan func(into ...any) error) error { return scan(new(any), new(any), new(any), new(any)) }
		t.transaction, err = beginPipelined(ctx, t.pool.DB, limits)
		return err
	}
	t.transaction, err = t.pool.BeginTx(ctx, nil)
	return err
}

func flag(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// queue is a row of webhook_queues.
type queue struct {
	cursor, next, visits, ended, held, replays int64
	circuit                                    deliver.Circuit
}

const queueColumns = `cursor_seq, next_at, visits, ended, held, replays, failures, failing_since, not_before, allowed`

func (q *queue) scan(scan func(...any) error) error {
	var since, before int64
	err := scan(&q.cursor, &q.next, &q.visits, &q.ended, &q.held, &q.replays, &q.circuit.Failures, &since, &before, &q.circuit.Allowed)
	q.circuit.FailingSince, q.circuit.NotBefore = timeOrZero(since), timeOrZero(before)
	return err
}

func timeOrZero(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return fromMillis(ms)
}

func millisOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return millis(t)
}

// readQueue is the queue of an endpoint; of one that has none yet, how it begins.
func readQueue(ctx context.Context, q querier, e out.Endpoint) (row queue, err error) {
	err = row.scan(q.QueryRowContext(ctx, `SELECT `+queueColumns+` FROM webhook_queues WHERE endpoint_id = $1`, e.ID).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return queue{cursor: e.Since, circuit: deliver.Closed}, nil
	}
	if err != nil {
		return row, fmt.Errorf("queue of webhook endpoint %s: %w", e.ID, storeError(err))
	}
	return row, nil
}

// lockQueue locks the queue of an endpoint until the transaction ends, and makes it if need be. What
// else is to be known of it is asked in the same message.
func (t *tx) lockQueue(ctx context.Context, id string, since int64, also ...command) (row queue, err error) {
	lock := newCommand(`INSERT INTO webhook_queues AS q (endpoint_id, cursor_seq, next_at, visits, ended, failures, failing_since, not_before, allowed, held, replays)
		VALUES ($1, $2, 0, 1, 0, 0, 0, 0, $3, 0, 0) ON CONFLICT (endpoint_id) DO UPDATE SET visits = q.visits + 1 RETURNING `+queueColumns,
		id, since, deliver.PerEndpoint)
	lock.row = row.scan
	if _, err := t.together(ctx, append([]command{lock}, also...)...); err != nil {
		return row, fmt.Errorf("queue of webhook endpoint %s: %w", id, storeError(err))
	}
	return row, nil
}

// storeQueue writes a queue that was locked, with the time when there is something to do next.
func (t *tx) storeQueue(ctx context.Context, id string, q queue) error {
	if _, err := t.together(ctx, q.store(id)); err != nil {
		return fmt.Errorf("queue of webhook endpoint %s: %w", id, storeError(err))
	}
	return nil
}

// store is how the queue of an endpoint is written.
func (q *queue) store(id string) command {
	return newCommand(`UPDATE webhook_queues SET cursor_seq = $2, next_at = $3, ended = $4, failures = $5, failing_since = $6, not_before = $7,
		allowed = $8, held = $9, replays = $10 WHERE endpoint_id = $1`, id, q.cursor, q.next, q.ended, q.circuit.Failures,
		millisOrZero(q.circuit.FailingSince), millisOrZero(q.circuit.NotBefore), q.circuit.Allowed, q.held, q.replays)
}

// window is what is prepared for an endpoint.
type window struct {
	rows, taken       int64 // all, and those that somebody has
	freeAt, takenTill int64 // when the first of the others is due, and when the first lease ends
}

// read is how the window of an endpoint is read.
func (w *window) read(id string, now int64) command {
	c := newCommand(`SELECT count(*), coalesce(sum(CASE WHEN owner <> '' AND due_at > $2 THEN 1 ELSE 0 END), 0),
		coalesce(min(CASE WHEN owner = '' OR due_at <= $2 THEN due_at END), $3), coalesce(min(CASE WHEN owner <> '' AND due_at > $2 THEN due_at END), $3)
		FROM webhook_deliveries WHERE endpoint_id = $1`, id, now, int64(never))
	c.row = func(scan func(into ...any) error) error { return scan(&w.rows, &w.taken, &w.freeAt, &w.takenTill) }
	return c
}

// setNext sets when there is something to do for an endpoint, and says whether that is now. behind:
// there is more than the window has, or there may be.
func (q *queue) setNext(w window, now int64, behind bool) (more bool) {
	next := min(w.freeAt, w.takenTill)
	if behind && w.rows < deliver.Window/2 {
		next = now
	}
	switch before := millisOrZero(q.circuit.NotBefore); {
	case q.held != 0:
		next = never
	case w.taken >= q.circuit.Allowed: // until one of them ends
		next = w.takenTill
	case before > now && next != never:
		next = max(before, next)
	}
	q.next = next
	return next <= now
}

// fill is what is to be added to the window of an endpoint, as it was read before the transaction.
type fill struct {
	events   []int64
	from, to int64 // the cursor, before and after
	again    []int64
	replay   deliver.Replay // of again; After is its position then
	position int64          // before
	more     bool           // there may be more behind it
	next     int64          // when there is something to do, as the row says
}

// adds says whether there is something to add, or a cursor to move.
func (f fill) adds() bool {
	return len(f.events) > 0 || f.to-f.from >= deliver.LookAtOnce || f.replay.ID != ""
}

// readFill looks what is to be added. It writes nothing, so that nobody waits for it.
func (s *Store) readFill(ctx context.Context, e out.Endpoint) (f fill, err error) {
	q, err := readQueue(ctx, s.read, e)
	if err != nil {
		return f, err
	}
	f.from, f.to, f.next = q.cursor, q.cursor, q.next
	newest, err := s.NewestEvent(ctx)
	if err != nil {
		return f, err
	}
	var rows int64
	if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1`, e.ID).Scan(&rows); err != nil {
		return f, fmt.Errorf("deliveries of webhook endpoint %s: %w", e.ID, storeError(err))
	}
	room := int(deliver.Window - rows)
	if room < deliver.Window/2 {
		f.more = newest > q.cursor || q.replays > 0
		return f, nil
	}
	if newest > q.cursor {
		if f.events, f.to, err = s.heardBetween(ctx, e, q.cursor, newest, room, false); err != nil {
			return f, err
		}
		f.more = f.to < newest
	}
	if room -= len(f.events); q.replays == 0 || room < deliver.Window/2 || f.more {
		f.more = f.more || q.replays > 0
		return f, nil
	}
	list, err := s.replays(ctx, ` WHERE endpoint_id = $1 AND ended_at = 0 ORDER BY created_at, id LIMIT 1`, e.ID)
	if err != nil || len(list) == 0 {
		return f, err
	}
	f.replay, f.position = list[0], list[0].After
	f.again, f.replay.After, err = s.heardBetween(ctx, e, f.position, f.replay.To, room, f.replay.Undelivered)
	f.more = true
	return f, err
}

// hears are the conditions of the events that an endpoint hears.
func hears(f *filter, e out.Endpoint) {
	f.where("account_id = %s", e.AccountID, e.AccountID != "")
	own := f.mark(e.ID)
	if len(e.Events) == 0 {
		f.conditions = append(f.conditions, "(endpoint_id = '' OR endpoint_id = "+own+")")
		return
	}
	types := make([]string, len(e.Events))
	for i, t := range e.Events {
		types[i] = string(t)
	}
	f.conditions = append(f.conditions, "(endpoint_id = "+own+" OR endpoint_id = '' AND type IN ("+oneOf(f, types)+"))")
}

// neverAccepted is the condition of events that an endpoint did not accept.
func neverAccepted(f *filter, e out.Endpoint) {
	f.where("NOT EXISTS (SELECT 1 FROM webhook_history h WHERE h.endpoint_id = %s AND h.seq = events.seq AND h.state = 'delivered')", e.ID, true)
}

// heardBetween is which events behind one number, up to another, an endpoint hears, some of them at
// once, and up to which number they were looked at.
func (s *Store) heardBetween(ctx context.Context, e out.Endpoint, after, upTo int64, limit int, undelivered bool) (list []int64, looked int64, err error) {
	looked = min(upTo, after+deliver.LookAtOnce)
	var f filter
	f.where("seq > %s", after, true)
	f.where("seq <= %s", looked, true)
	hears(&f, e)
	if undelivered {
		neverAccepted(&f, e)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT seq FROM events`+f.list("seq", limit), f.args...)
	if err != nil {
		return nil, after, fmt.Errorf("read events: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return nil, after, fmt.Errorf("read events: %w", storeError(err))
		}
		list = append(list, seq)
	}
	if len(list) == limit {
		looked = list[limit-1]
	}
	return list, looked, storeError(rows.Err())
}

// ClaimSends reads before it writes, so that a transaction is short, and writes nothing for an
// endpoint that there is nothing to do for.
func (s *Store) ClaimSends(ctx context.Context, c deliver.Claim) (got []deliver.Claimed, err error) {
	var of []deliver.ClaimOf
	var fills []fill
	behind := map[string]bool{}
	for _, o := range slices.SortedFunc(slices.Values(c.Of), func(a, b deliver.ClaimOf) int { return cmp.Compare(a.Receiver.ID, b.Receiver.ID) }) {
		var f fill
		if o.Receiver.Err == nil && o.Receiver.Status == out.Active {
			if f, err = s.readFill(ctx, o.Receiver.Endpoint); err != nil {
				return nil, err
			}
			behind[o.Receiver.ID] = f.more
			if !o.Changed && !f.adds() && f.next > millis(c.Now) {
				continue
			}
		}
		of, fills = append(of, o), append(fills, f)
	}
	for _, o := range c.Of {
		if !slices.ContainsFunc(of, func(p deliver.ClaimOf) bool { return p.Receiver.ID == o.Receiver.ID }) {
			got = append(got, deliver.Claimed{Receiver: o.Receiver, Behind: behind[o.Receiver.ID]})
		}
	}
	if len(of) == 0 {
		return got, nil
	}
	idle := got
	err = s.inQueueTx(ctx, false, func(t *tx) error {
		got = idle
		for i, o := range of {
			one, err := t.claimSends(ctx, c, o, fills[i])
			if err != nil {
				return err
			}
			got = append(got, one)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return got, s.readSends(ctx, got)
}

// claimSends claims what is due for one endpoint.
func (t *tx) claimSends(ctx context.Context, c deliver.Claim, o deliver.ClaimOf, f fill) (got deliver.Claimed, err error) {
	id, now := o.Receiver.ID, millis(c.Now)
	receiver := newCommand(`SELECT `+endpointColumns+` FROM webhook_endpoints WHERE id = $1`, id)
	receiver.row = func(scan func(into ...any) error) (err error) {
		got.Receiver, err = scanReceiver(scan)
		return err
	}
	q, err := t.lockQueue(ctx, id, o.Receiver.Since, receiver)
	if err != nil {
		return got, err
	}
	defer func() { t.later = append(t.later, q.store(id)) }()
	if got.Receiver.ID == "" || got.Receiver.Status != out.Active || got.Receiver.Err != nil {
		q.held, q.next = 1, never
		return got, nil
	}
	if q.held != 0 {
		if err := t.resume(ctx, id, now, &q); err != nil {
			return got, err
		}
	}
	if err := t.addFill(ctx, id, now, f, &q); err != nil {
		return got, err
	}
	var w window
	if _, err := t.together(ctx, w.read(id, now)); err != nil {
		return got, fmt.Errorf("deliveries of webhook endpoint %s: %w", id, storeError(err))
	}
	if limit := min(int64(o.Limit), q.circuit.Allowed-w.taken); limit > 0 && w.freeAt <= now && !q.circuit.NotBefore.After(c.Now) {
		if _, err := t.together(ctx, claimDue(c, o, q.visits, limit, &got.Sends), w.read(id, now)); err != nil {
			return got, fmt.Errorf("claim deliveries of webhook endpoint %s: %w", id, storeError(err))
		}
		slices.SortFunc(got.Sends, func(a, b deliver.Send) int { return cmp.Compare(a.Event.Seq, b.Event.Seq) })
	}
	got.Behind = f.more
	got.More = q.setNext(w, now, f.more)
	return got, nil
}

// resume lets an endpoint begin anew that was disabled, or that has another address than before.
func (t *tx) resume(ctx context.Context, id string, now int64, q *queue) error {
	q.held, q.circuit = 0, deliver.Closed
	_, err := t.ExecContext(ctx, `UPDATE webhook_deliveries SET tries = 0, first_at = 0, due_at = $2 WHERE endpoint_id = $1 AND owner = ''`, id, now)
	if err != nil {
		return fmt.Errorf("resume webhook endpoint %s: %w", id, storeError(err))
	}
	return nil
}

// addFill adds to the window, if nobody moved the cursor since it was looked what to add.
func (t *tx) addFill(ctx context.Context, id string, now int64, f fill, q *queue) error {
	add := t.adder(ctx, `INSERT INTO webhook_deliveries (endpoint_id, seq, due_at, owner, visit, tries, replay_id, first_at, tried_at, took, status, reason, body, addr) VALUES `,
		14, ` ON CONFLICT (endpoint_id, seq) DO NOTHING`)
	row := func(seq int64, replay string) {
		add.row(id, seq, now, "", int64(0), int64(0), replay, int64(0), int64(0), int64(0), int64(0), "", "", "")
	}
	if f.from == q.cursor {
		for _, seq := range f.events {
			row(seq, "")
		}
		// what nobody hears moves the cursor only when there is much of it: else each event would
		// write a row for each endpoint
		if len(f.events) > 0 || f.to-f.from >= deliver.LookAtOnce {
			q.cursor = f.to
		}
	}
	if err := add.flush(); err != nil {
		return fmt.Errorf("queue of webhook endpoint %s: %w", id, err)
	}
	if f.replay.ID == "" {
		return nil
	}
	ended := int64(0)
	if f.replay.After >= f.replay.To {
		ended = now
	}
	done, err := t.ExecContext(ctx, `UPDATE webhook_replays SET position = $3, queued = queued + $4, ended_at = $5 WHERE id = $1 AND position = $2 AND ended_at = 0`,
		f.replay.ID, f.position, f.replay.After, len(f.again), ended)
	var n int64
	if err == nil {
		n, err = done.RowsAffected()
	}
	if err != nil || n == 0 { // somebody else went on with it
		return storeError(err)
	}
	q.replays -= flag(ended != 0)
	for _, seq := range f.again {
		row(seq, f.replay.ID)
	}
	if err := add.flush(); err != nil {
		return fmt.Errorf("queue of webhook endpoint %s: %w", id, err)
	}
	return nil
}

// claimDue claims deliveries that are due: those first that were never tried. They are added to list.
func claimDue(c deliver.Claim, o deliver.ClaimOf, visit, limit int64, list *[]deliver.Send) command {
	most := int64(neverSeen)
	if o.FirstOnly {
		most = 0
	}
	claim := newCommand(`UPDATE webhook_deliveries SET owner = $1, visit = $2, due_at = $3
		WHERE endpoint_id = $4 AND due_at <= $5 AND tries <= $6 AND seq IN (SELECT seq FROM webhook_deliveries WHERE endpoint_id = $4 AND due_at <= $5 AND tries <= $6
			ORDER BY CASE WHEN tries > 0 THEN 1 ELSE 0 END, due_at, seq LIMIT $7)
		RETURNING seq, tries, first_at, replay_id <> ''`, c.Owner, visit, millis(c.Until), o.Receiver.ID, millis(c.Now), most, limit)
	claim.row = func(scan func(into ...any) error) error {
		send := deliver.Send{Visit: visit}
		var first int64
		err := scan(&send.Event.Seq, &send.Tries, &first, &send.Replayed)
		send.FirstAt = timeOrZero(first)
		*list = append(*list, send)
		return err
	}
	return claim
}

// readSends reads the events of what was claimed.
func (s *Store) readSends(ctx context.Context, of []deliver.Claimed) error {
	var seqs []int64
	for _, c := range of {
		for _, send := range c.Sends {
			seqs = append(seqs, send.Event.Seq)
		}
	}
	slices.Sort(seqs)
	seqs = slices.Compact(seqs)
	found, faults := map[int64]out.Event{}, map[int64]string{}
	for page := range slices.Chunk(seqs, 256) {
		if err := s.readSome(ctx, page, found, faults); err != nil {
			return err
		}
	}
	for i := range of {
		for j := range of[i].Sends {
			send := &of[i].Sends[j]
			if e, there := found[send.Event.Seq]; there {
				send.Event = e
			} else if send.Fault = faults[send.Event.Seq]; send.Fault == "" {
				send.Fault = "its event was pruned"
			}
		}
	}
	return nil
}

// readSome reads events by their numbers. One that cannot be read stops no other.
func (s *Store) readSome(ctx context.Context, seqs []int64, found map[int64]out.Event, faults map[int64]string) error {
	list, err := s.eventsOf(ctx, seqs)
	switch {
	case err == nil:
		for _, e := range list {
			found[e.Seq] = e
		}
		return nil
	case ctx.Err() != nil, errors.Is(err, failure.ErrUnavailable), errors.Is(err, ErrDamaged):
		return err
	case len(seqs) == 1:
		faults[seqs[0]] = "its event cannot be read: " + err.Error()
		return nil
	}
	for _, seq := range seqs {
		if err := s.readSome(ctx, []int64{seq}, found, faults); err != nil {
			return err
		}
	}
	return nil
}

// eventsOf reads events by their numbers.
func (s *Store) eventsOf(ctx context.Context, seqs []int64) ([]out.Event, error) {
	var f filter
	where := ` WHERE seq IN (` + oneOf(&f, seqs) + `)`
	return readEvents(ctx, s.read, where, f.args...)
}

func (s *Store) NoteSends(ctx context.Context, notes []deliver.Note, now time.Time) (noted deliver.Noted, err error) {
	order := make([]int, len(notes)) // in the order of endpoints, and of the notes of each
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(notes[a].Endpoint, notes[b].Endpoint) })
	err = s.inQueueTx(ctx, true, func(t *tx) error {
		noted = deliver.Noted{Outcomes: make([]deliver.Outcome, len(notes)), Disable: map[string]string{}, More: map[string]bool{}}
		for left := order; len(left) > 0; { // it may run twice
			id := notes[left[0]].Endpoint
			n := 1
			for n < len(left) && notes[left[n]].Endpoint == id {
				n++
			}
			if err := t.noteSends(ctx, id, notes, left[:n], now, &noted); err != nil {
				return err
			}
			left = left[n:]
		}
		return nil
	})
	return noted, err
}

// disabledSoon is how long an endpoint is left alone that is to be disabled.
const disabledSoon = time.Minute

// noteSends notes what came of attempts at one endpoint.
func (t *tx) noteSends(ctx context.Context, id string, notes []deliver.Note, which []int, now time.Time, noted *deliver.Noted) error {
	held := map[int64]holding{}
	q, err := t.lockQueue(ctx, id, 0, readHoldings(id, notes, which, held))
	if err != nil {
		return err
	}
	var commands []command
	for _, i := range which {
		n := notes[i]
		h, there := held[n.Send.Event.Seq]
		if !there || h.owner != n.Owner || h.visit != n.Send.Visit {
			continue // somebody else has it, or it has ended
		}
		delete(held, n.Send.Event.Seq)
		first := n.Send.FirstAt
		if first.IsZero() && !n.Answer.Cut {
			first = now
		}
		step := deliver.NextStep(n.Send.Tries, first, now, n.Answer, n.Random)
		if n.Send.Fault != "" {
			step = deliver.Step{Outcome: deliver.Failed, Tries: n.Send.Tries}
		}
		next, disable := q.circuit, ""
		if n.Send.Fault == "" {
			next, disable = q.circuit.After(step, n.Answer, now, n.Random)
		}
		if disable != "" && step.Outcome != deliver.Gone { // it stays queued, and is sent when the endpoint is enabled
			step.Outcome, step.At = deliver.Retry, now
		}
		commands = append(commands, noteSend(id, n, step, first, now, h.replay, &q)...)
		noted.Outcomes[i], q.circuit = step.Outcome, next
		if disable != "" {
			noted.Disable[id] = disable
			q.circuit.NotBefore = now.Add(disabledSoon)
		}
	}
	var w window
	changed, err := t.together(ctx, append(commands, w.read(id, millis(now)))...)
	if err != nil {
		return fmt.Errorf("note deliveries to webhook endpoint %s: %w", id, storeError(err))
	}
	if slices.Contains(changed, 0) { // nobody can while its queue is locked
		return fmt.Errorf("a delivery to webhook endpoint %s was changed meanwhile", id)
	}
	noted.More[id] = q.setNext(w, millis(now), q.replays > 0)
	t.later = append(t.later, q.store(id))
	return nil
}

// holding is who has a delivery.
type holding struct {
	owner, replay string
	visit         int64
}

// readHoldings is how it is read who has the deliveries that notes are about, by their numbers.
func readHoldings(id string, notes []deliver.Note, which []int, into map[int64]holding) command {
	var f filter
	seqs := make([]int64, len(which))
	for i, n := range which {
		seqs[i] = notes[n].Send.Event.Seq
	}
	text := `SELECT seq, owner, visit, replay_id FROM webhook_deliveries WHERE endpoint_id = ` + f.mark(id) + ` AND seq IN (` + oneOf(&f, seqs) + `)`
	c := newCommand(text, f.args...)
	c.row = func(scan func(into ...any) error) error {
		var seq int64
		var h holding
		err := scan(&seq, &h.owner, &h.visit, &h.replay)
		into[seq] = h
		return err
	}
	return c
}

// noteSend is how it is noted what came of one attempt; each command changes a row.
func noteSend(id string, n deliver.Note, step deliver.Step, first, now time.Time, replay string, q *queue) []command {
	a, seq := n.Answer, n.Send.Event.Seq
	reason := a.Reason()
	if a.Success() {
		reason = ""
	}
	switch step.Outcome {
	case deliver.Delivered, deliver.Failed:
		q.ended++
		return []command{
			newCommand(`DELETE FROM webhook_deliveries WHERE endpoint_id = $1 AND seq = $2 AND owner = $3 AND visit = $4`, id, seq, n.Owner, n.Send.Visit),
			newCommand(`INSERT INTO webhook_history (endpoint_id, seq, n, state, tries, replay_id, first_at, tried_at, took, status, reason, body, addr)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`, id, seq, q.ended, string(step.Outcome), step.Tries, replay,
				millisOrZero(first), millis(now), a.Took.Milliseconds(), int64(a.Status), reason, a.Body, a.Addr),
		}
	case deliver.Cut:
		return []command{newCommand(`UPDATE webhook_deliveries SET owner = '', due_at = $5 WHERE endpoint_id = $1 AND seq = $2 AND owner = $3 AND visit = $4`,
			id, seq, n.Owner, n.Send.Visit, millis(now))}
	}
	return []command{newCommand(`UPDATE webhook_deliveries SET owner = '', due_at = $5, tries = $6, first_at = $7, tried_at = $8, took = $9, status = $10, reason = $11,
		body = $12, addr = $13 WHERE endpoint_id = $1 AND seq = $2 AND owner = $3 AND visit = $4`, id, seq, n.Owner, n.Send.Visit, millis(step.At), step.Tries,
		millisOrZero(first), millis(now), a.Took.Milliseconds(), int64(a.Status), reason, a.Body, a.Addr)}
}

// oldestUnsent is the number of the oldest event that is still to be sent to an active endpoint.
func (s *Store) oldestUnsent(ctx context.Context) (seq int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT coalesce(min(seq), $1) FROM (
		SELECT min(coalesce(q.cursor_seq, e.since) + 1) AS seq FROM webhook_endpoints e LEFT JOIN webhook_queues q ON q.endpoint_id = e.id WHERE e.status = 'active'
		UNION ALL SELECT min(d.seq) FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE e.status = 'active'
		UNION ALL SELECT min(r.position + 1) FROM webhook_replays r JOIN webhook_endpoints e ON e.id = r.endpoint_id WHERE e.status = 'active' AND r.ended_at = 0) AS u`,
		int64(never)).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("look for events that are still to be sent: %w", storeError(err))
	}
	return seq, nil
}
