package opaque

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
)

// A request that its sender named may be sent again, because its answer was lost, and must not do
// twice what it does. What it makes gets its ids and its secrets from the name: the second try makes
// the very same, and the database knows that it is there already.

type requestKey struct{}

// WithRequest returns ctx for a request that its sender named. of is what tells it from all others,
// the credential that it was sent with included; nobody without the key can foresee what it makes.
func WithRequest(ctx context.Context, key []byte, of ...string) context.Context {
	mac := hmac.New(sha256.New, key)
	for _, part := range of {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return context.WithValue(ctx, requestKey{}, mac.Sum(nil))
}

// RequestName is what a request that its sender named is remembered by; false for all others.
func RequestName(ctx context.Context) (string, bool) {
	seed, ok := ctx.Value(requestKey{}).([]byte)
	if !ok {
		return "", false
	}
	name := sha256.Sum256(append([]byte("name\x00"), seed...)) // which tells nothing of the seed
	return hex.EncodeToString(name[:]), true
}

// RandOf is where an act gets its ids and secrets from: the same each time for a request that its
// sender named, else rand. An act asks once. It is for what is stored for good: under the name of
// what was forgotten the same would be made again.
func RandOf(ctx context.Context, rand io.Reader) io.Reader {
	seed, ok := ctx.Value(requestKey{}).([]byte)
	if !ok {
		return rand
	}
	return &derived{seed: seed}
}

// derived is bytes that nobody can foresee without the seed: HMACs of a counter.
type derived struct {
	seed  []byte
	count uint64
	rest  []byte
}

func (d *derived) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		mac := hmac.New(sha256.New, d.seed)
		mac.Write(binary.BigEndian.AppendUint64(nil, d.count))
		d.count++
		d.rest = mac.Sum(nil)
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}
