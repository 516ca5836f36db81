package secret

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const hidden = "[hidden]"

// A Token is a credential for the GitHub API. It hides itself whenever it is printed, logged or encoded;
// string(token) gives the text.
type Token string

// String gives a placeholder.
func (t Token) String() string { return hidden }

// Format writes the placeholder for every verb, %x and %d included.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue gives the placeholder to slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText gives the placeholder to JSON and other encoders.
func (t Token) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Check refuses what cannot travel in a header. Nothing is said about length or form: GitHub changes those.
func (t Token) Check() error {
	if t == "" {
		return errors.New("github-token: empty; give a fine-grained token that may write secrets")
	}
	if strings.ContainsFunc(string(t), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("github-token: has a space, a line break or another character that no token has; paste it again")
	}
	return nil
}
