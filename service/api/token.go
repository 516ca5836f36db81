package api

import "log/slog"

// CappedBy is why a token lives shorter than the service would have let it. A later version may
// know other reasons.
type CappedBy string

// CappedByValidUntil says that the license ends.
const CappedByValidUntil CappedBy = "valid_until"

// String says that there is a token, and not which: an IssuedToken that is printed by mistake gives
// nothing away.
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
	return slog.GroupValue(slog.Time("expires_at", t.ExpiresAt.Time), slog.Time("refresh_after", t.RefreshAfter.Time))
}

// String says that there is a lease, and not which.
func (l Lease) String() string {
	if l.Lease == "" {
		return "no lease"
	}
	return "a lease"
}

// GoString is String.
func (l Lease) GoString() string { return l.String() }

// LogValue holds the times and not the lease.
func (l Lease) LogValue() slog.Value {
	return slog.GroupValue(slog.Time("grace_until", l.GraceUntil.Time), slog.Time("refresh_after", l.RefreshAfter.Time))
}
