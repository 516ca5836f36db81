package license_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestWhoMayHoldAToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status account.Status
		until  time.Time
		want   error
	}{
		"an active account with time left":      {account.Active, noon.Add(time.Millisecond), nil},
		"an active account whose time is up":    {account.Active, noon, account.ErrExpired},
		"a suspended account":                   {account.Suspended, noon.Add(time.Hour), account.ErrInactive},
		"a suspended account whose time is up":  {account.Suspended, noon, account.ErrInactive},
		"a deleted account":                     {account.Deleted, noon.Add(time.Hour), account.ErrRevoked},
		"an account in a status we do not know": {"odd", noon.Add(time.Hour), account.ErrInactive},
	} {
		a := account.Account{Status: c.status, ValidUntil: c.until}
		if got := account.MayHoldToken(a, noon); !errors.Is(got, c.want) {
			t.Errorf("MayHoldToken(%s) = %v, want %v", name, got, c.want)
		}
	}
}

func TestATokenNeverOutlivesItsLicense(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		until  time.Time
		want   time.Time
		capped bool
	}{
		"the license ends later":                {noon.Add(2 * time.Hour), noon.Add(time.Hour), false},
		"the license ends with the token":       {noon.Add(time.Hour), noon.Add(time.Hour), false},
		"the license ends first":                {noon.Add(30 * time.Minute), noon.Add(30 * time.Minute), true},
		"the license ends within a second":      {noon.Add(90*time.Second + 500*time.Millisecond), noon.Add(90 * time.Second), true},
		"the license ended before it was asked": {noon.Add(-time.Second), noon.Add(-time.Second), true},
	} {
		exp, capped := license.Expiry(noon, time.Hour, c.until)
		if !exp.Equal(c.want) || capped != c.capped {
			t.Errorf("Expiry(%s) = %v, %t, want %v, %t", name, exp, capped, c.want, c.capped)
		}
	}
}

func TestWindowIsTenMinutesAtMostAndASixthOfALife(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ lifetime, ttl, want time.Duration }{
		"a year":                          {8760 * time.Hour, 8760 * time.Hour, 10 * time.Minute},
		"an hour":                         {time.Hour, 8760 * time.Hour, 10 * time.Minute},
		"half an hour":                    {30 * time.Minute, 8760 * time.Hour, 5 * time.Minute},
		"refreshed to half an hour":       {8760 * time.Hour, 30 * time.Minute, 5 * time.Minute},
		"a minute":                        {time.Minute, time.Minute, 10 * time.Second},
		"three seconds":                   {3 * time.Second, time.Hour, time.Second},
		"a lifetime that is no multiple":  {61 * time.Second, time.Hour, 10 * time.Second},
		"a lifetime of nothing, by error": {0, time.Hour, time.Second},
	} {
		if got := license.Window(c.lifetime, c.ttl); got != c.want {
			t.Errorf("Window(%s) = %v, want %v", name, got, c.want)
		}
	}
}

func TestBucketHoldsNowAndIsNeverBeforeTheParent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		window := time.Duration(rapid.IntRange(1, 600).Draw(t, "window")) * time.Second
		now := noon.Add(time.Duration(rapid.Int64Range(-1e6, 1e12).Draw(t, "age")) * time.Millisecond)
		got := license.Bucket(noon, now, window)
		if got.Before(noon) || got.Nanosecond() != 0 {
			t.Fatalf("Bucket = %v, before its parent %v or no whole second", got, noon)
		}
		if now.After(noon) && (got.After(now) || now.Sub(got) >= window) {
			t.Fatalf("Bucket(%v) = %v, does not hold now with window %v", now, got, window)
		}
	})
}

func TestCheckAccountNamesEveryFault(t *testing.T) {
	t.Parallel()
	err := account.Check(account.Account{Email: "nobody", Tier: "gold", Features: []string{"ok_1", "No Way"}})
	if err == nil {
		t.Fatal("CheckAccount(all wrong) = nil")
	}
	for _, want := range []string{`email "nobody"`, `tier "gold"`, `feature "No Way"`, "valid-until is missing"} {
		if !strings.Contains(err.Error(), want) || !errors.Is(err, failure.ErrInvalid) {
			t.Errorf("CheckAccount = %v, want ErrInvalid with %q", err, want)
		}
	}
	for _, email := range []string{"", "Bob <bob@example.com>", "a b@example.com", strings.Repeat("a", 250) + "@example.com"} {
		a := account.Account{Email: email, Tier: account.Pro, ValidUntil: noon}
		if account.Check(a) == nil {
			t.Errorf("CheckAccount(email %q) = nil, want an error", email)
		}
	}
}

func TestAPITokensAreToldFromOtherText(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":           "",
		"the prefix alone":  "pf_at_",
		"a wrong checksum":  "pf_at_000000000000000000000000000000" + "000000",
		"a letter too many": "pf_at_000000000000000000000000000000" + "0000000",
		"a license token":   "eyJhbGciOiJIUzI1NiJ9.e30.x",
	} {
		if opaque.APIToken.Fits(text) {
			t.Errorf("opaque.APIToken.Fits(%s) = true, want false", name)
		}
	}
}

func TestMasterKeyTextIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"nothing":         {"", "0 bytes, needs 32"},
		"a passphrase":    {"correct horse battery staple", "not base64"},
		"too short":       {"c2hvcnQ=", "5 bytes, needs 32"},
		"two keys in one": {strings.Repeat("AAAA", 22), "66 bytes, needs 32"},
	} {
		_, err := keyring.ParseMasterKey(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || (c.text != "" && strings.Contains(err.Error(), c.text)) {
			t.Errorf("ParseMasterKey(%s) = %v, want %q and not the text", name, err, c.want)
		}
	}
	k, err := keyring.NewMasterKey(strings.NewReader(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	again, err := keyring.ParseMasterKey("\n" + k.Text().Reveal() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(k.Text().Reveal(), again.Text().Reveal()); diff != "" {
		t.Error(diff)
	}
}

func TestLeaseWindowIsShortForAShortGrace(t *testing.T) {
	t.Parallel()
	for grace, want := range map[time.Duration]time.Duration{168 * time.Hour: time.Minute, 6 * time.Minute: time.Minute, time.Minute: 10 * time.Second, time.Second: time.Second} {
		if got := license.LeaseWindow(grace); got != want {
			t.Errorf("LeaseWindow(%s) = %s, want %s", grace, got, want)
		}
	}
}
