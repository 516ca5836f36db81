package license

import (
	"context"
	"time"
)

// Store is what the rules need of a database. Every method that changes something has made it durable when it returns nil. Reads see all
// changes that were acknowledged before, by this process or another. Each method is one transaction.
type Store interface {
	// CreateAccount stores a new account and its first API token. ErrConflict: an account has that email.
	CreateAccount(ctx context.Context, a Account, t APIToken) error
	// Account returns one account. ErrNotFound.
	Account(ctx context.Context, id string) (Account, error)
	// Accounts returns up to limit accounts whose id comes after the given one, in the order of ids.
	Accounts(ctx context.Context, after string, limit int) ([]Account, error)
	// ChangeAccount loads an account, lets change alter it, and stores it. An error of change is returned and nothing is stored.
	// An account that becomes Deleted loses its API tokens. ErrNotFound, ErrConflict as above.
	ChangeAccount(ctx context.Context, id string, at time.Time, change func(*Account) error) (Account, error)

	// AddAPIToken stores a new API token. ErrNotFound: no such account.
	AddAPIToken(ctx context.Context, t APIToken) error
	// APIToken returns the token with that hash, revoked or not, and its account. ErrNotFound.
	APIToken(ctx context.Context, hash string) (APIToken, Account, error)
	// APITokens returns the tokens of an account, oldest first.
	APITokens(ctx context.Context, account string) ([]APIToken, error)
	// RevokeAPIToken ends a token; one that has ended keeps its first time. ErrNotFound.
	RevokeAPIToken(ctx context.Context, id string, at time.Time) error

	// Standing returns the account, and whether one of the subjects (token ids, families) was revoked. ErrNotFound: no such account.
	Standing(ctx context.Context, account string, subjects ...string) (a Account, revoked bool, err error)
	// RecordToken stores an issued token. Recording the same id again changes nothing.
	RecordToken(ctx context.Context, t TokenRecord) error
	// RecordedAt returns when a token was first recorded. ErrNotFound: it never was.
	RecordedAt(ctx context.Context, id TokenID) (time.Time, error)
	// Token returns one record. ErrNotFound.
	Token(ctx context.Context, id TokenID) (TokenRecord, error)
	// Tokens returns up to limit records of an account whose id comes before the given one ("" for the newest), newest first.
	Tokens(ctx context.Context, account string, before TokenID, limit int) ([]TokenRecord, error)
	// Revoke stores a revocation; one that exists keeps its first time.
	Revoke(ctx context.Context, r Revocation) error

	// RevokeIssuedBy revokes every family that an API token began, and returns how many were not revoked before.
	RevokeIssuedBy(ctx context.Context, apiToken string, at time.Time) (families int64, err error)

	// Keys returns all signing keys that are not retired, oldest first.
	Keys(ctx context.Context) ([]SealedKey, error)
	// AddKey stores a new signing key.
	AddKey(ctx context.Context, k SealedKey) error
	// RetireKey removes a signing key for good. ErrNotFound.
	RetireKey(ctx context.Context, id string, at time.Time) error
	// LiveTokens counts the recorded tokens of a key that expire after now.
	LiveTokens(ctx context.Context, key string, now time.Time) (int64, error)
}
