package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"
)

// hs256 signs and verifies with one key by HS256 (RFC 7518, 3.2: HMAC with SHA-256). A key is hashed
// once and not for each token. Several goroutines may use it.
type hs256 struct {
	id     string
	header string // the one that the key writes and accepts, encoded
	macs   sync.Pool
}

// keyedHash is a hash that has taken the key in, and room for what it is given and gives.
type keyedHash struct {
	hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

func newHS256(k Key) *hs256 {
	return &hs256{id: k.ID, header: k.header(), macs: sync.Pool{New: func() any {
		return &keyedHash{Hash: hmac.New(sha256.New, k.Secret)}
	}}}
}

func (s *hs256) get() *keyedHash {
	h, ok := s.macs.Get().(*keyedHash)
	if !ok {
		panic("token: a pool of something else")
	}
	h.Reset()
	h.text = h.text[:0]
	return h
}

// sign returns header.payload.signature.
func (s *hs256) sign(payload []byte) string {
	h := s.get()
	defer s.macs.Put(h)
	h.text = append(append(h.text, s.header...), '.')
	h.text = base64.RawURLEncoding.AppendEncode(h.text, payload)
	h.Write(h.text)
	h.text = append(h.text, '.')
	return string(base64.RawURLEncoding.AppendEncode(h.text, h.Sum(h.sum[:0])))
}

// verify tells whether a signature is that of the key, in constant time.
func (s *hs256) verify(signed string, signature []byte) bool {
	h := s.get()
	defer s.macs.Put(h)
	h.text = append(h.text, signed...)
	h.Write(h.text)
	return hmac.Equal(h.Sum(h.sum[:0]), signature)
}
