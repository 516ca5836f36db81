// Package refresh decides when a license token is refreshed, and whether the token that came back
// may replace the old one.
//
// It is pure: it reads claims and a time, and does nothing. What a token says is service/token, how
// a fresh one is fetched is service/client, where it is stored is github/secret.
//
// Rules of this package:
//   - A token that expires later than refresh-before is kept, without a network call.
//   - An expired token is beyond refreshing: the License API answers it with 401. For Leeway after expiry a try is worth it all the
//     same, because the clock of this machine may be ahead of the API's.
//   - A token that ends with its license (exp is valid_until) is refreshed like any other. As long as the subscription is as it
//     was, the answer ends at the same second; that is not a fault. Once the subscription is renewed, the answer ends later, and
//     nothing but asking tells which it is.
package refresh

import (
	"fmt"
	"math"
	"time"

	"github.com/pageflare/ci/service/token"
)

// Leeway is how far the clock of this machine may be ahead.
const Leeway = 60 * time.Second

// Action is what to do with a token.
type Action int

// The actions. The zero Action is none of them.
const (
	Keep    Action = iota + 1 // use it as it is
	Refresh                   // ask for its successor
	Stop                      // it has expired, and no refresh helps
)

// String is keep, refresh or stop.
func (a Action) String() string {
	switch a {
	case Keep:
		return "keep"
	case Refresh:
		return "refresh"
	case Stop:
		return "stop"
	default:
		return "none"
	}
}

// Decision is what to do with a token, and why.
type Decision struct {
	Action    Action
	Reason    string        // for people: "expires in 2 days, on 2026-03-01 12:00 UTC; refresh-before is 7d"
	Remaining time.Duration // until expiry; below 0 after it
}

// Decide says what to do at now with a token that says claims.
func Decide(claims token.Claims, policy Policy, now time.Time) Decision {
	d := Decision{Remaining: claims.ExpiresAt.Sub(now)}
	switch {
	case d.Remaining < -Leeway:
		d.Action = Stop
		d.Reason = expired(claims, d.Remaining) + "; an expired token cannot be refreshed, issue a new one"
	case d.Remaining <= 0:
		d.Action = Refresh
		d.Reason = expired(claims, d.Remaining) + "; tried all the same, in case the clock of this machine is ahead"
	case d.Remaining > policy.window(claims.Lifetime()):
		d.Action = Keep
		d.Reason = expires(claims, d.Remaining) + "; " + explain(policy, claims.Lifetime())
	default:
		d.Action = Refresh
		d.Reason = expires(claims, d.Remaining) + "; " + explain(policy, claims.Lifetime()) + hopes(claims)
	}
	return d
}

// EndsWithLicense reports whether the token lives as long as its license: then no refresh gives it
// a later end, but a renewed subscription does.
func EndsWithLicense(claims token.Claims) bool {
	// exp has whole seconds, valid_until has milliseconds.
	return !claims.ValidUntil.IsZero() && !claims.ExpiresAt.Before(claims.ValidUntil.Truncate(time.Second))
}

func expires(c token.Claims, remaining time.Duration) string {
	return fmt.Sprintf("expires in %s, on %s", span(remaining), moment(c.ExpiresAt))
}

func expired(c token.Claims, remaining time.Duration) string {
	if remaining > -time.Second {
		return "expires just now, on " + moment(c.ExpiresAt)
	}
	// The longest negative duration, where time.Sub ends, has no positive twin.
	ago := -max(remaining, -math.MaxInt64)
	return fmt.Sprintf("expired %s ago, on %s", span(ago), moment(c.ExpiresAt))
}

// explain says what refresh-before means for a token of this lifetime.
func explain(p Policy, lifetime time.Duration) string {
	text := "refresh-before is " + p.String()
	switch {
	case p.percent != 0 && lifetime <= 0:
		return text + " of its lifetime, which it does not tell, so " + Policy{}.String()
	case p.percent != 0:
		return text + " of its lifetime, so " + span(p.window(lifetime))
	case lifetime > 0 && p.window(lifetime) >= lifetime:
		return text + ", longer than its lifetime of " + span(lifetime) + ", so every run refreshes it"
	default:
		return text
	}
}

// hopes says what a refresh cannot do.
func hopes(c token.Claims) string {
	if !EndsWithLicense(c) {
		return ""
	}
	return "; its license ends then too, and only a renewed subscription gives it a later end"
}

// moment is a time as people read it: 2026-03-01 12:00 UTC.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// span is a duration as people say it, in the largest unit of which there are two or more, rounded
// down.
func span(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{day, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}} {
		if d >= 2*unit.of {
			return fmt.Sprintf("%d %s", d/unit.of, unit.name)
		}
	}
	if d/time.Second == 1 {
		return "1 second"
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}
