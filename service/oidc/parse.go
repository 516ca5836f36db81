package oidc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4/json" // refuses repeated members and tells upper from lower case, unlike encoding/json
)

// parsed is a token that has the right form. Nothing of it is proven.
type parsed struct {
	keyID    string
	identity Identity
}

// parse reads a token. ErrTooLarge, ErrMalformed, ErrAlgorithm or ErrClaims.
func parse(raw string) (parsed, error) {
	header, payload, err := split(raw)
	if err != nil {
		return parsed{}, err
	}
	keyID, err := checkHeader(header)
	if err != nil {
		return parsed{}, err
	}
	identity, err := ParseClaims(payload)
	return parsed{keyID, identity}, err
}

// split decodes header and claims of a compact JWS (RFC 7515, 3.1).
func split(raw string) (header, payload []byte, err error) {
	if len(raw) > MaxSize {
		return nil, nil, ErrTooLarge
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, nil, fmt.Errorf("%w: a JWT has three parts, separated by dots", ErrMalformed)
	}
	for i, name := range []string{"header", "claims", "signature"} {
		b, err := decodeSegment(parts[i])
		if err != nil {
			return nil, nil,
				fmt.Errorf("%w: its %s is missing or not base64url", ErrMalformed, name)
		}
		switch i {
		case 0:
			header = b
		case 1:
			payload = b
		}
	}
	return header, payload, nil
}

// decodeSegment reads base64url without padding, unused bits or line breaks, so that each value has
// exactly one text.
func decodeSegment(s string) ([]byte, error) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// hs256 is how the header {"alg":"HS256" begins in base64url: that of every license token of ours,
// so that most need no second look.
const hs256 = "eyJhbGciOiJIUzI1NiI"

// LooksLikeIdentity tells a JWT that another key than ours must have signed from a license token.
// It proves nothing.
func LooksLikeIdentity(raw string) bool {
	if strings.HasPrefix(raw, hs256) {
		return false
	}
	header, _, err := split(raw)
	if err != nil {
		return false
	}
	var h struct {
		Algorithm string `json:"alg"`
	}
	return json.Unmarshal(header, &h) == nil && h.Algorithm != "HS256"
}

// checkHeader returns the `kid` of a header that has nothing in it to be afraid of: no other
// algorithm, no key, no address of a key, and nothing that would change how the rest is read.
func checkHeader(raw []byte) (string, error) {
	var h struct {
		Algorithm string  `json:"alg"`
		Type      *string `json:"typ"`
		KeyID     string  `json:"kid"`
	}
	m := members{}
	if err := errors.Join(json.Unmarshal(raw, &m), json.Unmarshal(raw, &h)); err != nil {
		return "", fmt.Errorf("%w: its header is not one JSON object without repeated members",
			ErrMalformed)
	}
	for _, name := range []string{"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"} {
		if _, there := m[name]; there {
			return "", fmt.Errorf("%w: its header has %s", ErrMalformed, name)
		}
	}
	if h.Algorithm != "RS256" {
		return "", fmt.Errorf("%w: only RS256 is", ErrAlgorithm)
	}
	if h.Type != nil && !strings.EqualFold(*h.Type, "JWT") {
		return "", fmt.Errorf("%w: its typ is not JWT", ErrMalformed)
	}
	if h.KeyID == "" || len(h.KeyID) > 200 {
		return "", fmt.Errorf("%w: its header has no kid", ErrMalformed)
	}
	return h.KeyID, nil
}

// members are those of a JSON object, still encoded.
type members map[string]json.RawMessage

// text is the claim of that name; nil when there is none. The error does not quote it.
func (m members) text(name string) (*string, error) {
	var s *string
	if raw, there := m[name]; !there {
		return nil, nil
	} else if json.Unmarshal(raw, &s) != nil {
		return nil, fmt.Errorf("%w: %s is not text", ErrClaims, name)
	}
	if s != nil {
		return s, noControls(name, *s)
	}
	return nil, nil
}

// noControls refuses a claim that would give orders to a terminal. All other characters are
// somebody's name: branches and environments may hold joiners, as in Persian or in emoji, and
// letters that are newer than this program.
func noControls(name, s string) error {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%w: %s holds a character that is not for text", ErrClaims, name)
	}
	return nil
}

// maxUnix is 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
const maxUnix = 253402300799

// time is the claim of that name, seconds since 1970.
func (m members) time(name string) (time.Time, error) {
	var n *int64
	raw, there := m[name]
	if !there {
		return time.Time{}, fmt.Errorf("%w: %s is missing", ErrClaims, name)
	}
	if json.Unmarshal(raw, &n) != nil || n == nil || *n <= 0 || *n > maxUnix {
		return time.Time{}, fmt.Errorf("%w: %s is not a time in whole seconds", ErrClaims, name)
	}
	return time.Unix(*n, 0).UTC(), nil
}

// audience is one text or a list of texts (RFC 7519, 4.1.3).
func (m members) audience() ([]string, error) {
	raw, there := m["aud"]
	if !there {
		return nil, fmt.Errorf("%w: aud is missing", ErrClaims)
	}
	var one *string
	if json.Unmarshal(raw, &one) == nil && one != nil {
		return []string{*one}, noControls("aud", *one)
	}
	var several []*string
	if json.Unmarshal(raw, &several) != nil || len(several) == 0 {
		return nil, fmt.Errorf("%w: aud is neither text nor a list of texts", ErrClaims)
	}
	list := make([]string, 0, len(several))
	for _, s := range several {
		if s == nil {
			return nil, fmt.Errorf("%w: aud is neither text nor a list of texts", ErrClaims)
		}
		if err := noControls("aud", *s); err != nil {
			return nil, err
		}
		list = append(list, *s)
	}
	return list, nil
}

var decimal = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// ParseClaims reads the claims of an identity token, a JSON object. They may say anything: only
// Verify knows whether they are true. ErrClaims names the first that is missing or has the wrong
// form.
func ParseClaims(payload []byte) (Identity, error) {
	if len(payload) > MaxSize {
		return Identity{}, ErrTooLarge
	}
	m := members{}
	if err := json.Unmarshal(payload, &m); err != nil {
		return Identity{}, fmt.Errorf("%w: not one JSON object without repeated members", ErrClaims)
	}
	var id Identity
	for _, c := range []struct {
		name   string
		to     *string
		needed bool
	}{
		{"iss", &id.Issuer, true},
		{"sub", &id.Subject, true},
		{"jti", &id.ID, true},
		{"repository_id", &id.RepositoryID, true},
		{"repository_owner_id", &id.OwnerID, true},
		{"event_name", &id.Event, true},
		{"ref", &id.Ref, false},
		{"environment", &id.Environment, false},
		{"job_workflow_ref", &id.JobWorkflowRef, false},
		{"repository_visibility", &id.Visibility, false},
		{"repository", &id.Repository, false},
		{"run_id", &id.RunID, false},
		{"run_attempt", &id.RunAttempt, false},
	} {
		text, err := m.text(c.name)
		switch {
		case err != nil:
			return Identity{}, err
		case text != nil && (*text != "" || !c.needed):
			*c.to = *text
		case c.needed:
			return Identity{}, fmt.Errorf("%w: %s is missing", ErrClaims, c.name)
		}
	}
	var err error
	if id.Audience, err = m.audience(); err != nil {
		return Identity{}, err
	}
	for _, c := range []struct {
		name string
		to   *time.Time
	}{{"exp", &id.ExpiresAt}, {"iat", &id.IssuedAt}, {"nbf", &id.NotBefore}} {
		if *c.to, err = m.time(c.name); err != nil {
			return Identity{}, err
		}
	}
	switch {
	case !decimal.MatchString(id.RepositoryID):
		return Identity{}, fmt.Errorf("%w: repository_id is not a number", ErrClaims)
	case !decimal.MatchString(id.OwnerID):
		return Identity{}, fmt.Errorf("%w: repository_owner_id is not a number", ErrClaims)
	}
	return id, nil
}
