package opaque

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const hidden = "[hidden]"

// Secret is a text that only its receiver may see: a token, a key, a password. It hides itself from
// logs, from formatted text and from JSON; Reveal is the only way to it. It is the one type of this
// kind in both programs.
type Secret string

// Reveal is the text itself, for the one place that hands it over.
func (s Secret) Reveal() string { return string(s) }

// String is "[hidden]".
func (Secret) String() string { return hidden }

// GoString is "[hidden]".
func (Secret) GoString() string { return hidden }

// Format writes "[hidden]" for every verb, also for those that do not ask String, such as %d.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue is "[hidden]".
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText is "[hidden]", in JSON too (not as the key of a map, which is never asked).
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// UnmarshalText takes the text as it is, in JSON too. It refuses what MarshalText wrote: whoever
// stores that and reads it back has lost the secret, and should hear of it.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == hidden {
		return errors.New("the secret was replaced by " + hidden + " when it was written: give the secret itself")
	}
	*s = Secret(text)
	return nil
}

// HideUserInfo keeps passwords out of messages that show an address: in a URL it hides what stands
// before the host and after the path, in other texts than sqlite:PATH all of one that could hold
// `password=…` or `user:password@host`.
func HideUserInfo(s string) string {
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		if !strings.HasPrefix(s, "sqlite:") && strings.ContainsAny(s, "=@") {
			return hidden
		}
		return s
	}
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = hidden + "@" + rest[i+1:]
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i] + "?" + hidden
	}
	return scheme + "://" + rest
}
