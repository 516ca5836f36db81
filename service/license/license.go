// Package license holds the rules of the License service: who may have a license token, for how long, and when that ends.
//
// It decides whether something is allowed and does it: load -> rule -> sign -> store, with the rules apart in rules.go. What a
// token looks like is decided in service/token, how it is stored in service/store, how a refusal looks on the wire in service/server.
package license

import (
	"time"

	"github.com/pageflare/ci/service/opaque"
)

// Tier is what an account has paid for.
type Tier string

// The tiers of the License API.
const (
	Free Tier = "free"
	Pro  Tier = "pro"
	Team Tier = "team"
)

// Status is the standing of an account.
type Status string

// The standings. Suspended can be undone, deleted can not.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
	Deleted   Status = "deleted"
)

// Account is a customer with the license that it holds. Times are UTC with milliseconds.
type Account struct {
	ID         string // "user_" and 16 letters or digits
	Email      string // unique, lower case; empty once deleted
	Tier       Tier
	Features   []string // never nil
	ValidUntil time.Time
	Status     Status
	CreatedAt  time.Time
}

// APIToken is the record of an API token: what an account's people and programs call the License API with. Its text is not kept.
type APIToken struct {
	ID        string // "at_" and 16 letters or digits
	AccountID string
	Name      string
	Hash      string // SHA-256 of the text, hexadecimal
	CreatedAt time.Time
	RevokedAt time.Time // zero while it is good
}

// TokenRecord is the record of an issued license token. Its text is not kept.
type TokenRecord struct {
	ID        opaque.TokenID
	AccountID string
	Parent    opaque.TokenID // the token it was made from; empty for the first of a family
	IssuedBy  string         // id of the API token, the device login or the trust policy that it was issued by; empty otherwise
	KeyID     string
	IssuedAt  time.Time // its iat
	ExpiresAt time.Time // its exp
	Recorded  time.Time // when it was first handed out: up to two windows after its iat
	Revoked   bool      // itself or its family; only read, see Store.Revoke
}

// Status is what the token is worth at now: live, expired or revoked.
func (t TokenRecord) Status(now time.Time) string {
	switch {
	case t.Revoked:
		return "revoked"
	case !now.Before(t.ExpiresAt):
		return "expired"
	}
	return "live"
}

// LeaseRecord is the record of the newest lease that a license token got under one key.
type LeaseRecord struct {
	ID        string
	TokenID   opaque.TokenID
	AccountID string
	KeyID     string
	IssuedAt  time.Time
	ExpiresAt time.Time // its grace_until
}

// Revocation ends a token or a whole family before its time.
type Revocation struct {
	Subject   string // a TokenID or a family
	AccountID string
	At        time.Time
}

// Issued is the answer to Issue and Refresh.
type Issued struct {
	Token        opaque.Secret
	ID           opaque.TokenID
	ExpiresAt    time.Time
	RefreshAfter time.Time // when two thirds of its life are over
	Capped       bool      // ExpiresAt is the end of the license, not the usual life of a token
}
