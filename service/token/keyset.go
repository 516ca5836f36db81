package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

// MinKeySize is the least number of bytes of a key (RFC 7518, 3.2: at least as long as the hash).
const MinKeySize = 32

// ErrWeakKey says that a key has too few bytes, or an id that cannot stand in a header.
var ErrWeakKey = errors.New("unusable signing key")

// Key is one HS256 key. It hides its secret from logs and formatted text.
type Key struct {
	ID     string // kid: 1 to 64 of A-Z a-z 0-9 _ -
	Secret []byte // at least MinKeySize random bytes
}

// keyID is compiled when first asked for: the Action links this package, and never asks.
var keyID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`) })

// String is the id alone.
func (k Key) String() string { return "key " + k.ID }

// GoString is the id alone.
func (k Key) GoString() string { return k.String() }

// LogValue is the id alone.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID) }

// header is the one header that the key writes and accepts, encoded.
func (k Key) header() string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT","kid":"` + k.ID +
		`"}`))
}

// KeySet signs with one key and accepts the tokens of several, so that keys can be changed without
// a rejected token. It is immutable and safe for use by several goroutines.
type KeySet struct {
	signing  *hs256
	byHeader map[string]*hs256
}

// NewKeySet returns a set that signs with the first key and accepts the tokens of them all.
// ErrWeakKey names the first unusable one.
func NewKeySet(signing Key, others ...Key) (*KeySet, error) {
	s := &KeySet{byHeader: map[string]*hs256{}}
	for _, k := range append([]Key{signing}, others...) {
		if !keyID().MatchString(k.ID) {
			return nil, fmt.Errorf("%w: its id must be 1 to 64 of A-Z a-z 0-9 _ -", ErrWeakKey)
		}
		if len(k.Secret) < MinKeySize {
			return nil, fmt.Errorf("%w: %s has %d bytes, needs %d", ErrWeakKey, k.ID, len(k.Secret),
				MinKeySize)
		}
		if _, twice := s.byHeader[k.header()]; twice {
			return nil, fmt.Errorf("%w: %s is there twice", ErrWeakKey, k.ID)
		}
		s.byHeader[k.header()] = newHS256(k)
	}
	s.signing = s.byHeader[signing.header()]
	return s, nil
}

// SigningKey is the id of the key that Sign uses.
func (s *KeySet) SigningKey() string { return s.signing.id }

// By is the same set signing with another of its keys; nil and false when it has no key of that id.
func (s *KeySet) By(id string) (*KeySet, bool) {
	key, ok := s.byHeader[Key{ID: id}.header()]
	if !ok {
		return nil, false
	}
	return &KeySet{signing: key, byHeader: s.byHeader}, true
}

// Sign returns the token that says the claims. Equal claims give the equal token. What Parse would
// not read is not signed: ErrClaims says what is wrong with them, ErrTooLarge that they are too
// long.
func (s *KeySet) Sign(c Claims) (string, error) {
	payload, err := encodeClaims(c)
	if err != nil {
		return "", err
	}
	return bounded(s.signing.sign(payload))
}

// bounded refuses a token that readers refuse for its length.
func bounded(text string) (string, error) {
	if len(text) > MaxSize {
		return "", ErrTooLarge
	}
	return text, nil
}

// Parse returns the claims of a token that one of the keys signed and that is valid at now. The
// error is one of this package's sentinels. Nothing of the payload is read before the signature is
// checked.
func (s *KeySet) Parse(raw string, now time.Time) (Claims, error) {
	payload, err := verified(raw, ErrMalformed, func(header string) (verifier, error) {
		key, ok := s.byHeader[header]
		if !ok {
			return nil, s.explainHeader(header)
		}
		return key.verify, nil
	})
	if err != nil {
		return Claims{}, err
	}
	c, err := decodeClaims(payload)
	if err != nil {
		return Claims{}, err
	}
	return c, checkTimes(c, now)
}

// verifier tells whether a signature is that of one key.
type verifier func(signed string, signature []byte) bool

// verified returns the payload of a JWT when its signature is that of the key that find returns for
// its header. What is not even of the form wraps the sentinel none.
func verified(raw string, none error, find func(header string) (verifier, error)) ([]byte, error) {
	if len(raw) > MaxSize {
		return nil, ErrTooLarge
	}
	parts, err := split(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", none, err)
	}
	verify, err := find(parts[0])
	if err != nil {
		return nil, err
	}
	signature, err := decodeSegment(parts[2])
	if err != nil {
		return nil, fmt.Errorf("%w: signature is not base64url", none)
	}
	if !verify(raw[:len(raw)-len(parts[2])-1], signature) {
		return nil, ErrSignature
	}
	payload, err := decodeSegment(parts[1])
	if err != nil {
		return nil, fmt.Errorf("%w: payload is not base64url", none)
	}
	return payload, nil
}

func checkTimes(c Claims, now time.Time) error {
	if c.IssuedAt.IsZero() {
		return fmt.Errorf("%w: iat is missing", ErrClaims)
	}
	if c.ID == "" {
		return fmt.Errorf("%w: jti is missing", ErrClaims)
	}
	if !now.Before(c.ExpiresAt) {
		return ErrExpired
	}
	if c.IssuedAt.After(now.Add(Leeway)) {
		return ErrNotYetValid
	}
	return nil
}

// explainHeader says why no key has this header.
func (s *KeySet) explainHeader(encoded string) error {
	return explainHeader(encoded, "HS256", ErrMalformed, func(id string) bool {
		for _, k := range s.byHeader {
			if k.id == id {
				return true
			}
		}
		return false
	})
}

// explainHeader says why a header is none that a key with that algorithm writes.
func explainHeader(encoded, algorithm string, none error, known func(id string) bool) error {
	h, err := decodeHeader(encoded)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", none, err)
	case h.Algorithm != algorithm:
		return ErrAlgorithm
	case known(h.KeyID):
		return fmt.Errorf("%w: header is not in its canonical form", none)
	}
	return ErrUnknownKey
}

// header is what Decode and error texts need of a header.
type header struct {
	Algorithm string          `json:"alg"`
	Type      string          `json:"typ"`
	KeyID     string          `json:"kid"`
	Critical  json.RawMessage `json:"crit"`
}

func decodeHeader(encoded string) (header, error) {
	var h header
	raw, err := decodeSegment(encoded)
	if err != nil {
		return h, errors.New("header is not base64url")
	}
	if err := uniqueMembers(raw); err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, fmt.Errorf("header: %s", jsonFault(err))
	}
	if h.Critical != nil {
		return h, errors.New("header has crit")
	}
	return h, nil
}

// split returns the header, the claims and the signature, all still encoded.
func split(raw string) ([3]string, error) {
	header, rest, ok := strings.Cut(raw, ".")
	body, mac, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(mac, ".") {
		return [3]string{}, errors.New("a JWT has three parts, separated by dots")
	}
	return [3]string{header, body, mac}, nil
}

// decodeSegment reads one part of a token: base64url without padding, no unused bits, and none of
// the line breaks that the standard decoder skips, so that each value has exactly one text.
func decodeSegment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
