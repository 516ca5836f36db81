package oidc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json" // refuses repeated members and tells upper from lower case, unlike encoding/json
	"github.com/go-json-experiment/json/jsontext"
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

// jwtHeader is what matters of that of an identity token.
type jwtHeader struct {
	Algorithm string  `json:"alg"`
	Type      *string `json:"typ"`
	KeyID     string  `json:"kid"`

	// what nothing good comes of: a key, an address of one, and what changes how the rest is read
	Critical    jsontext.Value `json:"crit"`
	KeySetURL   jsontext.Value `json:"jku"`
	Key         jsontext.Value `json:"jwk"`
	ChainURL    jsontext.Value `json:"x5u"`
	Chain       jsontext.Value `json:"x5c"`
	Encoded     jsontext.Value `json:"b64"`
	Compression jsontext.Value `json:"zip"`
	Encryption  jsontext.Value `json:"enc"`
}

// checkHeader returns the `kid` of a header that has nothing in it to be afraid of: no other
// algorithm, no key, no address of a key, and nothing that would change how the rest is read.
func checkHeader(raw []byte) (string, error) {
	var h jwtHeader
	if err := json.Unmarshal(raw, &h); err != nil {
		return "", fmt.Errorf("%w: its header is not one JSON object without repeated members",
			ErrMalformed)
	}
	for _, c := range []struct {
		name  string
		value jsontext.Value
	}{
		{"crit", h.Critical}, {"jku", h.KeySetURL}, {"jwk", h.Key}, {"x5u", h.ChainURL}, {"x5c", h.Chain}, {"b64", h.Encoded}, {"zip", h.Compression},
		{"enc", h.Encryption},
	} {
		if c.value != nil {
			return "", fmt.Errorf("%w: its header has %s", ErrMalformed, c.name)
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

// readTime reads seconds since 1970; nil: the claim is missing.
func readTime(name string, seconds *int64) (time.Time, error) {
	if seconds == nil {
		return time.Time{}, fmt.Errorf("%w: %s is missing", ErrClaims, name)
	}
	if *seconds <= 0 || *seconds > maxUnix {
		return time.Time{}, notATime(name)
	}
	return time.Unix(*seconds, 0).UTC(), nil
}

func notATime(name string) error {
	return fmt.Errorf("%w: %s is not a time in whole seconds", ErrClaims, name)
}

// readAudience reads one text or a list of texts (RFC 7519, 4.1.3).
func readAudience(raw jsontext.Value) ([]string, error) {
	var list []*string
	switch raw.Kind() {
	case jsontext.KindInvalid:
		return nil, fmt.Errorf("%w: aud is missing", ErrClaims)
	case jsontext.KindString:
		raw = slices.Concat(jsontext.Value("["), raw, jsontext.Value("]"))
	}
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 || slices.Contains(list, nil) {
		return nil, fmt.Errorf("%w: aud is neither text nor a list of texts", ErrClaims)
	}
	out := make([]string, 0, len(list))
	for _, s := range list {
		if err := noControls("aud", *s); err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return out, nil
}

var decimal = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// claims are what matters of those of an identity token. What is null counts as missing.
type claims struct {
	Issuer         *string        `json:"iss"`
	Subject        *string        `json:"sub"`
	ID             *string        `json:"jti"`
	RepositoryID   *string        `json:"repository_id"`
	OwnerID        *string        `json:"repository_owner_id"`
	Event          *string        `json:"event_name"`
	Ref            *string        `json:"ref"`
	Environment    *string        `json:"environment"`
	JobWorkflowRef *string        `json:"job_workflow_ref"`
	Visibility     *string        `json:"repository_visibility"`
	Repository     *string        `json:"repository"`
	RunID          *string        `json:"run_id"`
	RunAttempt     *string        `json:"run_attempt"`
	Audience       jsontext.Value `json:"aud"`
	ExpiresAt      *int64         `json:"exp"`
	IssuedAt       *int64         `json:"iat"`
	NotBefore      *int64         `json:"nbf"`
}

// ParseClaims reads the claims of an identity token, a JSON object. They may say anything: only
// Verify knows whether they are true. ErrClaims names one that is missing or has the wrong form, and
// does not quote it.
func ParseClaims(payload []byte) (Identity, error) {
	if len(payload) > MaxSize {
		return Identity{}, ErrTooLarge
	}
	var says claims
	if err := json.Unmarshal(payload, &says); err != nil {
		return Identity{}, claimFault(err)
	}
	var id Identity
	for _, c := range []struct {
		name   string
		text   *string
		to     *string
		needed bool
	}{
		{"iss", says.Issuer, &id.Issuer, true},
		{"sub", says.Subject, &id.Subject, true},
		{"jti", says.ID, &id.ID, true},
		{"repository_id", says.RepositoryID, &id.RepositoryID, true},
		{"repository_owner_id", says.OwnerID, &id.OwnerID, true},
		{"event_name", says.Event, &id.Event, true},
		{"ref", says.Ref, &id.Ref, false},
		{"environment", says.Environment, &id.Environment, false},
		{"job_workflow_ref", says.JobWorkflowRef, &id.JobWorkflowRef, false},
		{"repository_visibility", says.Visibility, &id.Visibility, false},
		{"repository", says.Repository, &id.Repository, false},
		{"run_id", says.RunID, &id.RunID, false},
		{"run_attempt", says.RunAttempt, &id.RunAttempt, false},
	} {
		if c.text != nil {
			*c.to = *c.text
		}
		if c.needed && *c.to == "" {
			return Identity{}, fmt.Errorf("%w: %s is missing", ErrClaims, c.name)
		}
		if err := noControls(c.name, *c.to); err != nil {
			return Identity{}, err
		}
	}
	var err error
	if id.Audience, err = readAudience(says.Audience); err != nil {
		return Identity{}, err
	}
	for _, c := range []struct {
		name    string
		seconds *int64
		to      *time.Time
	}{{"exp", says.ExpiresAt, &id.ExpiresAt}, {"iat", says.IssuedAt, &id.IssuedAt}, {"nbf", says.NotBefore, &id.NotBefore}} {
		if *c.to, err = readTime(c.name, c.seconds); err != nil {
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

// claimFault names the claim that has another type than it must.
func claimFault(err error) error {
	wrong, ok := errors.AsType[*json.SemanticError](err)
	if !ok || wrong.JSONPointer == "" {
		return fmt.Errorf("%w: not one JSON object without repeated members", ErrClaims)
	}
	switch name := wrong.JSONPointer.LastToken(); name {
	case "exp", "iat", "nbf":
		return notATime(name)
	default:
		return fmt.Errorf("%w: %s is not text", ErrClaims, name)
	}
}
