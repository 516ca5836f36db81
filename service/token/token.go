// Package token is the format of a license token, a signed JWT (RFC 7519) with fixed claims, and
// that of a lease, which says for a while and to anybody who has the public key that a license is
// good (lease.go).
//
// It decides what a well-formed, authentic and timely one is. Whether its holder may still use it
// (license over, token revoked) is decided in service/license; when a token is refreshed is decided
// in action/refresh.
//
// The wire form:
//
//	base64url({"alg":"HS256","typ":"JWT","kid":"k_…"}) . base64url(claims) . base64url(HMAC-SHA256)
//	base64url({"alg":"EdDSA","typ":"lease+jwt","kid":"k_…"}) . base64url(claims) . base64url(Ed25519)
//
// Rules of this package:
//   - The header is canonical: a key accepts exactly the one header that it writes itself, byte by byte. So there is no algorithm to
//     choose, no `crit`, no duplicate or unknown member, and `kid` is looked up, never interpreted (RFC 8725, 3.1 and 3.10).
//   - A license token is never a lease and a lease never a license token: the headers differ, and neither knows the other's keys (RFC 8725, 3.12).
//   - The members of the header keep the order alg, typ, kid: all tokens start alike, which is what secret scanners look for.
//   - Times are whole seconds.
package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxSize is the longest token, in bytes, that a KeySet accepts, and that Sign makes: an account
// with fifty features of the longest names fits.
const MaxSize = 6 << 10

// Leeway is how far in the future `iat` may lie, for replicas whose clocks differ.
const Leeway = 60 * time.Second

// Each way in which a token can be wrong. Errors of this package wrap exactly one of them, and
// never quote the token.
var (
	// ErrMalformed says that the text is not a JWT of our form.
	ErrMalformed = errors.New("not a license token")
	// ErrNotLease says that the text is not a lease of our form.
	ErrNotLease = errors.New("not a lease")
	// ErrTooLarge says that the text is longer than any token.
	ErrTooLarge = errors.New("token too large")
	// ErrAlgorithm says that the header names an algorithm that is not the key's, `none` included.
	ErrAlgorithm = errors.New("algorithm not allowed")
	// ErrUnknownKey says that no key of the set has the header's `kid`.
	ErrUnknownKey = errors.New("unknown signing key")
	// ErrSignature says that the signature is not the key's.
	ErrSignature = errors.New("wrong signature")
	// ErrClaims says that a claim is missing or has the wrong form.
	ErrClaims = errors.New("wrong claims")
	// ErrExpired says that `exp` is now or earlier.
	ErrExpired = errors.New("token expired")
	// ErrNotYetValid says that `iat` lies further in the future than Leeway.
	ErrNotYetValid = errors.New("token issued in the future")
)

// Claims are what a token says. Times are in UTC and whole seconds, but for ValidUntil, which has
// milliseconds.
type Claims struct {
	Subject    string    // account id
	Email      string    // address of the account
	Tier       string    // free, pro or team
	Features   []string  // never nil in what Sign writes and Parse returns
	ValidUntil time.Time // end of the license; zero where a foreign token does not say
	IssuedAt   time.Time // zero where a foreign token does not say
	ExpiresAt  time.Time // end of this token
	ID         string    // jti; empty in tokens of the vendor
	Issuer     string    // who issued it; empty in tokens of the vendor
}

// Lifetime is the time from issue to expiry; 0 where the token does not say when it was issued.
func (c Claims) Lifetime() time.Duration {
	if c.IssuedAt.IsZero() {
		return 0
	}
	return c.ExpiresAt.Sub(c.IssuedAt)
}

// validUntilLayout is how `valid_until` is written: 2027-03-12T00:00:00.000Z.
const validUntilLayout = "2006-01-02T15:04:05.000Z07:00"

// wire is the JSON of the claims, members in the order they are written in.
type wire struct {
	Subject    string   `json:"sub"`
	Email      string   `json:"email"`
	Tier       string   `json:"tier"`
	Features   []string `json:"features"`
	ValidUntil string   `json:"valid_until"`
	IssuedAt   *int64   `json:"iat"`
	ExpiresAt  *int64   `json:"exp"`
	ID         string   `json:"jti,omitempty"`
	Issuer     string   `json:"iss,omitempty"`
}

func encodeClaims(c Claims) ([]byte, error) {
	if c.Subject == "" || c.IssuedAt.IsZero() || !c.ExpiresAt.After(c.IssuedAt) {
		return nil, fmt.Errorf("%w: sub, iat and a later exp are needed", ErrClaims)
	}
	iat, exp := c.IssuedAt.Unix(), c.ExpiresAt.Unix()
	features := c.Features
	if features == nil {
		features = []string{}
	}
	w := wire{
		Subject: c.Subject, Email: c.Email, Tier: c.Tier, Features: features,
		ValidUntil: c.ValidUntil.UTC().Format(validUntilLayout), IssuedAt: &iat, ExpiresAt: &exp, ID: c.ID, Issuer: c.Issuer,
	}
	if _, err := w.claims(); err != nil { // no reader would take it
		return nil, err
	}
	if plain, ok := appendCanonical(nil, w); ok {
		return plain, nil
	}
	return encodeJSON(w)
}

// Payload is what a token that says the claims holds of them, not encoded. Equal claims give equal
// payloads. ErrClaims, as of Sign.
func Payload(c Claims) ([]byte, error) { return encodeClaims(c) }

// encodeJSON leaves the letters &, < and > as they are: they would take six bytes each, and no
// token stands in a page.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// decodeClaims reads the payload. Unknown claims are let through: the vendor may add some.
func decodeClaims(payload []byte) (Claims, error) {
	if w, ok := canonical(payload); ok {
		return w.claims()
	}
	return decodeAnyClaims(payload)
}

// decodeAnyClaims reads a payload of any form.
func decodeAnyClaims(payload []byte) (Claims, error) {
	if err := uniqueMembers(payload); err != nil {
		return Claims{}, fmt.Errorf("%w: payload: %w", ErrClaims, err)
	}
	var w wire
	if err := json.Unmarshal(payload, &w); err != nil {
		return Claims{}, fmt.Errorf("%w: payload: %s", ErrClaims, jsonFault(err))
	}
	return w.claims()
}

// claims is what the reader makes of a payload. ErrClaims says why it takes none.
func (w wire) claims() (Claims, error) {
	if w.Subject == "" {
		return Claims{}, fmt.Errorf("%w: sub is missing", ErrClaims)
	}
	if w.ExpiresAt == nil {
		return Claims{}, fmt.Errorf("%w: exp is missing", ErrClaims)
	}
	if err := w.printable(); err != nil {
		return Claims{}, err
	}
	c := Claims{
		Subject: w.Subject, Email: w.Email, Tier: w.Tier, Features: w.Features, ID: w.ID,
		Issuer: w.Issuer,
	}
	if c.Features == nil {
		c.Features = []string{}
	}
	var err error
	if c.ExpiresAt, err = unixTime("exp", w.ExpiresAt); err != nil {
		return Claims{}, err
	}
	if c.IssuedAt, err = unixTime("iat", w.IssuedAt); err != nil {
		return Claims{}, err
	}
	c.ValidUntil, err = calendarTime("valid_until", w.ValidUntil)
	return c, err
}

// unixTime reads seconds since 1970; zero when the claim is missing.
func unixTime(name string, seconds *int64) (time.Time, error) {
	if seconds == nil {
		return time.Time{}, nil
	}
	if *seconds <= 0 || *seconds > maxUnix {
		return time.Time{}, fmt.Errorf("%w: %s is not a time", ErrClaims, name)
	}
	return time.Unix(*seconds, 0).UTC(), nil
}

// calendarTime reads an RFC 3339 time; zero when the claim is missing or empty.
func calendarTime(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %s is not an RFC 3339 time", ErrClaims, name)
	}
	if at.Unix() <= 0 || at.Unix() > maxUnix {
		return time.Time{}, fmt.Errorf("%w: %s is not a time", ErrClaims, name)
	}
	return at.UTC(), nil
}

func (w wire) printable() error {
	return printable(w.Features, claim{"sub", w.Subject}, claim{"email", w.Email},
		claim{"tier", w.Tier}, claim{"jti", w.ID}, claim{"iss", w.Issuer})
}

// claim is a claim that is text.
type claim struct{ name, text string }

// printable refuses claims that could break out of where they are shown: a terminal, a log, a file
// of lines.
func printable(features []string, claims ...claim) error {
	for _, f := range features {
		if !isPrintable(f) {
			return claim{"features", f}.unprintable()
		}
	}
	for _, c := range claims {
		if !isPrintable(c.text) {
			return c.unprintable()
		}
	}
	return nil
}

func (c claim) unprintable() error {
	return fmt.Errorf("%w: %s holds a character that is not for text", ErrClaims, c.name)
}

// isPrintable says whether a text is UTF-8 without characters that cannot be seen.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
		}
	}
	return true
}

// maxUnix is 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
const maxUnix = 253402300799

// jsonFault says what is wrong with a JSON text without quoting values of it.
func jsonFault(err error) string {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		return fmt.Sprintf("%s is not a %s", strings.TrimPrefix(t.Field, "wire."), t.Type)
	}
	return "not a JSON object"
}
