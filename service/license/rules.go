package license

import (
	"errors"
	"time"
)

// The refusals. Each says no with authority: trying again later does not help, doing what the text
// says does.
var (
	// ErrTokenRevoked says that this token, or the family it descends from, was revoked.
	ErrTokenRevoked = errors.New("this token has been revoked: issue a new one and replace every stored copy")
	// ErrNoLeases says that this service gives no leases. It is no statement about the license.
	ErrNoLeases = errors.New("this service gives no leases: go by its answers alone")
)

// Expiry is the end of a token that is issued at iat: after ttl, but never after the license's own
// end. capped tells which it was.
func Expiry(iat time.Time, ttl time.Duration, validUntil time.Time) (exp time.Time, capped bool) {
	exp = iat.Add(ttl)
	if exp.After(validUntil) {
		return validUntil.Truncate(time.Second), true
	}
	return exp, false
}

// LeaseCap is what ends a lease earlier than the usual grace; empty when nothing does.
type LeaseCap string

// The caps. Grace reaches neither beyond the license nor beyond the token that asked: what ends
// anyway is not kept alive.
const (
	CapValidUntil LeaseCap = "valid_until"
	CapToken      LeaseCap = "token"
)

// GraceUntil is the end of a lease that is issued at iat: after the grace, but never after the
// license's own end, nor after the end of the license token that it is made for.
func GraceUntil(iat time.Time, grace time.Duration,
	validUntil, tokenExpiry time.Time) (end time.Time, by LeaseCap) {
	end, capped := Expiry(iat, grace.Truncate(time.Second), validUntil)
	if capped {
		by = CapValidUntil
	}
	if end.After(tokenExpiry) {
		end, by = tokenExpiry, CapToken
	}
	return end, by
}

// LeaseWindow is the time in which one license token gets one and the same lease: a minute, but
// never more than a sixth of the grace.
func LeaseWindow(grace time.Duration) time.Duration {
	return max(min(time.Minute, grace/6).Truncate(time.Second), time.Second)
}

// MaxWindow is the longest time in which refreshing one token gives one and the same answer.
const MaxWindow = 10 * time.Minute

// Window is the time in which refreshing one token gives one and the same answer: MaxWindow, but
// never more than a sixth of the lifetime of the token in hand or of the token that it is refreshed
// to, and at least a second.
func Window(parentLife, ttl time.Duration) time.Duration {
	w := min(MaxWindow, parentLife/6, ttl/6).Truncate(time.Second)
	return max(w, time.Second)
}

// Bucket is the `iat` of what a token is refreshed to at now: the start of the current window,
// counted from the token's own issue. Counted so, the refreshed token is never older than its
// parent, and the windows of different tokens do not all turn at the same moment.
func Bucket(parentIssued, now time.Time, window time.Duration) time.Time {
	if now.Before(parentIssued) {
		return parentIssued
	}
	return parentIssued.Add(now.Sub(parentIssued).Truncate(window))
}

// RefreshAfter is when a token is worth refreshing: two thirds into its lifetime.
func RefreshAfter(iat, exp time.Time) time.Time {
	return iat.Add(exp.Sub(iat) * 2 / 3).Truncate(time.Second)
}
