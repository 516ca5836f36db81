package opaque

import "log/slog"

const hidden = "[hidden]"

// Secret is a text that only its receiver may see. It hides itself from logs, formatted text and
// JSON; Reveal is the only way to it.
type Secret string

// String is "[hidden]".
func (Secret) String() string { return hidden }

// GoString is "[hidden]".
func (Secret) GoString() string { return hidden }

// LogValue is "[hidden]".
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText is "[hidden]", in JSON too (not as the key of a map, which is never asked).
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Reveal is the text itself, for the one place that hands it over.
func (s Secret) Reveal() string { return string(s) }
