package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/webhook/out"
)

// Query is which deliveries to list.
type Query struct {
	Endpoint string
	State    State  // only those; "": all
	Event    string // only those of the event of this id; "": of all
	After    Position
	Limit    int
}

// Position is where a list of deliveries continues: behind the delivery of that event and number.
type Position struct{ Seq, N int64 }

// String is the position as a cursor; empty for the beginning.
func (p Position) String() string {
	if p == (Position{}) {
		return ""
	}
	return strconv.FormatInt(p.Seq, 10) + "." + strconv.FormatInt(p.N, 10)
}

// ParsePosition reads a cursor. ErrInvalid.
func ParsePosition(text string) (p Position, err error) {
	if text == "" {
		return p, nil
	}
	seq, n, found := strings.Cut(text, ".")
	if found {
		p.Seq, err = strconv.ParseInt(seq, 10, 64)
		if err == nil {
			p.N, err = strconv.ParseInt(n, 10, 64)
		}
	}
	if !found || err != nil || p.Seq < 1 || p.N < 0 || p.String() != text {
		return Position{}, failure.Cursor(fmt.Sprintf("%.100q is not the place of a delivery such as 17.3", text))
	}
	return p, nil
}

// Scope is which events of an endpoint are sent again: of those that it hears today. One of the
// first three is given, or all of them are empty: then it is everything that is still there.
type Scope struct {
	Event       string    // the event of this id
	Since       time.Time // what happened at that time or later
	Until       time.Time // and before that time; zero: up to now
	Undelivered bool      // only what the endpoint never accepted, also what was never tried
}

// Extent is how far a replay goes.
type Extent struct {
	After, To int64 // numbers of events: those behind After, up to To
	Total     int64 // how many of them are sent
}

// Replay is events that are sent to an endpoint again.
type Replay struct {
	ID         string // "rpl_" and 16 letters or digits
	EndpointID string
	Extent
	Undelivered bool
	Queued      int64 // how many have been put into the queue
	CreatedAt   time.Time
	EndedAt     time.Time // when the last one was put there; zero: not yet
}

// ReplayQuery is which replays to list.
type ReplayQuery struct {
	Endpoint string
	After    string // those of before this one
	Limit    int
}

// HistoryConfig is what a History is made of. All must be set.
type HistoryConfig struct {
	Store HistoryStore
	Log   *audit.Log
	Now   func() time.Time
	Rand  io.Reader // cryptographic randomness
}

// History is what was sent to endpoints, and is sent again.
type History struct{ cfg HistoryConfig }

// NewHistory returns the history of a database.
func NewHistory(c HistoryConfig) *History { return &History{c} }

// Deliveries returns deliveries of an endpoint, newest events first. ErrNotFound: no such endpoint,
// or no such event; ErrInvalid: no such state.
func (h *History) Deliveries(ctx context.Context, q Query) ([]Delivery, error) {
	if q.State != "" && !slices.Contains(States, q.State) {
		return nil, failure.Invalid(fmt.Sprintf("state %.100q is none of %s", string(q.State), failure.Names(States)))
	}
	if _, err := h.cfg.Store.Endpoint(ctx, q.Endpoint); err != nil {
		return nil, err
	}
	return h.cfg.Store.Sends(ctx, q)
}

// Queue returns how far an endpoint is. ErrNotFound.
func (h *History) Queue(ctx context.Context, id string) (Queue, error) {
	e, err := h.cfg.Store.Endpoint(ctx, id)
	if err != nil {
		return Queue{}, err
	}
	return h.cfg.Store.QueueOf(ctx, e.Endpoint)
}

// errDisabled refuses a replay that would not be sent.
const errDisabled = failure.Invalid("the endpoint is disabled: enable it first; what was queued for it is sent then by itself")

// Count returns how many events a replay would send. ErrNotFound: no such endpoint or event;
// ErrInvalid.
func (h *History) Count(ctx context.Context, id string, s Scope) (int64, error) {
	_, extent, err := h.extent(ctx, id, s)
	return extent.Total, err
}

func (h *History) extent(ctx context.Context, id string, s Scope) (out.Endpoint, Extent, error) {
	if s.Event != "" && (!s.Since.IsZero() || !s.Until.IsZero() || s.Undelivered) {
		return out.Endpoint{}, Extent{}, failure.Invalid("give an event, or a time, not both")
	}
	if !s.Until.IsZero() && !s.Since.Before(s.Until) {
		return out.Endpoint{}, Extent{}, failure.Invalid("the end of the time is not after its beginning")
	}
	e, err := h.cfg.Store.Endpoint(ctx, id)
	if err != nil {
		return out.Endpoint{}, Extent{}, err
	}
	extent, err := h.cfg.Store.CountReplay(ctx, e.Endpoint, s)
	return e.Endpoint, extent, err
}

// Replay sends events to an endpoint again: one, those of a time, or those that it never accepted.
// There is no limit to how many; what is queued already is not queued twice. A request that its
// sender named makes one replay, however often it is sent. ErrNotFound: no such endpoint or event;
// ErrInvalid: the endpoint is disabled; ErrConflict: the name is that of another replay.
func (h *History) Replay(ctx context.Context, id string, s Scope) (Replay, error) {
	e, extent, err := h.extent(ctx, id, s)
	if err != nil {
		return Replay{}, err
	}
	if e.Status != out.Active {
		return Replay{}, errDisabled
	}
	r := Replay{EndpointID: id, Extent: extent, Undelivered: s.Undelivered, CreatedAt: h.cfg.Now()}
	if r.ID, err = opaque.OfReplay.New(opaque.RandOf(ctx, h.cfg.Rand)); err != nil {
		return Replay{}, err
	}
	if extent.Total == 0 {
		r.To, r.EndedAt = r.After, r.CreatedAt
	}
	act := h.cfg.Log.Act(ctx, audit.DeliveryReplayed, e.AccountID, id, audit.Details{
		"replay": r.ID, "events": extent.Total, "after": r.After, "to": r.To, "undelivered": s.Undelivered,
	})
	err = h.cfg.Store.AddReplay(ctx, r, act)
	if errors.Is(err, failure.ErrConflict) {
		return h.named(ctx, r, s)
	}
	return r, err
}

// named is the replay that this very request made before. What it was asked for is told by what is
// kept of it: a time that has no end, or one to come, may reach further now than it did then.
func (h *History) named(ctx context.Context, r Replay, s Scope) (Replay, error) {
	list, err := h.cfg.Store.Replays(ctx, ReplayQuery{Endpoint: r.EndpointID, Limit: 1000})
	for _, there := range list {
		switch {
		case there.ID != r.ID:
		case there.Undelivered != r.Undelivered || there.To > r.To || s.Event != "" && there.To != r.To:
			return Replay{}, fmt.Errorf("replay %s: %w: its Idempotency-Key was given to another request: give this one a new key", r.ID, failure.ErrConflict)
		default:
			return there, nil
		}
	}
	return Replay{}, errors.Join(err, failure.ErrConflict)
}

// Replays returns replays of an endpoint, newest first. ErrNotFound: no such endpoint; ErrInvalid.
func (h *History) Replays(ctx context.Context, q ReplayQuery) ([]Replay, error) {
	if err := opaque.OfReplay.CheckAfter(q.After); err != nil {
		return nil, err
	}
	if _, err := h.cfg.Store.Endpoint(ctx, q.Endpoint); err != nil {
		return nil, err
	}
	return h.cfg.Store.Replays(ctx, q)
}

// Skip ends what is queued for an endpoint without sending it, and returns how many events were
// left out: it hears what happens from now on. They can be replayed. ErrNotFound.
func (h *History) Skip(ctx context.Context, id string) (int64, error) {
	e, err := h.cfg.Store.Endpoint(ctx, id)
	if err != nil {
		return 0, err
	}
	return h.cfg.Store.SkipSends(ctx, e.Endpoint, h.cfg.Now(),
		h.cfg.Log.Act(ctx, audit.EndpointUpdated, e.AccountID, id, audit.Details{"queue": "skipped"}))
}

// Stock counts what is queued.
func (h *History) Stock(ctx context.Context) (Stock, error) { return h.cfg.Store.SendStock(ctx) }
