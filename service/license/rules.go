package license

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/service/failure"
)

// The refusals. Each says no with authority: trying again later does not help, doing what the text says does.
var (
	// ErrUnauthenticated says that the caller showed no credential, or none that is good.
	ErrUnauthenticated = errors.New("missing or invalid token")
	// ErrExpired says that the license is over: valid_until has passed.
	ErrExpired = errors.New("the license has expired: renew it, then try again")
	// ErrInactive says that the account is suspended.
	ErrInactive = errors.New("the account is suspended: ask the people who run this License service to restore it")
	// ErrRevoked says that the account was deleted, and its license with it.
	ErrRevoked = errors.New("the license has been revoked: ask the people who run this License service for a new one")
	// ErrTokenRevoked says that this token, or the family it descends from, was revoked.
	ErrTokenRevoked = errors.New("this token has been revoked: issue a new one and replace every stored copy")
	// ErrScope says that an admin token may not do this; the error that wraps it says what it lacks.
	ErrScope = errors.New("insufficient scope")
	// ErrNoLeases says that this service gives no leases. It is no statement about the license.
	ErrNoLeases = errors.New("this service gives no leases: go by its answers alone")
)

// ErrDeleted is ErrRevoked for those who run the service: there is nobody whom they could ask.
var ErrDeleted error = deleted{}

type deleted struct{}

func (deleted) Error() string { return "it was deleted, for good: make a new one" }

func (deleted) Is(target error) bool { return target == ErrRevoked }

// MayHoldToken says whether an account may get, keep and refresh license tokens at now: nil, ErrRevoked, ErrInactive or ErrExpired.
func MayHoldToken(a Account, now time.Time) error {
	switch {
	case a.Status == Deleted:
		return ErrRevoked
	case a.Status != Active:
		return ErrInactive
	case !now.Before(a.ValidUntil):
		return ErrExpired
	}
	return nil
}

// Expiry is the end of a token that is issued at iat: after ttl, but never after the license's own end. capped tells which it was.
func Expiry(iat time.Time, ttl time.Duration, validUntil time.Time) (exp time.Time, capped bool) {
	exp = iat.Add(ttl)
	if exp.After(validUntil) {
		return validUntil.Truncate(time.Second), true
	}
	return exp, false
}

// LeaseCap is what ends a lease earlier than the usual grace; empty when nothing does.
type LeaseCap string

// The caps. Grace reaches neither beyond the license nor beyond the token that asked: what ends anyway is not kept alive.
const (
	CapValidUntil LeaseCap = "valid_until"
	CapToken      LeaseCap = "token"
)

// GraceUntil is the end of a lease that is issued at iat: after the grace, but never after the license's own end, nor after the end of the license
// token that it is made for.
func GraceUntil(iat time.Time, grace time.Duration, validUntil, tokenExpiry time.Time) (end time.Time, by LeaseCap) {
	end, capped := Expiry(iat, grace.Truncate(time.Second), validUntil)
	if capped {
		by = CapValidUntil
	}
	if end.After(tokenExpiry) {
		end, by = tokenExpiry, CapToken
	}
	return end, by
}

// LeaseWindow is the time in which one license token gets one and the same lease: a minute, but never more than a sixth of the grace.
func LeaseWindow(grace time.Duration) time.Duration {
	return max(min(time.Minute, grace/6).Truncate(time.Second), time.Second)
}

// MaxWindow is the longest time in which refreshing one token gives one and the same answer.
const MaxWindow = 10 * time.Minute

// Window is the time in which refreshing one token gives one and the same answer: MaxWindow, but never more than a sixth of the life of
// the token in hand or of the token that it is refreshed to, and at least a second.
func Window(parentLife, ttl time.Duration) time.Duration {
	w := min(MaxWindow, parentLife/6, ttl/6).Truncate(time.Second)
	return max(w, time.Second)
}

// Bucket is the `iat` of what a token is refreshed to at now: the start of the current window, counted from the token's own issue. Counted
// so, the refreshed token is never older than its parent, and the windows of different tokens do not all turn at the same moment.
func Bucket(parentIssued, now time.Time, window time.Duration) time.Time {
	if now.Before(parentIssued) {
		return parentIssued
	}
	return parentIssued.Add(now.Sub(parentIssued).Truncate(window))
}

// RefreshAfter is when a token is worth refreshing: two thirds into its life.
func RefreshAfter(iat, exp time.Time) time.Time {
	return iat.Add(exp.Sub(iat) * 2 / 3).Truncate(time.Second)
}

const (
	maxEmail    = 254 // RFC 5321, 4.5.3.1.3
	maxFeatures = 50
)

var featureName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// CheckAccount returns every fault of an account's particulars, joined; each wraps ErrInvalid.
func CheckAccount(a Account) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{failure.ErrInvalid}, args...)...))
	}
	if at, err := mail.ParseAddress(a.Email); err != nil || at.Address != a.Email || len(a.Email) > maxEmail {
		fault("email %q is not an address such as dev@example.com", a.Email)
	}
	if !slices.Contains([]Tier{Free, Pro, Team}, a.Tier) {
		fault("tier %q is not free, pro or team", a.Tier)
	}
	if len(a.Features) > maxFeatures {
		fault("%d features are more than %d", len(a.Features), maxFeatures)
	}
	for _, f := range a.Features {
		if !featureName.MatchString(f) {
			fault("feature %q is not a name such as critical_css", f)
		}
	}
	if a.ValidUntil.IsZero() || a.ValidUntil.Year() > 9999 {
		fault("valid-until is missing: give a date such as 2027-03-12")
	}
	return errors.Join(faults...)
}

// normalEmail is how addresses are kept, so that one person is one account.
func normalEmail(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
