package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// Lease is what a lease says: that a license was good at IssuedAt, and until when its holder may go
// by that while the License service cannot be asked. It bridges a service that does not answer and
// nothing else: an answer of no ends it. Times are in UTC and whole seconds, but for ValidUntil,
// which has milliseconds.
type Lease struct {
	Issuer     string   // public URL of the service
	Subject    string   // account id
	ID         string   // jti of the lease
	LicenseID  string   // license_jti: the jti of the license token that it was made for
	Tier       string   // free, pro or team
	Features   []string // never nil in what Sign writes and Parse returns
	ValidUntil time.Time
	IssuedAt   time.Time
	GraceUntil time.Time // grace_until and exp: the end of this lease, never after ValidUntil
}

// LeaseKey is one Ed25519 key that signs leases. It hides its secret from logs and formatted text.
type LeaseKey struct {
	id      string
	private ed25519.PrivateKey
}

// NewLeaseKey makes the key of a seed (RFC 8032, 5.1.5: 32 random bytes). ErrWeakKey.
func NewLeaseKey(id string, seed []byte) (LeaseKey, error) {
	if !keyID().MatchString(id) {
		return LeaseKey{}, fmt.Errorf("%w: its id must be 1 to 64 of A-Z a-z 0-9 _ -", ErrWeakKey)
	}
	if len(seed) != ed25519.SeedSize {
		return LeaseKey{},
			fmt.Errorf("%w: %s has %d bytes, needs %d", ErrWeakKey, id, len(seed), ed25519.SeedSize)
	}
	return LeaseKey{id, ed25519.NewKeyFromSeed(seed)}, nil
}

// ID is its kid.
func (k LeaseKey) ID() string { return k.id }

// String is the id alone.
func (k LeaseKey) String() string { return "lease key " + k.id }

// GoString is the id alone.
func (k LeaseKey) GoString() string { return k.String() }

// LogValue is the id alone.
func (k LeaseKey) LogValue() slog.Value { return slog.StringValue(k.id) }

// Public is what verifies the leases of the key.
func (k LeaseKey) Public() PublicKey {
	return PublicKey{k.id, k.private.Public().(ed25519.PublicKey)}
}

// Sign returns the lease that says this. Equal leases give the equal text. ErrClaims says what is
// missing or contradicts itself.
func (k LeaseKey) Sign(l Lease) (string, error) {
	payload, err := encodeLease(l)
	if err != nil {
		return "", err
	}
	text := k.Public().header() + "." + base64.RawURLEncoding.EncodeToString(payload)
	return bounded(text + "." +
		base64.RawURLEncoding.EncodeToString(ed25519.Sign(k.private, []byte(text))))
}

// PublicKey verifies leases. It is no secret.
type PublicKey struct {
	ID  string // kid: 1 to 64 of A-Z a-z 0-9 _ -
	Key ed25519.PublicKey
}

// header is the one header that the key writes and accepts, encoded.
func (k PublicKey) header() string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","typ":"lease+jwt","kid":"` +
		k.ID + `"}`))
}

func (k PublicKey) verify(signed string, signature []byte) bool {
	return ed25519.Verify(k.Key, []byte(signed), signature)
}

// LeaseKeys accepts the leases of several keys. It is immutable and safe for use by several
// goroutines.
type LeaseKeys struct {
	byHeader map[string]PublicKey // encoded header -> key
}

// NewLeaseKeys returns a set that accepts the leases of the keys. ErrWeakKey names the first
// unusable one.
func NewLeaseKeys(keys ...PublicKey) (*LeaseKeys, error) {
	s := &LeaseKeys{byHeader: map[string]PublicKey{}}
	for _, k := range keys {
		if !keyID().MatchString(k.ID) {
			return nil, fmt.Errorf("%w: its id must be 1 to 64 of A-Z a-z 0-9 _ -", ErrWeakKey)
		}
		if len(k.Key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: %s has %d bytes, needs %d", ErrWeakKey, k.ID, len(k.Key),
				ed25519.PublicKeySize)
		}
		if _, twice := s.byHeader[k.header()]; twice {
			return nil, fmt.Errorf("%w: %s is there twice", ErrWeakKey, k.ID)
		}
		s.byHeader[k.header()] = k
	}
	return s, nil
}

// ParseJWKS reads the keys that a License service publishes at /.well-known/jwks.json (RFC 7517;
// RFC 8037):
//
//	{"keys":[{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"k_…","x":"…"}]}
//
// Keys of another kind are passed over. ErrWeakKey: the text is no such document, or one of the
// keys is damaged.
func ParseJWKS(raw []byte) (*LeaseKeys, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := unmarshalOnce(raw, &document); err != nil || document.Keys == nil {
		return nil, fmt.Errorf("%w: not a JSON Web Key Set", ErrWeakKey)
	}
	var keys []PublicKey
	for _, member := range document.Keys {
		var k struct {
			Type      string `json:"kty"`
			Curve     string `json:"crv"`
			Use       string `json:"use"`
			Algorithm string `json:"alg"`
			ID        string `json:"kid"`
			X         string `json:"x"`
		}
		if err := unmarshalOnce(member, &k); err != nil {
			return nil, fmt.Errorf("%w: a key of the set cannot be read", ErrWeakKey)
		}
		if k.Type != "OKP" || k.Curve != "Ed25519" || k.Use != "sig" || k.Algorithm != "EdDSA" {
			continue
		}
		x, err := decodeSegment(k.X)
		if err != nil {
			return nil, fmt.Errorf("%w: x of a key is not base64url", ErrWeakKey)
		}
		keys = append(keys, PublicKey{k.ID, x})
	}
	return NewLeaseKeys(keys...)
}

// unmarshalOnce reads a JSON object in which no member is there twice.
func unmarshalOnce(raw []byte, v any) error {
	if err := uniqueMembers(raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}

// Parse returns what a lease says that one of the keys signed, that the issuer issued, and that has
// not ended at now. The error is one of this package's sentinels. Nothing of the payload is read
// before the signature is checked. Whether the lease is the holder's own, by its Subject and
// LicenseID, is for the caller to see.
func (s *LeaseKeys) Parse(raw, issuer string, now time.Time) (Lease, error) {
	payload, err := verified(raw, ErrNotLease, func(header string) (verifier, error) {
		key, ok := s.byHeader[header]
		if !ok {
			return nil, explainHeader(header, "EdDSA", ErrNotLease, s.has)
		}
		return key.verify, nil
	})
	if err != nil {
		return Lease{}, err
	}
	l, err := decodeLease(payload)
	switch {
	case err != nil:
		return Lease{}, err
	case l.Issuer != issuer:
		return Lease{}, fmt.Errorf("%w: iss is another service", ErrClaims)
	case !now.Before(l.GraceUntil):
		return Lease{}, ErrExpired
	case l.IssuedAt.After(now.Add(Leeway)): // also when the clock here was set back
		return Lease{}, ErrNotYetValid
	}
	return l, nil
}

func (s *LeaseKeys) has(id string) bool {
	_, ok := s.byHeader[PublicKey{ID: id}.header()]
	return ok
}

// leaseWire is the JSON of a lease, members in the order they are written in.
type leaseWire struct {
	Issuer     string   `json:"iss"`
	Subject    string   `json:"sub"`
	ID         string   `json:"jti"`
	LicenseID  string   `json:"license_jti"`
	Tier       string   `json:"tier"`
	Features   []string `json:"features"`
	ValidUntil string   `json:"valid_until"`
	GraceUntil string   `json:"grace_until"`
	IssuedAt   *int64   `json:"iat"`
	ExpiresAt  *int64   `json:"exp"`
}

func encodeLease(l Lease) ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	iat, exp := l.IssuedAt.Unix(), l.GraceUntil.Unix()
	features := l.Features
	if features == nil {
		features = []string{}
	}
	w := leaseWire{
		Issuer: l.Issuer, Subject: l.Subject, ID: l.ID, LicenseID: l.LicenseID, Tier: l.Tier, Features: features,
		ValidUntil: l.ValidUntil.UTC().Format(validUntilLayout), GraceUntil: time.Unix(exp,
			0).UTC().Format(validUntilLayout), IssuedAt: &iat, ExpiresAt: &exp,
	}
	if _, err := w.lease(); err != nil { // no reader would take it
		return nil, err
	}
	return encodeJSON(w)
}

// check refuses a lease that lacks something or reaches beyond its license.
func (l Lease) check() error {
	if l.Issuer == "" || l.Subject == "" || l.ID == "" || l.LicenseID == "" || l.Tier == "" {
		return fmt.Errorf("%w: iss, sub, jti, license_jti and tier are needed", ErrClaims)
	}
	if l.IssuedAt.IsZero() || !l.GraceUntil.After(l.IssuedAt) {
		return fmt.Errorf("%w: iat and a later grace_until are needed", ErrClaims)
	}
	if l.GraceUntil.After(l.ValidUntil) {
		return fmt.Errorf("%w: grace_until lies after valid_until", ErrClaims)
	}
	return nil
}

// decodeLease reads the payload. Unknown claims are let through: a later version may add some.
func decodeLease(payload []byte) (Lease, error) {
	if err := uniqueMembers(payload); err != nil {
		return Lease{}, fmt.Errorf("%w: payload: %w", ErrClaims, err)
	}
	var w leaseWire
	if err := json.Unmarshal(payload, &w); err != nil {
		return Lease{}, fmt.Errorf("%w: payload: %s", ErrClaims, jsonFault(err))
	}
	return w.lease()
}

// lease is what the reader makes of a payload. ErrClaims says why it takes none.
func (w leaseWire) lease() (Lease, error) {
	if err := w.printable(); err != nil {
		return Lease{}, err
	}
	l := Lease{
		Issuer: w.Issuer, Subject: w.Subject, ID: w.ID, LicenseID: w.LicenseID, Tier: w.Tier,
		Features: w.Features,
	}
	if l.Features == nil {
		l.Features = []string{}
	}
	exp, err := unixTime("exp", w.ExpiresAt)
	if err != nil {
		return Lease{}, err
	}
	if l.IssuedAt, err = unixTime("iat", w.IssuedAt); err != nil {
		return Lease{}, err
	}
	if l.ValidUntil, err = calendarTime("valid_until", w.ValidUntil); err != nil {
		return Lease{}, err
	}
	if l.GraceUntil, err = calendarTime("grace_until", w.GraceUntil); err != nil {
		return Lease{}, err
	}
	if !exp.Equal(l.GraceUntil) { // readers that know JWTs and readers that know leases must see one end
		return Lease{}, fmt.Errorf("%w: exp is not grace_until", ErrClaims)
	}
	return l, l.check()
}

func (w leaseWire) printable() error {
	return printable(w.Features, claim{"iss", w.Issuer}, claim{"sub", w.Subject},
		claim{"jti", w.ID}, claim{"license_jti", w.LicenseID}, claim{"tier", w.Tier})
}
