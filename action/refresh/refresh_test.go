package refresh_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pageflare/ci/action/refresh"
	"github.com/pageflare/ci/service/token"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// lives is the claims of a token that was issued lifetime before its expiry, which is at noon.
func lives(lifetime time.Duration) token.Claims {
	return token.Claims{Subject: "user_a", IssuedAt: noon.Add(-lifetime), ExpiresAt: noon, ValidUntil: noon.AddDate(1, 0, 0)}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	year := lives(365 * day)
	capped := year
	capped.ValidUntil = noon
	ageless := token.Claims{Subject: "user_a", ExpiresAt: noon}
	tests := map[string]struct {
		claims token.Claims
		policy string
		before time.Duration // how long before expiry it is now
		want   refresh.Action
		reason string
	}{
		"a young token is kept": {year, "7d", 200 * day, refresh.Keep,
			"expires in 200 days, on 2026-03-01 12:00 UTC; refresh-before is 7d"},
		"a moment more than refresh-before is kept": {year, "7d", 7*day + 1, refresh.Keep,
			"expires in 7 days, on 2026-03-01 12:00 UTC; refresh-before is 7d"},
		"exactly refresh-before is refreshed": {year, "7d", 7 * day, refresh.Refresh,
			"expires in 7 days, on 2026-03-01 12:00 UTC; refresh-before is 7d"},
		"near expiry is refreshed": {year, "7d", 2 * day, refresh.Refresh,
			"expires in 2 days, on 2026-03-01 12:00 UTC; refresh-before is 7d"},
		"the last second is refreshed": {year, "36h", time.Second, refresh.Refresh,
			"expires in 1 second, on 2026-03-01 12:00 UTC; refresh-before is 36h"},
		"more than a share is kept": {year, "20%", 74 * day, refresh.Keep,
			"expires in 74 days, on 2026-03-01 12:00 UTC; refresh-before is 20% of its lifetime, so 73 days"},
		"less than a share is refreshed": {year, "20%", 72 * day, refresh.Refresh,
			"expires in 72 days, on 2026-03-01 12:00 UTC; refresh-before is 20% of its lifetime, so 73 days"},
		"all of its lifetime is always refreshed": {year, "100%", 365 * day, refresh.Refresh,
			"expires in 365 days, on 2026-03-01 12:00 UTC; refresh-before is 100% of its lifetime, so 365 days"},
		"a share of a lifetime that is not told is a week, and more is kept": {ageless, "20%", 8 * day, refresh.Keep,
			"expires in 8 days, on 2026-03-01 12:00 UTC; refresh-before is 20% of its lifetime, which it does not tell, so 7d"},
		"a share of a lifetime that is not told is a week, and less is refreshed": {ageless, "20%", 6 * day, refresh.Refresh,
			"expires in 6 days, on 2026-03-01 12:00 UTC; refresh-before is 20% of its lifetime, which it does not tell, so 7d"},
		"a share of a lifetime that ends before it begins is a week": {lives(-day), "20%", 6 * day, refresh.Refresh,
			"expires in 6 days, on 2026-03-01 12:00 UTC; refresh-before is 20% of its lifetime, which it does not tell, so 7d"},
		"a lifetime that is not told does not matter to a time": {ageless, "36h", 35 * time.Hour, refresh.Refresh,
			"expires in 35 hours, on 2026-03-01 12:00 UTC; refresh-before is 36h"},
		"a token that lives shorter than refresh-before is refreshed on every run": {lives(3 * day), "7d", 3 * day, refresh.Refresh,
			"expires in 3 days, on 2026-03-01 12:00 UTC; refresh-before is 7d, longer than its lifetime of 3 days, so every run refreshes it"},
		"a token of the end of its license is kept like any other": {capped, "7d", 90 * day, refresh.Keep,
			"expires in 90 days, on 2026-03-01 12:00 UTC; refresh-before is 7d"},
		"a token of the end of its license is refreshed, since it may have been renewed": {capped, "7d", 90 * time.Minute, refresh.Refresh,
			"expires in 90 minutes, on 2026-03-01 12:00 UTC; refresh-before is 7d; its license ends then too, and only a renewed subscription gives it a later end"},
		"the second of its expiry is tried": {year, "7d", 0, refresh.Refresh,
			"expires just now, on 2026-03-01 12:00 UTC; tried all the same, in case the clock of this machine is ahead"},
		"20 seconds late is tried": {year, "7d", -20 * time.Second, refresh.Refresh,
			"expired 20 seconds ago, on 2026-03-01 12:00 UTC; tried all the same, in case the clock of this machine is ahead"},
		"a minute late is tried": {year, "7d", -60 * time.Second, refresh.Refresh,
			"expired 60 seconds ago, on 2026-03-01 12:00 UTC; tried all the same, in case the clock of this machine is ahead"},
		"a moment more is hopeless": {year, "7d", -60*time.Second - 1, refresh.Stop,
			"expired 60 seconds ago, on 2026-03-01 12:00 UTC; an expired token cannot be refreshed, issue a new one"},
		"three days late is hopeless": {year, "100%", -3 * day, refresh.Stop,
			"expired 3 days ago, on 2026-03-01 12:00 UTC; an expired token cannot be refreshed, issue a new one"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy, err := refresh.ParsePolicy(tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			got := refresh.Decide(tt.claims, policy, noon.Add(-tt.before))
			want := refresh.Decision{Action: tt.want, Reason: tt.reason, Remaining: tt.before}
			if got != want {
				t.Errorf("Decide(%s, %s before expiry) = %s, want %s\n got: %s\nwant: %s (remaining %s)",
					tt.policy, tt.before, got.Action, want.Action, got.Reason, want.Reason, got.Remaining)
			}
		})
	}
}

func TestReasonIsInUTCWhereverTheRunnerIs(t *testing.T) {
	t.Parallel()
	claims := lives(365 * day)
	claims.ExpiresAt = noon.In(time.FixedZone("far away", 5*3600))
	if got := refresh.Decide(claims, refresh.Policy{}, noon.Add(-day)).Reason; !strings.Contains(got, "on 2026-03-01 12:00 UTC") {
		t.Errorf("Reason = %q", got)
	}
}

func TestTimesThatAreFurtherApartThanADurationReaches(t *testing.T) {
	t.Parallel()
	first, last := token.Claims{ExpiresAt: time.Unix(1, 0)}, token.Claims{ExpiresAt: time.Unix(253402300799, 0), IssuedAt: time.Unix(1, 0)}
	if got := refresh.Decide(first, refresh.Policy{}, last.ExpiresAt); got.Action != refresh.Stop || !strings.HasPrefix(got.Reason, "expired 106751 days ago, on 1970-01-01") {
		t.Errorf("Decide(1970, in 9999) = %s, %s, want stop", got.Action, got.Reason)
	}
	if got := refresh.Decide(last, refresh.Policy{}, first.ExpiresAt); got.Action != refresh.Keep || !strings.HasPrefix(got.Reason, "expires in 106751 days, on 9999-12-31") {
		t.Errorf("Decide(9999, in 1970) = %s, %s, want keep", got.Action, got.Reason)
	}
}

func TestShareOfAVeryLongLife(t *testing.T) {
	t.Parallel()
	policy, err := refresh.ParsePolicy("50%")
	if err != nil {
		t.Fatal(err)
	}
	for left, want := range map[time.Duration]refresh.Action{120 * 365 * day: refresh.Keep, 80 * 365 * day: refresh.Refresh} {
		if got := refresh.Decide(lives(200*365*day), policy, noon.Add(-left)).Action; got != want {
			t.Errorf("Decide(200 years, %s before expiry) = %s, want %s", left, got, want)
		}
	}
}

func TestEndsWithLicense(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		validUntil time.Time
		want       bool
	}{
		"its license ends in the same second":        {noon, true},
		"its license ends milliseconds later":        {noon.Add(999 * time.Millisecond), true},
		"its license ends a second later":            {noon.Add(time.Second), false},
		"its license ends a year later":              {noon.AddDate(1, 0, 0), false},
		"its license ends before it":                 {noon.Add(-day), true},
		"its license is not told, so nothing is":     {time.Time{}, false},
		"its license ends then, told in another way": {noon.In(time.FixedZone("", 3600)), true},
	}
	for name, tt := range tests {
		if got := refresh.EndsWithLicense(token.Claims{ExpiresAt: noon, ValidUntil: tt.validUntil}); got != tt.want {
			t.Errorf("%s: EndsWithLicense = %t, want %t", name, got, tt.want)
		}
	}
}

func TestActionsHaveNames(t *testing.T) {
	t.Parallel()
	for a, want := range map[refresh.Action]string{0: "none", refresh.Keep: "keep", refresh.Refresh: "refresh", refresh.Stop: "stop"} {
		if got := a.String(); got != want {
			t.Errorf("Action(%d) = %s, want %s", int(a), got, want)
		}
	}
}

// drawClaims draws claims of any lifetime, with or without the claims that a foreign token may
// lack.
func drawClaims(t *rapid.T) token.Claims {
	c := token.Claims{Subject: rapid.SampledFrom([]string{"user_a", "user_b"}).Draw(t, "subject"), ExpiresAt: drawTime(t, "exp")}
	if rapid.Bool().Draw(t, "tells iat") {
		c.IssuedAt = drawTime(t, "iat")
	}
	if rapid.Bool().Draw(t, "tells valid_until") {
		c.ValidUntil = drawTime(t, "valid_until")
	}
	return c
}

// drawTime draws any second that a token can say, mostly around noon.
func drawTime(t *rapid.T, label string) time.Time {
	if rapid.IntRange(0, 9).Draw(t, label+" is far") == 0 {
		return time.Unix(rapid.Int64Range(1, 253402300799).Draw(t, label), 0).UTC()
	}
	return noon.Add(time.Duration(rapid.Int64Range(-40*86400, 40*86400).Draw(t, label)) * time.Second)
}

func drawPolicy(t *rapid.T) refresh.Policy {
	text := rapid.SampledFrom([]string{"1s", "90m", "36h", "7d", "3650d", "1%", "20%", "100%"}).Draw(t, "refresh-before")
	p, err := refresh.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// As time goes by a token is kept, then refreshed, then given up, and never goes back.
func TestDecideNeverGoesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		claims, policy := drawClaims(t), drawPolicy(t)
		earlier := drawTime(t, "now")
		later := earlier.Add(time.Duration(rapid.Int64Range(0, int64(80*day)).Draw(t, "later by")))
		first, second := refresh.Decide(claims, policy, earlier), refresh.Decide(claims, policy, later)
		if second.Action < first.Action {
			t.Errorf("Decide(now) = %s and Decide(later) = %s", first.Action, second.Action)
		}
	})
}

func TestDecideAgreesWithTheClock(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		claims, policy, now := drawClaims(t), drawPolicy(t), drawTime(t, "now")
		d := refresh.Decide(claims, policy, now)
		if d.Action == refresh.Keep && !claims.ExpiresAt.After(now) {
			t.Errorf("Decide keeps an expired token: %s", d.Reason)
		}
		if (d.Action == refresh.Stop) != now.After(claims.ExpiresAt.Add(refresh.Leeway)) {
			t.Errorf("Decide = %s at %s, for an expiry at %s", d.Action, now, claims.ExpiresAt)
		}
		if (d.Remaining < 0) != now.After(claims.ExpiresAt) {
			t.Errorf("Remaining = %s", d.Remaining)
		}
		if d.Reason == "" || strings.ContainsAny(d.Reason, "\r\n") || strings.Contains(d.Reason, " -") {
			t.Errorf("Reason = %q", d.Reason)
		}
	})
}
