// Package license holds the rules of the License service: who may have a license token, for how
// long, and when that ends.
//
// It decides whether something is allowed and does it: load -> rule -> sign -> store, with the
// rules apart in rules.go. What a token looks like is decided in service/token, how it is stored in
// service/store, how a refusal looks on the wire in service/server.
package license

import (
	"crypto/sha256"
	"time"

	"github.com/pageflare/ci/service/opaque"
)

// TokenRecord is the record of an issued license token. Its text is not stored.
type TokenRecord struct {
	ID        opaque.TokenID
	AccountID string
	Parent    opaque.TokenID // the token it was made from; empty for the first of a family
	IssuedBy  string         // id of the API token, the device login or the trust policy that it was issued by; empty otherwise
	KeyID     string
	IssuedAt  time.Time         // its iat
	ExpiresAt time.Time         // its exp
	Recorded  time.Time         // when it was first handed out: up to two windows after its iat
	Hash      [sha256.Size]byte // SHA-256 of the token
	AsOf      int64             // the state of rights (service/rights) by which it may be given; 0: the store looks itself; not read
	Revoked   bool              // itself or its family; only read, see Store.Revoke
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
	AsOf      int64     // as of a TokenRecord
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
	RefreshAfter time.Time // when two thirds of its lifetime are over
	Capped       bool      // ExpiresAt is the end of the license, not the usual lifetime of a token
}
