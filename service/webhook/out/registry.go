package out

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/webhook/signature"
)

// Sealed is an endpoint as it is stored: its Secret and Previous are empty, and sealed here.
type Sealed struct {
	Endpoint
	SealedSecret, SealedPrevious []byte
}

// The limits of endpoints. Each event is looked at for each of them.
const (
	MaxOfAccount = 20 // and as many that hear all accounts
	MaxEndpoints = 10_000
)

// Store is what endpoints need of a database. Every method that changes something has made it
// durable, its act included, when it returns nil. One that was removed is not found.
type Store interface {
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error
	// AddEndpoint stores a new endpoint, and sets Since to the newest event of before. ErrNotFound: no
	// such account. ErrConflict: there is an endpoint of that id. ErrTooMany.
	AddEndpoint(ctx context.Context, e Sealed, act audit.Act) (Sealed, error)
	// Endpoint returns one endpoint. ErrNotFound.
	Endpoint(ctx context.Context, id string) (Sealed, error)
	// Endpoints returns the endpoints that are asked for, in the order of ids.
	Endpoints(ctx context.Context, q Query) ([]Sealed, error)
	// ChangeEndpoint loads an endpoint, lets change alter it, and stores it. An error of change is
	// returned and nothing is stored; where it alters nothing, the act is not noted. ErrNotFound.
	ChangeEndpoint(ctx context.Context, id string, change func(*Sealed) error, act audit.Act) (Sealed, error)
	// ChangeEndpointOnce is ChangeEndpoint for a request that its sender named. When nothing is
	// remembered of it, what change returns is, in the same transaction; else that is given to
	// change.
	ChangeEndpointOnce(ctx context.Context, id string, r Request,
		change func(e *Sealed, before string) (did string, err error), act audit.Act) (Sealed, error)
	// RemoveEndpoint ends an endpoint: its address and its secrets are erased. ErrNotFound.
	RemoveEndpoint(ctx context.Context, id string, act audit.Act) error
	// TellEndpoint notes an act of an endpoint whose event is for it alone, and returns the event.
	// ErrNotFound.
	TellEndpoint(ctx context.Context, id string, act audit.Act) (Event, error)
}

// Request is a request that its sender named, and how long it is remembered.
type Request struct {
	Name      string // opaque.RequestName
	At, Until time.Time
}

// ErrTooMany says that there are as many endpoints as there may be.
var ErrTooMany = errors.New("too many endpoints")

// Query is which endpoints to list.
type Query struct {
	Account string // only those of this account; "": all
	After   string // only those whose id comes after this one
	Limit   int
}

// Config is what a Registry is made of. All fields must be set unless they say what nil means.
type Config struct {
	Store  Store
	Master keyring.MasterKey
	Log    *audit.Log
	Allow  []netip.Prefix // networks that events may be sent to beside public https addresses; nil: none
	Now    func() time.Time
	Rand   io.Reader // cryptographic randomness
	// Leads refuses an address by where it leads. ErrInvalid; nil: its text is all that is looked at.
	Leads func(ctx context.Context, address string) error
}

// Registry is the endpoints of a database.
type Registry struct {
	cfg   Config
	store Store
}

// New returns the endpoints of a database.
func New(c Config) *Registry { return &Registry{c, c.Store} }

// NewEndpoint is what an endpoint starts with.
type NewEndpoint struct {
	AccountID string            // whose events it hears; empty: all of them, and those that are nobody's
	URL       string            // where they are sent
	Events    []audit.EventType // which; empty: all
}

// Add stores an endpoint. Its secret is in the answer, and nowhere else but sealed. A request that
// its sender named makes one, however often it is sent. ErrInvalid for each fault; ErrNotFound: no
// such account; ErrTooMany.
func (r *Registry) Add(ctx context.Context, n NewEndpoint) (Endpoint, error) {
	if err := errors.Join(CheckURL(n.URL, r.cfg.Allow), checkTypes(n.Events)); err != nil {
		return Endpoint{}, err
	}
	if err := r.checkLead(ctx, n.URL); err != nil {
		return Endpoint{}, err
	}
	rand := opaque.RandOf(ctx, r.cfg.Rand)
	id, err := opaque.OfEndpoint.New(rand)
	if err != nil {
		return Endpoint{}, err
	}
	secret, err := signature.NewSecret(rand)
	if err != nil {
		return Endpoint{}, err
	}
	e := Sealed{Endpoint: Endpoint{
		ID: id, AccountID: n.AccountID, URL: n.URL, Events: withoutRepeats(n.Events), Status: Active, CreatedAt: r.cfg.Now(),
	}}
	if e.SealedSecret, err = r.cfg.Master.Seal(purpose(id), []byte(secret), r.cfg.Rand); err != nil {
		return Endpoint{}, err
	}
	made, err := r.store.AddEndpoint(ctx, e, r.log(ctx, audit.EndpointAdded, e.Endpoint))
	if errors.Is(err, failure.ErrConflict) {
		there, fault := r.store.Endpoint(ctx, id)
		if fault == nil && there.AccountID == e.AccountID && there.URL == e.URL &&
			slices.Equal(there.Events, e.Events) && r.hasSecret(there, secret) {
			made, err = there, nil // this very request made it before
		}
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("webhook endpoint: %w", err)
	}
	made.Secret = opaque.Secret(secret)
	return made.Endpoint, nil
}

// hasSecret says whether a secret is the one of an endpoint now.
func (r *Registry) hasSecret(e Sealed, secret string) bool {
	now, err := r.cfg.Master.Open(purpose(e.ID), e.SealedSecret)
	return err == nil && string(now) == secret
}

// checkLead looks where an address leads now; a name can lead elsewhere later, so that is looked at
// again whenever something is sent.
func (r *Registry) checkLead(ctx context.Context, address string) error {
	if r.cfg.Leads == nil {
		return nil
	}
	return r.cfg.Leads(ctx, address)
}

// log is the act of changing an endpoint. Of its address only the host is told: the rest may be as
// good as a secret, and a line cannot be erased.
func (r *Registry) log(ctx context.Context, did audit.Action, e Endpoint) audit.Act {
	host := ""
	if u, err := url.Parse(e.URL); err == nil {
		host = u.Host
	}
	return r.cfg.Log.Act(ctx, did, e.AccountID, e.ID, audit.Details{"host": host, "events": e.Events})
}

// Endpoint returns one endpoint, without its secrets. ErrNotFound.
func (r *Registry) Endpoint(ctx context.Context, id string) (Endpoint, error) {
	e, err := r.store.Endpoint(ctx, id)
	return e.Endpoint, err
}

// Endpoints returns the endpoints that are asked for, without their secrets, in the order of ids.
// ErrInvalid: After is no id. ErrNotFound: no such account.
func (r *Registry) Endpoints(ctx context.Context, q Query) ([]Endpoint, error) {
	if err := opaque.OfEndpoint.CheckAfter(q.After); err != nil {
		return nil, err
	}
	if q.Account != "" {
		if err := r.store.HasAccount(ctx, q.Account); err != nil {
			return nil, err
		}
	}
	sealed, err := r.store.Endpoints(ctx, q)
	list := make([]Endpoint, 0, len(sealed))
	for _, e := range sealed {
		list = append(list, e.Endpoint)
	}
	return list, err
}

// Change is what to change of an endpoint; nil leaves a particular as it is.
type Change struct {
	URL    *string
	Events *[]audit.EventType
	Status *Status // Active or Disabled
}

// Update changes an endpoint. What happened while it was disabled is not sent by itself when it is
// active again: it can be replayed. ErrInvalid for each fault; ErrNotFound.
func (r *Registry) Update(ctx context.Context, id string, ch Change) (Endpoint, error) {
	var faults []error
	details := audit.Details{}
	if ch.URL != nil {
		faults = append(faults, CheckURL(*ch.URL, r.cfg.Allow))
		if u, err := url.Parse(*ch.URL); err == nil {
			details["host"] = u.Host
		}
	}
	if ch.Events != nil {
		faults = append(faults, checkTypes(*ch.Events))
		details["events"] = withoutRepeats(*ch.Events)
	}
	if ch.Status != nil {
		if *ch.Status != Active && *ch.Status != Disabled {
			faults = append(faults, failure.Invalid(fmt.Sprintf("status %.100q is not active or disabled", string(*ch.Status))))
		}
		details["status"] = *ch.Status
	}
	if err := errors.Join(faults...); err != nil {
		return Endpoint{}, err
	}
	if ch.URL != nil {
		if err := r.checkLead(ctx, *ch.URL); err != nil {
			return Endpoint{}, err
		}
	}
	e, err := r.store.ChangeEndpoint(ctx, id, func(e *Sealed) error {
		if ch.URL != nil {
			e.URL = *ch.URL
		}
		if ch.Events != nil {
			e.Events = withoutRepeats(*ch.Events)
		}
		if ch.Status != nil {
			e.Status, e.Reason = *ch.Status, ""
		}
		return nil
	}, r.cfg.Log.Act(ctx, audit.EndpointUpdated, "", id, details))
	return e.Endpoint, err
}

// Disable stops sending to an endpoint because its receiver is gone. One that is disabled already
// keeps its reason, and one that has got another address than the one that answered so stays as it
// is. ErrNotFound.
func (r *Registry) Disable(ctx context.Context, id, url, reason string) error {
	_, err := r.store.ChangeEndpoint(ctx, id, func(e *Sealed) error {
		if e.Status == Active && e.URL == url {
			e.Status, e.Reason = Disabled, reason
		}
		return nil
	}, r.cfg.Log.Act(ctx, audit.EndpointDisabled, "", id, audit.Details{"reason": reason}))
	return err
}

// Remove ends an endpoint permanently, and returns it as it was. ErrNotFound.
func (r *Registry) Remove(ctx context.Context, id string) (Endpoint, error) {
	e, err := r.store.Endpoint(ctx, id)
	if err != nil {
		return Endpoint{}, err
	}
	return e.Endpoint, r.store.RemoveEndpoint(ctx, id, r.log(ctx, audit.EndpointRemoved, e.Endpoint))
}

// MaxOverlap is how long two secrets of an endpoint can sign.
const MaxOverlap = 7 * 24 * time.Hour

// rotationRetry is how long a request that its sender named gets the secret again that it made.
const rotationRetry = 24 * time.Hour

// RotateSecret gives an endpoint another secret, which is in the answer; for the overlap the one of
// now signs too. A request that its sender named does it once within 24 hours, however often it is
// sent. ErrInvalid: the overlap is below 0 or above MaxOverlap. ErrNotFound. ErrConflict: the named
// request was another one, or the secret was changed again since.
func (r *Registry) RotateSecret(ctx context.Context, id string, overlap time.Duration) (Endpoint, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Endpoint{}, failure.Invalid(fmt.Sprintf("overlap %s is not from 0 to %s (7 days)", overlap, MaxOverlap))
	}
	secret, err := signature.NewSecret(r.cfg.Rand)
	if err != nil {
		return Endpoint{}, err
	}
	sealed, err := r.cfg.Master.Seal(purpose(id), []byte(secret), r.cfg.Rand)
	if err != nil {
		return Endpoint{}, err
	}
	now := r.cfg.Now()
	act := r.cfg.Log.Act(ctx, audit.EndpointRotated, "", id, audit.Details{"overlap_seconds": int64(overlap / time.Second)})
	rotate := func(e *Sealed) error { return r.rotate(e, sealed, now, overlap) }
	unsealed := func(e Sealed, err error) (Endpoint, error) {
		if err != nil {
			return Endpoint{}, err
		}
		return Unseal(r.cfg.Master, e, now)
	}
	name, named := opaque.RequestName(ctx)
	if !named {
		return unsealed(r.store.ChangeEndpoint(ctx, id, rotate, act))
	}
	once := Request{name, now, now.Add(rotationRetry)}
	return unsealed(r.store.ChangeEndpointOnce(ctx, id, once, func(e *Sealed, before string) (string, error) {
		if before == "" {
			return rotation(sealed, overlap), rotate(e)
		}
		if before != rotation(e.SealedSecret, overlap) {
			return "", fmt.Errorf("webhook endpoint %s: %w: this Idempotency-Key was given to a request "+
				"with another overlap, or the secret was changed again since: use a new one",
				id, failure.ErrConflict)
		}
		return "", nil
	}, act))
}

// rotate makes a sealed secret that of an endpoint.
func (r *Registry) rotate(e *Sealed, sealed []byte, now time.Time, overlap time.Duration) error {
	before, err := r.cfg.Master.Open(purpose(e.ID), e.SealedSecret)
	if err != nil {
		return fmt.Errorf("secret of webhook endpoint %s: %w", e.ID, err)
	}
	e.SealedSecret, e.SealedPrevious, e.PreviousUntil = sealed, nil, time.Time{}
	if overlap > 0 {
		e.PreviousUntil = now.Add(overlap)
		e.SealedPrevious, err = r.cfg.Master.Seal(previousPurpose(e.ID), before, r.cfg.Rand)
	}
	return err
}

// rotation is what a rotation is remembered by: the secret that it made, as it is stored, and what
// was asked for.
func rotation(sealed []byte, overlap time.Duration) string {
	return opaque.Hash(string(sealed) + overlap.String())
}

// Unseal is the endpoint with its secrets; Previous is empty when it does not sign at now any more.
// keyring.ErrWrongMasterKey.
func (r *Registry) Unseal(e Sealed, now time.Time) (Endpoint, error) {
	return Unseal(r.cfg.Master, e, now)
}

// Unseal is Registry.Unseal for those who have the master key.
func Unseal(master keyring.MasterKey, e Sealed, now time.Time) (Endpoint, error) {
	secret, err := master.Open(purpose(e.ID), e.SealedSecret)
	if err != nil {
		return Endpoint{}, fmt.Errorf("secret of webhook endpoint %s: %w", e.ID, err)
	}
	e.Secret = opaque.Secret(secret)
	if len(e.SealedPrevious) > 0 && now.Before(e.PreviousUntil) {
		previous, err := master.Open(previousPurpose(e.ID), e.SealedPrevious)
		if err != nil {
			return Endpoint{}, fmt.Errorf("previous secret of webhook endpoint %s: %w", e.ID, err)
		}
		e.Previous = opaque.Secret(previous)
	}
	return e.Endpoint, nil
}

func purpose(id string) string         { return "webhook_endpoints.secret " + id }
func previousPurpose(id string) string { return "webhook_endpoints.previous_secret " + id }

// Test sends an endpoint, and nobody else, an event of a type as it would look, with "test" in its
// data. ErrInvalid: there is no such type. ErrNotFound.
func (r *Registry) Test(ctx context.Context, id string, t audit.EventType) (Event, error) {
	if !slices.Contains(audit.EventTypes, t) {
		return Event{}, UnknownType(t)
	}
	return r.store.TellEndpoint(ctx, id, r.cfg.Log.Act(ctx, audit.EndpointTested, "", id, audit.Details{"type": t}))
}

// withoutRepeats is types in the order in which they are listed everywhere; never nil.
func withoutRepeats(types []audit.EventType) []audit.EventType {
	out := []audit.EventType{}
	for _, t := range audit.EventTypes {
		if slices.Contains(types, t) {
			out = append(out, t)
		}
	}
	return out
}

func checkTypes(types []audit.EventType) error {
	for _, t := range types {
		if !slices.Contains(audit.EventTypes, t) {
			return UnknownType(t)
		}
	}
	return nil
}
