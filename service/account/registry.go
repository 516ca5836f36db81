package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// Store is what accounts need of a database. Every method that changes something has made it
// durable, its acts included, when it returns nil. An act without an account gets that of what it
// changes.
type Store interface {
	// CreateAccount stores a new account and its first API token. ErrConflict: an account has that
	// email.
	CreateAccount(ctx context.Context, a Account, t APIToken, acts ...audit.Act) error
	// Account returns one account. ErrNotFound.
	Account(ctx context.Context, id string) (Account, error)
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error
	// Accounts returns the accounts that are asked for, in the order of ids.
	Accounts(ctx context.Context, q Query) ([]Account, error)
	// ChangeAccount loads an account, lets change alter it, and stores it. An error of change is
	// returned and nothing is stored. An account that becomes Deleted loses its API tokens at the
	// time of the act, and its machines lose their labels. ErrNotFound, ErrConflict as above.
	ChangeAccount(ctx context.Context, id string, change func(*Account) error,
		act audit.Act) (Account, error)

	// AddAPIToken stores a new API token. ErrNotFound: no such account.
	AddAPIToken(ctx context.Context, t APIToken, act audit.Act) error
	// APIToken returns the token with that hash, revoked or not, and its account. ErrNotFound.
	APIToken(ctx context.Context, hash string) (APIToken, Account, error)
	// APITokens returns up to limit tokens of an account, oldest first, that come after the given
	// one ("" for the oldest). ErrInvalid: that is none of them.
	APITokens(ctx context.Context, account, after string, limit int) ([]APIToken, error)
	// RevokeAPIToken ends a token at the time of the act; one that has ended keeps its first time.
	// With issued, every family whose first token says that it was issued by this one is revoked
	// too, and the answer is how many were not before. ErrNotFound.
	RevokeAPIToken(ctx context.Context, id string, act audit.Act,
		issued *audit.Act) (families int64, err error)
}

// Config is what a Registry is made of. All fields must be set.
type Config struct {
	Store Store
	Log   *audit.Log
	Now   func() time.Time // in the resolution that is stored
	Rand  io.Reader        // cryptographic randomness
}

// Registry is the accounts of a database, and their API tokens.
type Registry struct {
	store Store
	log   *audit.Log
	now   func() time.Time
	rand  io.Reader
}

// NewRegistry returns the accounts of a database.
func NewRegistry(c Config) *Registry {
	return &Registry{store: c.Store, log: c.Log, now: c.Now, rand: c.Rand}
}

// NewAccount is what an account starts with.
type NewAccount struct {
	Email      string
	Tier       Tier
	Features   []string
	ValidUntil time.Time
}

// CreateAccount stores an active account and gives it a first API token, whose text is in the
// answer and nowhere else. A request that its sender named (opaque.WithRequest) makes one account,
// however often it is sent. Refusals: ErrInvalid for each faulty particular, ErrConflict when an
// account has that email.
func (r *Registry) CreateAccount(ctx context.Context,
	n NewAccount) (Account, opaque.Secret, error) {
	rand := opaque.RandOf(ctx, r.rand)
	id, err := opaque.OfAccount.New(rand)
	if err != nil {
		return Account{}, "", err
	}
	now := r.now()
	a := Account{
		ID: id, Email: NormalEmail(n.Email), Tier: n.Tier, Features: WithoutRepeats(n.Features),
		ValidUntil: n.ValidUntil.UTC().Truncate(time.Millisecond), Status: Active, CreatedAt: now,
	}
	if err := Check(a); err != nil {
		return Account{}, "", err
	}
	text, record, err := newAPIToken(a.ID, "first", now, rand)
	if err != nil {
		return Account{}, "", err
	}
	if err := r.store.CreateAccount(ctx, a, record,
		r.log.Act(ctx, audit.AccountCreated, a.ID, a.ID, terms(a)), r.log.Act(ctx,
			audit.APITokenCreated, a.ID, record.ID, nil)); err != nil {
		if there, fault := r.made(ctx, a, record); fault == nil && errors.Is(err, failure.ErrConflict) {
			return there, text, nil // this very request made it before
		}
		return Account{}, "", fmt.Errorf("account %s: %w", a.Email, err)
	}
	return a, text, nil
}

// made is an account that is there with its first API token, as it was made. ErrNotFound,
// ErrConflict.
func (r *Registry) made(ctx context.Context, a Account, first APIToken) (Account, error) {
	token, there, err := r.store.APIToken(ctx, first.Hash)
	if err == nil && (there.ID != a.ID || !there.sameTerms(a) || !token.RevokedAt.IsZero()) {
		err = failure.ErrConflict
	}
	return there, err
}

// sameTerms says whether two accounts were made of the same.
func (a Account) sameTerms(b Account) bool {
	return a.Email == b.Email && a.Tier == b.Tier && a.ValidUntil.Equal(b.ValidUntil) && slices.Equal(a.Features, b.Features)
}

// Account returns one account. ErrNotFound.
func (r *Registry) Account(ctx context.Context, id string) (Account, error) {
	return r.store.Account(ctx, id)
}

// Query is which accounts to list.
type Query struct {
	Email string // only the account of this address; "": all
	After string // only those whose id comes after this one
	Limit int
}

// Accounts returns the accounts that are asked for, in the order of ids. ErrInvalid: After is no
// id.
func (r *Registry) Accounts(ctx context.Context, q Query) ([]Account, error) {
	if err := opaque.OfAccount.CheckAfter(q.After); err != nil {
		return nil, err
	}
	q.Email = NormalEmail(q.Email)
	return r.store.Accounts(ctx, q)
}

// Change is what to change of an account; nil leaves a particular as it is.
type Change struct {
	Email      *string
	Tier       *Tier
	Features   *[]string
	ValidUntil *time.Time
}

// UpdateAccount changes particulars of an account; tokens refreshed from now on carry the new
// values. Refusals: ErrInvalid, ErrConflict, ErrNotFound, ErrRevoked for a deleted account.
func (r *Registry) UpdateAccount(ctx context.Context, id string, ch Change) (Account, error) {
	return r.change(ctx, id, audit.AccountUpdated, ch.details(), func(a *Account) error {
		if ch.Email != nil {
			a.Email = NormalEmail(*ch.Email)
		}
		if ch.Tier != nil {
			a.Tier = *ch.Tier
		}
		if ch.Features != nil {
			a.Features = WithoutRepeats(*ch.Features)
		}
		if ch.ValidUntil != nil {
			a.ValidUntil = ch.ValidUntil.UTC().Truncate(time.Millisecond)
		}
		return Check(*a)
	})
}

// SuspendAccount stops an account from getting tokens until it is restored.
func (r *Registry) SuspendAccount(ctx context.Context, id string) (Account, error) {
	return r.change(ctx, id, audit.AccountSuspended, nil,
		func(a *Account) error { a.Status = Suspended; return nil })
}

// RestoreAccount undoes SuspendAccount.
func (r *Registry) RestoreAccount(ctx context.Context, id string) (Account, error) {
	return r.change(ctx, id, audit.AccountRestored, nil,
		func(a *Account) error { a.Status = Active; return nil })
}

// DeleteAccount ends an account for good: its address is erased, its API tokens end, its license
// tokens are refused.
func (r *Registry) DeleteAccount(ctx context.Context, id string) (Account, error) {
	return r.change(ctx, id, audit.AccountDeleted, nil,
		func(a *Account) error { a.Status, a.Email = Deleted, ""; return nil })
}

func (r *Registry) change(ctx context.Context, id string, did audit.Action, details audit.Details,
	change func(*Account) error) (Account, error) {
	a, err := r.store.ChangeAccount(ctx, id, func(a *Account) error {
		if a.Status == Deleted {
			return ErrDeleted
		}
		return change(a)
	}, r.log.Act(ctx, did, id, id, details))
	if err != nil {
		return Account{}, fmt.Errorf("account %s: %w", id, err)
	}
	return a, nil
}

// terms are what an account may use, for the audit log: everything of it but the address.
func terms(a Account) audit.Details {
	return audit.Details{"tier": a.Tier, "features": a.Features, "valid_until": a.ValidUntil}
}

// details are what is changed, for the audit log: of the address only that it was.
func (ch Change) details() audit.Details {
	d := audit.Details{}
	if ch.Email != nil {
		d["email"] = "changed"
	}
	if ch.Tier != nil {
		d["tier"] = *ch.Tier
	}
	if ch.Features != nil {
		d["features"] = *ch.Features
	}
	if ch.ValidUntil != nil {
		d["valid_until"] = *ch.ValidUntil
	}
	return d
}
