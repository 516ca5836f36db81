package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/ledger"
	"github.com/pageflare/ci/service/upkeep"
	"github.com/pageflare/ci/service/webhook/out"
)

// What happened is told in the transaction in which it happens: lastCommands writes the events of its
// acts, all by one statement, and numbers them under the lock of all writers, by the row that is read
// and updated anyhow. So numbers grow in the order of commits, without a gap.
//
// Records of license tokens are told only while some endpoint hears that type. Who hears what is
// known as of a number that grows when endpoints change (audit_head.endpoints), so while nobody hears
// of tokens, a refresh costs a comparison.

// heard is which events of license tokens somebody hears.
type heard struct {
	asOf int64 // audit_head.endpoints
	all  tokenEvents
	of   map[string]tokenEvents // by account
}

// tokenEvents is a set of types.
type tokenEvents uint8

const (
	issued tokenEvents = 1 << iota
	refreshed
	exchanged
)

// tokenEvent is as what a record is told.
func tokenEvent(did audit.Action) tokenEvents {
	switch did {
	case audit.TokenIssued:
		return issued
	case audit.TokenRefreshed:
		return refreshed
	case audit.TokenExchanged:
		return exchanged
	}
	return 0
}

func tokenEventsOf(types []audit.EventType) (set tokenEvents) {
	if len(types) == 0 {
		return issued | refreshed | exchanged
	}
	for _, t := range types {
		switch t {
		case audit.EventLicenseIssued:
			set |= issued
		case audit.EventLicenseRefreshed:
			set |= refreshed
		case audit.EventLicenseExchanged:
			set |= exchanged
		}
	}
	return set
}

// eventRow is an event that has no number yet.
type eventRow struct {
	audit.Event
	at   int64
	seed [32]byte // of its id
}

// tellRecords notes the events of the block, whose hash this is, if somebody hears them.
func (t *tx) tellRecords(ctx context.Context, hash string) error {
	if len(t.records) == 0 {
		return nil
	}
	h := t.pool.heard.Load()
	if h == nil || h.asOf != t.head.endpoints {
		var err error
		if h, err = t.whoHears(ctx); err != nil {
			return err
		}
	}
	if h.all == 0 && len(h.of) == 0 {
		return nil
	}
	for i := range t.records {
		r := &t.records[i]
		did := tokenEvent(audit.Action(r.Action))
		if did&(h.all|h.of[r.Account]) == 0 {
			continue
		}
		if e, ok := actOf(r).TokenEvent(factsOf(r)); ok {
			t.events = append(t.events, eventRow{e, r.At, t.recorded.EventSeed(t.head.Seq+1+int64(i), hash, e.Type)})
		}
	}
	return nil
}

// actOf is the act of a record.
func actOf(r *ledger.Record) audit.Act {
	return audit.Act{Action: audit.Action(r.Action), Account: r.Account, Object: r.ID, Details: r.Extra}
}

func factsOf(r *ledger.Record) audit.TokenFacts {
	return audit.TokenFacts{
		Family: opaque.TokenID(r.ID).Family(), Parent: r.Parent, IssuedBy: r.IssuedBy, ExpiresAt: time.Unix(r.ExpiresAt, 0),
	}
}

// whoHears reads who hears of license tokens. It is kept unless this transaction may have changed it,
// which can still be undone.
func (t *tx) whoHears(ctx context.Context) (*heard, error) {
	h := &heard{asOf: t.head.endpoints, of: map[string]tokenEvents{}}
	rows, err := t.QueryContext(ctx, `SELECT coalesce(account_id, ''), events FROM webhook_endpoints WHERE status = 'active'`)
	if err != nil {
		return nil, fmt.Errorf("read who hears of events: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var account, text string
		if err := rows.Scan(&account, &text); err != nil {
			return nil, fmt.Errorf("read who hears of events: %w", storeError(err))
		}
		var types []audit.EventType
		if err := json.Unmarshal([]byte(text), &types); err != nil {
			types = nil // better an event too many: nobody gets one that is not theirs
		}
		switch set := tokenEventsOf(types); {
		case set == 0:
		case account == "":
			h.all |= set
		default:
			h.of[account] |= set
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read who hears of events: %w", storeError(err))
	}
	if !t.changesEndpoints() {
		t.pool.heard.Store(h)
	}
	return h, nil
}

// changesEndpoints says whether the transaction changes who hears what.
func (t *tx) changesEndpoints() bool {
	for _, a := range t.acts {
		switch a.Action {
		case audit.EndpointAdded, audit.EndpointUpdated, audit.EndpointRemoved, audit.EndpointDisabled:
			return true
		}
	}
	return false
}

// tell notes the events of an act, whose line has this number and hash.
func (t *tx) tell(a *audit.Act, seq int64, hash string) {
	if !a.Action.Published() {
		return
	}
	for _, e := range a.Events() {
		t.events = append(t.events, eventRow{e, millis(a.At), a.EventSeed(seq, hash, e.Type)})
	}
}

const insertEvents = `INSERT INTO events (` + eventColumns + `) VALUES `

// eventCommands writes what was noted, and returns the number of the newest event that there is then.
func (t *tx) eventCommands() (commands []command, newest int64, err error) {
	newest = t.head.events
	rows := t.events
	for _, add := range addEvents {
		for together := add.rows; len(rows) >= together; {
			c := command{text: add.text, args: make([]any, 0, eventValues*together)}
			for i := range rows[:together] {
				e := &rows[i]
				id, err := opaque.OfEvent.New(bytes.NewReader(e.seed[:]))
				if err != nil {
					return nil, 0, err
				}
				newest++
				c.args = append(c.args, newest, id, string(e.Type), e.Account, e.Endpoint, e.at, e.Data)
			}
			commands, rows = append(commands, c), rows[together:]
		}
	}
	return commands, newest, nil
}

// addEvents are the statements that add events: few, for each is kept.
var addEvents = []struct {
	rows int
	text string
}{{64, eventsText(64)}, {8, eventsText(8)}, {1, eventsText(1)}}

// eventValues is how many values a row of events has.
const eventValues = 7

// eventsText is the statement that adds n events.
func eventsText(n int) string {
	const columns = eventValues
	rows := make([]string, n)
	for i := range rows {
		marks := make([]string, columns)
		for j := range marks {
			marks[j] = fmt.Sprintf("$%d", i*columns+j+1)
		}
		rows[i] = "(" + strings.Join(marks, ", ") + ")"
	}
	return insertEvents + strings.Join(rows, ", ")
}

// publication tells, in this process, that events were committed by it.
type publication struct {
	one chan struct{}

	mu  sync.Mutex
	all chan struct{}
}

func newPublication() *publication {
	return &publication{one: make(chan struct{}, 1), all: make(chan struct{})}
}

func (p *publication) tell() {
	select {
	case p.one <- struct{}{}:
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.all)
	p.all = make(chan struct{})
}

// Published gets a value after a transaction of this process that wrote events: one for any number of
// them, for the one who sends them on.
func (s *Store) Published() <-chan struct{} { return s.write.published.one }

// NextPublished is closed after the next transaction of this process that writes events, for any
// number of readers.
func (s *Store) NextPublished() <-chan struct{} {
	p := s.write.published
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

const eventColumns = `seq, id, type, account_id, endpoint_id, at, data`

// NewestEvent returns the number of the newest event; 0 when there never was one.
func (s *Store) NewestEvent(ctx context.Context) (newest int64, err error) {
	if err := s.read.QueryRowContext(ctx, `SELECT events FROM audit_head WHERE id = 1`).Scan(&newest); err != nil {
		return 0, noHead(storeError(err))
	}
	return newest, nil
}

// filteredAtOnce is among how many events those are looked for that a filter lets through.
const filteredAtOnce = 10_000

func (s *Store) EventsAfter(ctx context.Context, q out.FeedQuery) (page out.FeedPage, err error) {
	// in this order, so that what is missing in the middle is found: all events up to newest are
	// there when they are read, and what was pruned meanwhile is before the oldest
	if page.Newest, err = s.NewestEvent(ctx); err != nil {
		return page, err
	}
	upTo := page.Newest
	var f filter
	f.where("seq > %s", q.After, true)
	if q.Replay != "" {
		if upTo, err = s.ofReplay(ctx, &f, q.Replay, upTo); err != nil {
			return page, err
		}
	}
	if q.Account != "" || q.Type != "" || !q.Tests || q.Replay != "" {
		upTo = min(upTo, q.After+filteredAtOnce)
	}
	f.where("seq <= %s", upTo, true)
	f.where("account_id = %s", q.Account, q.Account != "")
	toldTo(&f, q)
	if page.Events, err = readEvents(ctx, s.read, f.list("seq", q.Limit), f.args...); err != nil {
		return page, err
	}
	page.Next = max(q.After, upTo)
	if n := len(page.Events); n == q.Limit {
		page.Next = page.Events[n-1].Seq
	}
	page.Oldest, err = s.oldestEvent(ctx, page.Newest)
	return page, err
}

// toldTo are the conditions of the types that are asked for, and of the events that are not for all.
func toldTo(f *filter, q out.FeedQuery) {
	types, endpoints := []string{string(q.Type)}, []string{""}
	if q.Replays {
		types, endpoints = append(types, string(audit.EventReplayed)), append(endpoints, audit.ForFollowers)
	}
	if q.Type != "" {
		f.conditions = append(f.conditions, "type IN ("+oneOf(f, types)+")")
	}
	if q.Tests {
		f.where("endpoint_id <> %s", audit.ForFollowers, !q.Replays)
	} else {
		f.conditions = append(f.conditions, "endpoint_id IN ("+oneOf(f, endpoints)+")")
	}
}

// ofReplay are the conditions of the events that a replay sends, and the number of the last one that
// there may be. Of what had never been accepted it is what had not been when the replay was made,
// however far it is by now.
func (s *Store) ofReplay(ctx context.Context, f *filter, id string, newest int64) (upTo int64, err error) {
	var endpoint string
	var to, undelivered, made int64
	err = s.read.QueryRowContext(ctx, `SELECT endpoint_id, to_seq, undelivered, created_at FROM webhook_replays WHERE id = $1`, id).
		Scan(&endpoint, &to, &undelivered, &made)
	if err != nil {
		return 0, fmt.Errorf("replay %.100q: %w", id, notFound(err))
	}
	e, err := endpointByID(ctx, s.read, endpoint)
	if err != nil {
		return 0, err
	}
	hears(f, e.Endpoint)
	if undelivered != 0 {
		f.conditions = append(f.conditions, fmt.Sprintf(`NOT EXISTS (SELECT 1 FROM webhook_history h WHERE h.endpoint_id = %s AND h.seq = events.seq
			AND h.state = 'delivered' AND h.tried_at <= %s AND h.replay_id <> %s)`, f.mark(e.ID), f.mark(made), f.mark(id)))
	}
	return min(to, newest), nil
}

// oldestEvent is the number of the oldest event that was not pruned; one more than the newest when
// none is left.
func (s *Store) oldestEvent(ctx context.Context, newest int64) (oldest int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT coalesce((SELECT min(seq) FROM events), CAST($1 AS BIGINT))`, newest+1).Scan(&oldest)
	if err != nil {
		return 0, fmt.Errorf("look for the oldest event: %w", storeError(err))
	}
	return oldest, nil
}

// pruneEvents prunes the oldest events, up to one that is not old enough or is still to be sent. So
// those that are left have no gap, and who reads the feed can tell what is missing.
func (s *Store) pruneEvents(ctx context.Context, held upkeep.Lease, p upkeep.Pruning) (bool, error) {
	last, err := s.lastOldEvent(ctx, millis(p.Before))
	if err != nil || last == 0 {
		return false, err
	}
	return true, inTx(ctx, s.write, func(t *tx) error {
		if err := t.holds(ctx, held); err != nil {
			return err
		}
		t.wrote = true
		if _, err := t.ExecContext(ctx, `DELETE FROM events WHERE seq <= $1`, last); err != nil {
			return fmt.Errorf("prune events: %w", storeError(err))
		}
		return nil
	})
}

// lastOldEvent is the last one of those that can be pruned now, a batch at most; 0: none.
func (s *Store) lastOldEvent(ctx context.Context, before int64) (last int64, err error) {
	kept, err := s.oldestUnsent(ctx)
	if err != nil {
		return 0, err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT seq, at FROM events ORDER BY seq LIMIT $1`, pruneBatch)
	if err != nil {
		return 0, fmt.Errorf("look for events to prune: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var seq, at int64
		if err := rows.Scan(&seq, &at); err != nil {
			return 0, fmt.Errorf("look for events to prune: %w", storeError(err))
		}
		if at >= before || seq >= kept {
			break
		}
		last = seq
	}
	return last, storeError(rows.Err())
}

func readEvents(ctx context.Context, q querier, which string, args ...any) ([]out.Event, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+eventColumns+` FROM events`+which, args...)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", storeError(err))
	}
	defer rows.Close()
	var list []out.Event
	for rows.Next() {
		e, err := scanEvent(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("read events: %w", storeError(err))
		}
		list = append(list, e)
	}
	return list, storeError(rows.Err())
}

// scanEvent reads eventColumns.
func scanEvent(scan func(...any) error) (e out.Event, err error) {
	var at int64
	err = scan(&e.Seq, &e.ID, &e.Type, &e.AccountID, &e.EndpointID, &at, &e.Data)
	e.At = fromMillis(at)
	return e, err
}
