package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxStored is the longest value, in bytes, that a GitHub secret holds (48 KB).
const MaxStored = 48 << 10

// signed are the algorithms a foreign token may name: those that sign. `none` is none of them.
var signed = map[string]bool{
	"HS256": true, "HS384": true, "HS512": true, "RS256": true, "RS384": true, "RS512": true,
	"PS256": true, "PS384": true, "PS512": true, "ES256": true, "ES384": true, "ES512": true, "EdDSA": true,
}

// Decode reads a token without its key, for a holder that wants to know what it holds: ours or the
// vendor's. The signature is NOT checked, so nothing may be granted on the result. Errors are
// ErrTooLarge, ErrMalformed, ErrAlgorithm or ErrClaims.
func Decode(raw string) (Claims, error) {
	if len(raw) >= MaxStored {
		return Claims{}, ErrTooLarge
	}
	parts, err := split(raw)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	h, err := decodeHeader(parts[0])
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !signed[h.Algorithm] {
		return Claims{}, ErrAlgorithm
	}
	body, err := decodeSegment(parts[1])
	if err != nil {
		return Claims{}, fmt.Errorf("%w: payload is not base64url", ErrMalformed)
	}
	if mac, err := decodeSegment(parts[2]); err != nil || len(mac) == 0 {
		return Claims{}, fmt.Errorf("%w: signature is missing or not base64url", ErrMalformed)
	}
	return decodeClaims(body)
}

var (
	errNotObject = errors.New("not a JSON object")
	errTwice     = errors.New("a member is there twice")
)

// uniqueMembers refuses what is not one JSON object, and an object that names a member twice:
// readers would differ on which one counts.
func uniqueMembers(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errNotObject
	}
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return errNotObject
		}
		// encoding/json matches names without regard to case, so "ALG" would be a second "alg", and
		// "\u017fub" a second "sub"
		key := strings.ToLower(strings.ToUpper(name.(string)))
		if seen[key] {
			return errTwice
		}
		seen[key] = true
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return errNotObject
		}
	}
	if _, err := dec.Token(); err != nil {
		return errNotObject
	}
	if dec.More() {
		return errNotObject
	}
	return nil
}
