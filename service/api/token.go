package api

import "log/slog"

// String says that there is a token, and not which: an IssuedToken that is printed by mistake gives nothing away.
func (t IssuedToken) String() string {
	if t.Token == "" {
		return "no token"
	}
	return "a token"
}

// GoString is String.
func (t IssuedToken) GoString() string { return t.String() }

// LogValue holds the times and not the token.
func (t IssuedToken) LogValue() slog.Value {
	return slog.GroupValue(slog.Time("expires_at", t.ExpiresAt), slog.Time("refresh_after", t.RefreshAfter))
}
