package opaque

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"sync"
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

// A Deriver names tokens and leases by what they follow from and what they say. The same in gives
// the same name, on every replica, and nobody without the key can foresee it. Several goroutines
// may use it.
type Deriver struct{ macs sync.Pool }

// derivation is a keyed hash, ready to begin, and room for its sum.
type derivation struct {
	hash.Hash
	sum [sha256.Size]byte
}

// NewDeriver returns what names by a key.
func NewDeriver(key []byte) *Deriver {
	key = bytes.Clone(key)
	return &Deriver{sync.Pool{New: func() any { return &derivation{Hash: hmac.New(sha256.New, key)} }}}
}

func (d *Deriver) of(parts ...[]byte) (sum [sha256.Size]byte) {
	mac, ok := d.macs.Get().(*derivation)
	if !ok {
		panic("opaque: a pool of something else")
	}
	defer d.macs.Put(mac)
	mac.Reset()
	for _, p := range parts {
		mac.Write(p)
	}
	copy(sum[:], mac.Sum(mac.sum[:0]))
	return sum
}

// TokenID names what a token is refreshed to, by its parent and its content.
func (d *Deriver) TokenID(issued time.Time, parent TokenID, content []byte) TokenID {
	sum := d.of([]byte(parent), []byte{0}, content)
	return joinTokenID(issued, parent.Family(), sum[:10])
}

// ExchangedID names a token that is given for an identity: a new family.
func (d *Deriver) ExchangedID(issued time.Time, content []byte) TokenID {
	sum := d.of(content)
	return joinTokenID(issued, string(byIdentity)+idEncoding.EncodeToString(sum[:10])[1:], sum[10:20])
}

// LeaseID names a lease by its content.
func (d *Deriver) LeaseID(content []byte) string {
	sum := d.of([]byte("lease\x00"), content)
	return "ls_" + idEncoding.EncodeToString(sum[:10])
}

func joinTokenID(issued time.Time, family string, own []byte) TokenID {
	var seconds [8]byte
	binary.BigEndian.PutUint64(seconds[:], uint64(issued.Unix()))
	return TokenID(idEncoding.EncodeToString(seconds[3:]) + family + idEncoding.EncodeToString(own))
}
