package license

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"strings"
)

// The wire form of the tokens that are not JWTs: a prefix that says what it is, 30 random letters or digits, and 6 that are the CRC-32 of
// those 30. The prefix is for people and secret scanners, the checksum tells a mistyped token from a revoked one without a look at the
// database. Only the SHA-256 of such a token is kept.
const (
	randomLetters = 30
	sumLetters    = 6
	base62        = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// isOpaque tells a token with the prefix, good or revoked, from any other text.
func isOpaque(prefix, s string) bool {
	body, ok := strings.CutPrefix(s, prefix)
	if !ok || len(body) != randomLetters+sumLetters {
		return false
	}
	return body[randomLetters:] == checksum(body[:randomLetters])
}

// secretForm is how tokens of this service and JWTs look, also those that lack letters at their end.
var secretForm = regexp.MustCompile(`pf_[a-z]{2,3}_[0-9A-Za-z]+|eyJ[0-9A-Za-z_-]{6,}(\.[0-9A-Za-z_-]*)*`)

// HideSecrets replaces what looks like a token in a text that may quote what somebody sent. It is the second line: whoever makes such a text
// leaves out what can be a secret.
func HideSecrets(text string) string { return secretForm.ReplaceAllString(text, "[hidden]") }

// drawOpaque makes a new token with the prefix.
func drawOpaque(prefix string, rand io.Reader) (Secret, error) {
	letters := make([]byte, 0, randomLetters)
	for len(letters) < randomLetters {
		var b [1]byte
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return "", fmt.Errorf("draw a token %s…: %w", prefix, err)
		}
		if b[0] < 248 { // 4 * 62: without the rest, which would favour the first letters
			letters = append(letters, base62[b[0]%62])
		}
	}
	return Secret(prefix + string(letters) + checksum(string(letters))), nil
}

func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	var out [sumLetters]byte
	for i := sumLetters - 1; i >= 0; i-- {
		out[i], n = base62[n%62], n/62
	}
	return string(out[:])
}

// hashOpaque is what is kept of a token.
func hashOpaque(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
