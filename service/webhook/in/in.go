// Package in is what GitHub tells the service by webhooks: whom it believes, that nothing it was told
// is lost, and when each delivery is processed.
//
// A delivery is proven (signature.go), stored and answered before anything else happens (receive.go),
// then processed by any replica (worker.go), by a handler that must bear to see it twice. What GitHub
// failed to deliver is asked for again (heal.go). What a purchase means is decided in
// service/billing, what a repository means for trust in service/license.
package in

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/opaque"
)

// Delivery is one event that GitHub told of.
type Delivery struct {
	ID         string    // X-GitHub-Delivery: the same when it is delivered again
	Event      string    // such as marketplace_purchase
	Action     string    // empty: it has none
	Body       []byte    // as it came; whether it is JSON is for the handler to see
	ReceivedAt time.Time // for handlers: when the same body came first, under whatever id
}

// Handler processes deliveries of one event. It may see a delivery several times, and deliveries in
// any order. An error means that the delivery is not processed, and is tried again: later and later,
// for three days. One that is a failure.ErrInvalid is not tried again on its own. One with a method
// Due() time.Time says when it is to be tried again, and is no failure.
type Handler func(ctx context.Context, d Delivery) error

// State is how far a delivery has come.
type State string

// The states.
const (
	Received  State = "received"  // it is to be processed
	Processed State = "processed" // it was
	Failed    State = "failed"    // it was tried, and that went wrong
	Ignored   State = "ignored"   // nobody wants events of its kind
)

// States are all states there are.
var States = []State{Received, Processed, Failed, Ignored}

// Record is what is remembered of a delivery.
type Record struct {
	ID          string
	Event       string
	Action      string
	State       State
	Error       string // of the newest attempt; empty: it went well, or there was none
	Attempts    int64
	ReceivedAt  time.Time
	ProcessedAt time.Time // zero: it was not
	DueAt       time.Time // when it is tried next; zero: it is not
}

// Claim is a delivery that this replica may process, until another one may.
type Claim struct {
	Record
	Owner  string    // with the number of attempts, the fence of the claim
	ToldAt time.Time // when the same body came first, under whatever id
}

// Outcome is what became of a claim.
type Outcome struct {
	State State
	Error string
	At    time.Time
	DueAt time.Time // when it is tried next; zero: it is not
}

// Query is which deliveries to list, newest first.
type Query struct {
	State State  // "": all
	Event string // "": all
	After string // only those that come after this one: its id
	Limit int
}

// Store is what deliveries need of a database. What it changes is durable when it returns nil.
type Store interface {
	// ReceiveDelivery stores a delivery in a state, to be processed from due on (zero: never), and
	// returns the state that it found it in when it was there already: one that was not processed
	// is to be processed now, by the body that came now. "": it was not there.
	ReceiveDelivery(ctx context.Context, d Delivery, s State, due time.Time) (before State, err error)
	// NextReceived is when the next delivery is due; zero: none is.
	NextReceived(ctx context.Context) (time.Time, error)
	// ClaimReceived claims up to limit deliveries that are due at now and that nobody else has
	// claimed, until a time.
	ClaimReceived(ctx context.Context, owner string, now, until time.Time, limit int) ([]Claim, error)
	// ReceivedBody is the body of a delivery. ErrNotFound: it is not stored any more.
	ReceivedBody(ctx context.Context, id string) ([]byte, error)
	// FinishReceived stores what became of a claim, unless another replica has claimed it since.
	FinishReceived(ctx context.Context, c Claim, o Outcome) error
	// ListReceived returns the deliveries that are asked for, newest first. ErrInvalid: After is none.
	ListReceived(ctx context.Context, q Query) ([]Record, error)
	// RetryReceived makes a delivery due at now. ErrNotFound: there is none of that id;
	// ErrInvalid: its body is not stored any more.
	RetryReceived(ctx context.Context, id string, now time.Time) (Record, error)
	// KnownReceived tells which of these ids were received.
	KnownReceived(ctx context.Context, ids []string) (map[string]bool, error)
	// PruneReceived drops up to limit bodies that nobody needs of deliveries received before
	// bodies, and up to limit deliveries received before rows that are not due. It returns how many.
	PruneReceived(ctx context.Context, bodies, rows time.Time, limit int) (int64, error)
}

// Config is what a Receiver is made of. All fields must be set unless they say what nil means.
type Config struct {
	Store Store
	// Secrets are the secrets of the webhook, newest first; none: nobody is believed.
	Secrets  func(context.Context) ([]opaque.Secret, error)
	Handlers map[string]Handler // by the name of the event
	Now      func() time.Time   // in the resolution that is stored
	Rand     io.Reader          // spreads what is tried again
	Patience time.Duration      // how long a large body waits for its turn; 0: 5 s
}

// Receiver hears GitHub.
type Receiver struct {
	cfg   Config
	large chan struct{} // held while a large body is read
	wake  chan struct{} // gets a value when something is due

	mu     sync.Mutex
	counts map[Count]int64
	old    int64 // how often the secret of before was used
}

// New returns a Receiver.
func New(c Config) *Receiver {
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	return &Receiver{
		cfg: c, large: make(chan struct{}, largeBodies), wake: make(chan struct{}, 1), counts: map[Count]int64{},
	}
}

// Count is what is counted of deliveries. Event is one that has a handler, ping, or other: nobody
// can make their number grow.
type Count struct {
	Event   string
	Outcome string
}

// The outcomes that are counted.
const (
	CountReceived  = "received"
	CountRepeated  = "repeated" // it had been processed before
	CountProcessed = "processed"
	CountFailed    = "failed"
	CountIgnored   = "ignored"
	CountRefused   = "refused" // its signature was not good
	CountAsked     = "asked"   // GitHub was asked to deliver it again
)

func (r *Receiver) count(event, outcome string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[Count{r.label(event), outcome}]++
}

func (r *Receiver) label(event string) string {
	if r.cfg.Handlers[event] == nil && event != ping {
		return "other"
	}
	return event
}

// Counts are what this process counted since it started, and how often the secret of before proved a
// delivery.
func (r *Receiver) Counts() (counts map[Count]int64, oldSecret int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts = make(map[Count]int64, len(r.counts))
	for c, n := range r.counts {
		counts[c] = n
	}
	return counts, r.old
}

// ping is the event by which GitHub tries a webhook.
const ping = "ping"

// Events are the events that have a handler, in their order.
func (r *Receiver) Events() []string {
	events := make([]string, 0, len(r.cfg.Handlers))
	for e := range r.cfg.Handlers {
		events = append(events, e)
	}
	slices.Sort(events)
	return events
}

// IsDeliveryID says whether a text can be the id of a delivery.
func IsDeliveryID(text string) bool { return idForm.MatchString(text) }

// Deliveries returns the deliveries that are asked for, newest first. ErrInvalid.
func (r *Receiver) Deliveries(ctx context.Context, q Query) ([]Record, error) {
	return r.cfg.Store.ListReceived(ctx, q)
}

// Retry lets a delivery be processed once more, by whichever replica comes first. ErrNotFound,
// ErrInvalid.
func (r *Receiver) Retry(ctx context.Context, id string) (Record, error) {
	d, err := r.cfg.Store.RetryReceived(ctx, id, r.cfg.Now())
	if err == nil {
		r.awaken()
	}
	return d, err
}

func (r *Receiver) awaken() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// by lets everything that is done count as done by GitHub.
func by(ctx context.Context, d Delivery) context.Context {
	return audit.WithActor(ctx, audit.Actor{Kind: audit.ActorGitHub, ID: d.ID})
}
