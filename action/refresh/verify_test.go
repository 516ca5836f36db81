package refresh_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pageflare/ci/action/refresh"
	"github.com/pageflare/ci/service/token"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	old := token.Claims{Subject: "user_a", Email: "a@example.com", Tier: "pro", ExpiresAt: noon}
	now := noon.Add(-2 * day)
	fresh := func(subject string, exp time.Time) token.Claims {
		return token.Claims{Subject: subject, ExpiresAt: exp}
	}
	tests := map[string]struct {
		old, fresh token.Claims
		now        time.Time
		want       error
		says       string
	}{
		"a later end is fine":                                {old, fresh("user_a", noon.AddDate(1, 0, 0)), now, nil, ""},
		"the same end is fine":                               {old, fresh("user_a", noon), now, nil, ""},
		"the same token is fine":                             {old, old, now, nil, ""},
		"another tier and address are the account's own":     {old, token.Claims{Subject: "user_a", Email: "b@example.com", Tier: "team", ExpiresAt: noon}, now, nil, ""},
		"a moment of lifetime left is fine":                  {old, fresh("user_a", noon), noon.Add(-1), nil, ""},
		"an old token that has just expired may be replaced": {old, fresh("user_a", noon.Add(day)), noon.Add(time.Second), nil, ""},
		"another account":                                    {old, fresh("user_b", noon.AddDate(1, 0, 0)), now, refresh.ErrOtherAccount, "of another account; the old one stays: check that api-url"},
		"an account in other case":                           {old, fresh("USER_A", noon.AddDate(1, 0, 0)), now, refresh.ErrOtherAccount, ""},
		"no account":                                         {old, fresh("", noon.AddDate(1, 0, 0)), now, refresh.ErrOtherAccount, ""},
		"no account on either side":                          {token.Claims{ExpiresAt: noon}, fresh("", noon.AddDate(1, 0, 0)), now, refresh.ErrOtherAccount, ""},
		"a second before the old":                            {old, fresh("user_a", noon.Add(-time.Second)), now, refresh.ErrOlder, "expires before the old one, on 2026-03-01 11:59 UTC instead of 2026-03-01 12:00 UTC; the old one stays"},
		"an end that is over":                                {old, fresh("user_a", now.Add(-day)), now, refresh.ErrAlreadyExpired, "has expired already, on 2026-02-26 12:00 UTC; the old one stays: check the clock of this machine (2026-02-27 12:00 UTC)"},
		"an end that is now":                                 {old, fresh("user_a", noon), noon, refresh.ErrAlreadyExpired, ""},
		"no end":                                             {old, fresh("user_a", time.Time{}), now, refresh.ErrAlreadyExpired, ""},
		"another account and an end":                         {old, fresh("user_b", now.Add(-day)), now, refresh.ErrOtherAccount, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := refresh.Verify(tt.old, tt.fresh, tt.now)
			if !errors.Is(got, tt.want) || (got == nil) != (tt.want == nil) {
				t.Fatalf("Verify = %v, want %v", got, tt.want)
			}
			if got != nil && !strings.Contains(got.Error(), tt.says) {
				t.Errorf("Verify = %v, want it to say %q", got, tt.says)
			}
		})
	}
}

func TestVerifyAcceptsOnlyWhatIsNoWorse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		old, fresh, now := drawClaims(t), drawClaims(t), drawTime(t, "now")
		good := fresh.Subject == old.Subject && fresh.ExpiresAt.After(now) && !fresh.ExpiresAt.Before(old.ExpiresAt)
		if err := refresh.Verify(old, fresh, now); (err == nil) != good {
			t.Errorf("Verify = %v, want accepted = %t", err, good)
		}
	})
}

// What is accepted is no reason to stop: the run that stores a token can use it.
func TestVerifiedTokenIsUsable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		old, fresh, now := drawClaims(t), drawClaims(t), drawTime(t, "now")
		fresh.Subject = old.Subject
		if refresh.Verify(old, fresh, now) != nil {
			return
		}
		if d := refresh.Decide(fresh, drawPolicy(t), now); d.Action == refresh.Stop || d.Remaining <= 0 {
			t.Errorf("Verify accepts and Decide says %s: %s", d.Action, d.Reason)
		}
	})
}
