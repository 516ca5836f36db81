// Package opaque is the texts of the service that mean nothing on their own: tokens that are not
// JWTs, ids, and the text that hides itself.
//
// It decides how they look and how they are made. What they are good for is decided in
// service/account and service/auth, how they are stored in service/store.
package opaque

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"strings"
)

// The wire form of the tokens that are not JWTs: a prefix that says what it is, 30 random letters
// or digits, and 6 that are the CRC-32 of those 30. The prefix is for people and secret scanners;
// the checksum tells a mistyped token from a revoked one without a look at the database. Only the
// SHA-256 of such a token is stored.
const (
	randomLetters = 30
	sumLetters    = 6
	base62        = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Prefix is what a token begins with, and so what it is.
type Prefix string

// The tokens of this service.
const (
	APIToken   Prefix = "pf_at_"
	AdminToken Prefix = "pf_adm_"
	LoginToken Prefix = "pf_lt_" // of a device login
	DeviceCode Prefix = "pf_dc_"
	SignInLink Prefix = "pf_sl_"
	Session    Prefix = "pf_ss_"
	SetupLink  Prefix = "pf_gs_" // by which an operator makes the GitHub App
)

// Fits tells a token with the prefix, good or revoked, from any other text.
func (p Prefix) Fits(s string) bool {
	body, ok := strings.CutPrefix(s, string(p))
	if !ok || len(body) != randomLetters+sumLetters {
		return false
	}
	return body[randomLetters:] == checksum(body[:randomLetters])
}

// New generates a token with the prefix.
func (p Prefix) New(rand io.Reader) (Secret, error) {
	letters := make([]byte, 0, randomLetters)
	for len(letters) < randomLetters {
		var b [1]byte
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return "", fmt.Errorf("generate a token %s…: %w", p, err)
		}
		if b[0] < 248 { // 4 * 62: without the rest, which would favour the first letters
			letters = append(letters, base62[b[0]%62])
		}
	}
	return Secret(string(p) + string(letters) + checksum(string(letters))), nil
}

func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	var out [sumLetters]byte
	for i := sumLetters - 1; i >= 0; i-- {
		out[i], n = base62[n%62], n/62
	}
	return string(out[:])
}

// Hash is what is stored of a token.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// secretForm is how tokens of this service, secrets of webhooks and JWTs look, also without letters at
// their end.
var secretForm = regexp.MustCompile(
	`pf_[a-z]{2,3}_[0-9A-Za-z]+|whsec_[0-9A-Za-z+/=]+|eyJ[0-9A-Za-z_-]{6,}(\.[0-9A-Za-z_-]*)*`)

// HideSecrets replaces what looks like a token in a text that may quote what somebody sent. It is
// the second line of defence: the author of such a text leaves out what can be a secret.
func HideSecrets(text string) string { return secretForm.ReplaceAllString(text, hidden) }
