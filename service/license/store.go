package license

import (
	"context"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/opaque"
)

// Store is what license tokens and leases need of a database. Every method that changes something
// has made it durable when it returns nil. Reads see all changes that were acknowledged before, by
// this process or another. Each method is one transaction; the acts that a method takes are lines
// that it adds to the audit log in that same transaction, unless nothing was changed.
type Store interface {
	// Account returns one account. ErrNotFound.
	Account(ctx context.Context, id string) (account.Account, error)
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error

	// RecordToken stores an issued token. Recording the same id again changes nothing. Nothing is
	// stored when its right has ended: keyring.ErrRetired, its key was retired; ErrTokenRevoked,
	// its parent or family was revoked; auth.ErrUnauthenticated, the API token or login that asked
	// for it was; auth.ErrNoPolicy, the policy was removed.
	RecordToken(ctx context.Context, t TokenRecord, act audit.Act) error
	// RecordedAt returns when a token was first recorded. ErrNotFound: it never was.
	RecordedAt(ctx context.Context, id opaque.TokenID) (time.Time, error)
	// Token returns one record. ErrNotFound.
	Token(ctx context.Context, id opaque.TokenID) (TokenRecord, error)
	// Tokens returns the records that are asked for, newest first.
	Tokens(ctx context.Context, q TokenQuery) ([]TokenRecord, error)
	// Revoke stores a revocation; one that exists keeps its first time.
	Revoke(ctx context.Context, r Revocation, act audit.Act) error

	// RecordLease stores the newest lease of a license token under a key; how long the longest one
	// lasts is stored too. Recording the same id again changes nothing. Nothing is stored when its
	// right has ended, as above: nobody lives on by a lease that was made after that.
	RecordLease(ctx context.Context, l LeaseRecord, act audit.Act) error

	// RecordExchange remembers the use of an identity, records its token, and notes that its
	// repository was used (JobStore.Repositories; nil: there is none); or, when the identity was
	// used before, changes nothing and returns that use. Uses of identities are forgotten some time
	// after their Until.
	RecordExchange(ctx context.Context, use IdentityUse, t TokenRecord, by *Repository,
		act audit.Act) (first IdentityUse, err error)
}
