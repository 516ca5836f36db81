package in

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"

	"github.com/pageflare/ci/service/opaque"
)

// ErrSignature says that a request does not prove that it comes from GitHub.
var ErrSignature = errors.New("no good signature")

var signatureForm = regexp.MustCompile(`\Asha256=[0-9a-f]{64}\z`)

// ParseSignature reads the header of a signature, which is there exactly once:
//
//	X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17
//
// The older X-Hub-Signature counts for nothing: it is SHA-1. ErrSignature.
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func ParseSignature(headers []string) (sum []byte, err error) {
	if len(headers) != 1 || !signatureForm.MatchString(headers[0]) {
		return nil, ErrSignature
	}
	return hex.DecodeString(headers[0][len("sha256="):])
}

// Verify tells which of the secrets signed a body; all are tried, in constant time. ErrSignature. An
// empty secret signs nothing.
func Verify(secrets []opaque.Secret, sum, body []byte) (which int, err error) {
	which = -1
	for i, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret.Reveal()))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), sum) && secret != "" && which < 0 {
			which = i
		}
	}
	if which < 0 {
		return which, ErrSignature
	}
	return which, nil
}
