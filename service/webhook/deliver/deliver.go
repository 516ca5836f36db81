// Package deliver is how an event reaches its receiver: it is sent until it was accepted, and is
// never lost.
//
// It decides what is sent when (schedule.go), by which replica (dispatcher.go), to where (guard.go)
// and what is sent again (history.go). Which endpoints there are, and what an event says, is decided
// in service/webhook/out; how it is signed, in service/webhook/signature.
//
// # Never lost, never stuck
//
// The events are the backlog. For each endpoint a cursor says how far they were looked at, and a
// window of a few hundred rows what is sent next. The cursor moves in the transaction that adds the
// rows, and numbers of events grow in the order of commits, so none is left out; a row goes in the
// transaction that notes that it was accepted.
//
// A replica claims rows of an endpoint until a time, under a fencing token that no other claim has,
// and notes what came of them under the same: a replica that was killed is replaced when that time is
// over, and one that was suspended notes nothing. What is sent twice carries the same id.
package deliver

import (
	"context"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/webhook/out"
)

// The bounds of a queue.
const (
	// Window is how many deliveries of an endpoint are prepared at most.
	Window = 512
	// LookAtOnce is among how many events those are looked for that an endpoint hears; a cursor that
	// lags by as many is moved, also when it hears none of them.
	LookAtOnce = 5000
	// LeaseTime is how long a replica has what it claimed. It is longer than an attempt and what
	// follows take, also when the clocks of replicas are 20 seconds apart.
	LeaseTime = 45 * time.Second
)

// State is how a delivery is.
type State string

// The states.
const (
	Pending     State = "pending"   // it is to be sent
	Sending     State = "sending"   // a replica has it
	Held        State = "held"      // it is to be sent, and its endpoint is disabled
	IsDelivered State = "delivered" // it was accepted
	GaveUp      State = "failed"    // it was tried for three days
	Skipped     State = "skipped"   // its endpoint was told to leave out what was queued
)

// States are all states.
var States = []State{Pending, Sending, Held, IsDelivered, GaveUp, Skipped}

// Delivery is an event on its way to an endpoint, or of before.
type Delivery struct {
	EndpointID string
	Event      out.Event // with its number alone when it was pruned
	State      State
	N          int64 // of the history; 0: it has not ended
	Tries      int64
	Replay     string // id of the replay that it is of; empty: none
	FirstAt    time.Time
	TriedAt    time.Time // of the newest attempt, which the rest is of; zero: there was none
	NextAt     time.Time // of the next one; zero: it has ended
	Last       Answer
}

// Receiver is an endpoint as the dispatcher knows it.
type Receiver struct {
	out.Sealed
	Err error // its row cannot be read, and so nothing is sent to it
}

// Hears says whether an event is for the receiver.
func (r Receiver) Hears(e out.Event) bool {
	if e.EndpointID != "" {
		return e.EndpointID == r.ID
	}
	return r.Endpoint.Hears(e.Type, e.AccountID)
}

// Heads are what tells that there is something new.
type Heads struct {
	Events    int64 // number of the newest event
	Endpoints int64 // grows when it changes who hears what
}

// Claim is what a replica wants to send.
type Claim struct {
	Owner string
	Now   time.Time
	Until time.Time // the end of the lease
	Of    []ClaimOf
}

// ClaimOf is what of it is for an endpoint.
type ClaimOf struct {
	Receiver  Receiver
	Limit     int
	FirstOnly bool // no delivery that was tried before
	Changed   bool // the endpoint is another one than before
}

// Claimed is what a replica may send to an endpoint.
type Claimed struct {
	Receiver Receiver // as it is now
	Sends    []Send
	More     bool // there is more to do for it at once
	Behind   bool // there are more events for it than the window has, or there may be
}

// Send is a delivery that a replica has.
type Send struct {
	Event    out.Event
	Fault    string // why it can never be sent; empty: it can
	Visit    int64  // its fencing token
	Tries    int64
	FirstAt  time.Time // zero: it was never tried
	Replayed bool
}

// Note is what came of an attempt.
type Note struct {
	Endpoint string
	Account  string // whose endpoint it is; empty: the operator's
	URL      string // that was asked
	Owner    string
	Send     Send
	Answer   Answer
	Random   float64
}

// Noted is what the notes of one transaction led to.
type Noted struct {
	Outcomes []Outcome         // of each note; empty: another replica has the delivery
	Disable  map[string]string // endpoints that are to be disabled, and why
	More     map[string]bool   // endpoints that there is more to do for at once
}

// Store is what the dispatcher needs of a database. Nothing of it takes the lock of all writers but
// what NoteSends leads to.
type Store interface {
	// WebhookHeads returns what tells that there is something new.
	WebhookHeads(ctx context.Context) (Heads, error)
	// Receivers returns all endpoints that were not removed, those that cannot be read too.
	Receivers(ctx context.Context) ([]Receiver, error)
	// EventHeads returns events after a number, in their order, without their data.
	EventHeads(ctx context.Context, after int64, limit int) ([]out.Event, error)
	// DueReceivers returns endpoints that there is something to do for at a time.
	DueReceivers(ctx context.Context, now time.Time, limit int) ([]string, error)
	// ClaimSends fills the windows of endpoints and claims what is due. No two claims give the same
	// delivery before the lease of the first has ended.
	ClaimSends(ctx context.Context, c Claim) ([]Claimed, error)
	// NoteSends notes what came of attempts, where nobody else has claimed the delivery meanwhile,
	// and how the endpoints do.
	NoteSends(ctx context.Context, notes []Note, now time.Time) (Noted, error)
}

// HistoryStore is what the history needs of a database.
type HistoryStore interface {
	// Endpoint returns an endpoint. ErrNotFound.
	Endpoint(ctx context.Context, id string) (out.Sealed, error)
	// Sends returns deliveries, newest events first. ErrNotFound: no such event.
	Sends(ctx context.Context, q Query) ([]Delivery, error)
	// QueueOf returns how far an endpoint is.
	QueueOf(ctx context.Context, e out.Endpoint) (Queue, error)
	// CountReplay returns how many events a replay would send, and how far it would go.
	CountReplay(ctx context.Context, e out.Endpoint, s Scope) (Extent, error)
	// AddReplay makes a replay that sends what CountReplay found.
	AddReplay(ctx context.Context, r Replay, act audit.Act) error
	// Replays returns the replays of an endpoint, newest first.
	Replays(ctx context.Context, q ReplayQuery) ([]Replay, error)
	// SkipSends ends what is queued for an endpoint without sending it, and sets its cursor to the
	// newest event. It returns how many events that were.
	SkipSends(ctx context.Context, e out.Endpoint, now time.Time, act audit.Act) (int64, error)
	// SendStock counts what is queued.
	SendStock(ctx context.Context) (Stock, error)
}

// Queue is how far an endpoint is.
type Queue struct {
	Pending      int64     // deliveries that are prepared
	Waiting      int64     // events behind them, those included that it does not hear
	FailingSince time.Time // zero: the newest attempt went well
	NextAt       time.Time // when it is asked again, while it fails; zero: at once
}

// Stock is what is queued for all endpoints of a status.
type Stock struct {
	Pending   map[out.Status]int64     // deliveries that are prepared
	Oldest    map[out.Status]time.Time // when the oldest of their events happened
	Endpoints map[out.Status]int64
	Failing   int64 // active endpoints whose newest attempt failed
}
