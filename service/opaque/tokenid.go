package opaque

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/pageflare/ci/service/failure"
)

// TokenID is the `jti` of a license token: 40 letters and digits that hold 8 of its issue time, 16
// of its family and 16 of its own.
//
// The time comes first so that records are stored in the order they are made; the family is in the
// text so that a revoked family can be recognised without looking the token up.
type TokenID string

const (
	timeLetters   = 8
	familyLetters = 16
	idLetters     = 40
)

// Family is what a token shares with all tokens that descend from the same first one; empty for a
// text that is no TokenID.
func (id TokenID) Family() string {
	if len(id) != idLetters || !hasIDLetters(string(id)) {
		return ""
	}
	return string(id[timeLetters : timeLetters+familyLetters])
}

// IssuedAt is the time in the id, in whole seconds; false for a text that is no TokenID.
func (id TokenID) IssuedAt() (time.Time, bool) {
	if id.Family() == "" {
		return time.Time{}, false
	}
	var seconds [8]byte
	if _, err := idEncoding.Decode(seconds[3:], []byte(id[:timeLetters])); err != nil {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(seconds[:])), 0).UTC(), true
}

// CheckBefore refuses what a list of tokens cannot continue after; empty: it begins. ErrInvalid.
func (id TokenID) CheckBefore() error {
	if id == "" || id.Family() != "" {
		return nil
	}
	return failure.Cursor("this is not a jti (40 letters and digits): give the last one of the page before")
}

// byIdentity is the first letter of families that began with the identity of a job. Such a token
// lives as long as a job and no longer: it can be refreshed, but what it is refreshed to ends when
// it does.
const byIdentity = 'z'

// ByIdentity says whether the token's family began with the identity of a job.
func (id TokenID) ByIdentity() bool { return len(id) == idLetters && id[timeLetters] == byIdentity }

// DeriveExchangedID names a token that is given for an identity: a new family, and the same name
// for the same content.
func DeriveExchangedID(issued time.Time, content, key []byte) TokenID {
	mac := hmac.New(sha256.New, key)
	mac.Write(content)
	sum := mac.Sum(nil)
	return joinTokenID(issued, string(byIdentity)+idEncoding.EncodeToString(sum[:10])[1:],
		sum[10:20])
}

// NewTokenID names a token: a new family of its own when family is empty.
func NewTokenID(issued time.Time, family string, rand io.Reader) (TokenID, error) {
	var random [20]byte
	if _, err := io.ReadFull(rand, random[:]); err != nil {
		return "", fmt.Errorf("generate a token id: %w", err)
	}
	if family == "" {
		random[0] &^= 0x80 // the first letter is none of the last half, and so never byIdentity
		family = idEncoding.EncodeToString(random[:10])
	}
	return joinTokenID(issued, family, random[10:]), nil
}

// DeriveTokenID names what a token is refreshed to. The same parent and the same content give the
// same name, on every replica, and nobody without the key can foresee it.
func DeriveTokenID(issued time.Time, parent TokenID, content, key []byte) TokenID {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(parent))
	mac.Write([]byte{0})
	mac.Write(content)
	return joinTokenID(issued, parent.Family(), mac.Sum(nil)[:10])
}

// DeriveLeaseID names a lease by its content: the same content gives the same name, on every
// replica.
func DeriveLeaseID(content, key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("lease\x00"))
	mac.Write(content)
	return "ls_" + idEncoding.EncodeToString(mac.Sum(nil)[:10])
}

func joinTokenID(issued time.Time, family string, own []byte) TokenID {
	var seconds [8]byte
	binary.BigEndian.PutUint64(seconds[:], uint64(issued.Unix()))
	return TokenID(idEncoding.EncodeToString(seconds[3:]) + family + idEncoding.EncodeToString(own))
}
