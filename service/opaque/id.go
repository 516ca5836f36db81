package opaque

import (
	"encoding/base32"
	"fmt"
	"io"
	"strings"

	"github.com/pageflare/ci/service/failure"
)

// idAlphabet is the letters of ids; i, l, o and u, which are easily misread, are left out.
const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

const idBytes = 10 // of all names but TokenID: 16 letters

// Kind is what an id names; the id begins with it.
type Kind string

// The kinds of ids.
const (
	OfAccount     Kind = "user_"
	OfAPIToken    Kind = "at_"
	OfAdminToken  Kind = "adm_"
	OfPolicy      Kind = "pol_"
	OfKey         Kind = "k_"
	OfMachine     Kind = "mac_"
	OfDeviceLogin Kind = "dev_"
	OfSession     Kind = "ses_"
	OfEndpoint    Kind = "wh_" // a webhook endpoint that events are sent to
	OfEvent       Kind = "evt_"
	OfReplay      Kind = "rpl_" // events that are sent to an endpoint again
	OfRotation    Kind = "rot_"
)

// New generates an id of the kind.
func (k Kind) New(rand io.Reader) (string, error) {
	var random [idBytes]byte
	if _, err := io.ReadFull(rand, random[:]); err != nil {
		return "", fmt.Errorf("generate an id: %w", err)
	}
	return string(k) + idEncoding.EncodeToString(random[:]), nil
}

// Fits says whether a text could be an id of that kind; whether there is such a thing is not asked.
// What does not fit is better not repeated: it may be a secret in the wrong place.
func (k Kind) Fits(s string) bool {
	name, ok := strings.CutPrefix(s, string(k))
	return ok && len(name) == idEncoding.EncodedLen(idBytes) && hasIDLetters(name)
}

// CheckAfter refuses what a list of ids of the kind cannot continue after; empty: it begins.
// ErrInvalid.
func (k Kind) CheckAfter(after string) error {
	if after == "" || k.Fits(after) {
		return nil
	}
	return failure.Cursor(fmt.Sprintf("%.100q is not an id such as %s0123456789abcdef", after, string(k)))
}

func hasIDLetters(s string) bool {
	for i := range len(s) {
		if strings.IndexByte(idAlphabet, s[i]) < 0 {
			return false
		}
	}
	return true
}
