package account_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/origin"
	"github.com/pageflare/ci/service/token"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// claims is what a token of an account says.
func claims(a account.Account, issuer string) token.Claims {
	return token.Claims{
		Subject: "user_0123456789abcdef", Email: a.Email, Tier: string(a.Tier), Features: a.Features, ValidUntil: a.ValidUntil, IssuedAt: noon,
		ExpiresAt: noon.Add(time.Hour), ID: "019c0a1b2c3d4e5f60718293a4b5c6d7e8f9", Issuer: issuer,
	}
}

func keys(t testing.TB) *token.KeySet {
	t.Helper()
	set, err := token.NewKeySet(token.Key{ID: "k_0123456789abcdef", Secret: make([]byte, token.MinKeySize)})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Whatever account and public URL are accepted, the tokens made from them are read.
func TestWhatIsIssuedParses(t *testing.T) {
	t.Parallel()
	set := keys(t)
	text := rapid.OneOf(rapid.StringN(0, 40, -1), rapid.StringOfN(rapid.RuneFrom([]rune("a\u00a0\u00ad\u200b\ufeff&<>.-é")), 0, 40, -1))
	feature := rapid.OneOf(rapid.StringMatching(`[a-z][a-z0-9_]{0,63}`), text)
	rapid.Check(t, func(t *rapid.T) {
		a := account.Account{
			Email: text.Draw(t, "name") + "@" + rapid.OneOf(rapid.Just("example.com"), text).Draw(t, "domain"), Tier: account.Pro,
			Features: rapid.SliceOfN(feature, 0, 4).Draw(t, "features"), Status: account.Active,
			ValidUntil: noon.Add(time.Duration(rapid.Int64().Draw(t, "valid"))).UTC().Truncate(time.Millisecond),
		}
		issuer, err := origin.Of(&url.URL{Scheme: "https", Host: rapid.OneOf(rapid.Just("license.example.com"), text).Draw(t, "host")})
		if err != nil || account.Check(a) != nil {
			return
		}
		raw, err := set.Sign(claims(a, issuer))
		if err != nil {
			t.Fatalf("Sign(%+v) = %v", a, err)
		}
		got, err := set.Parse(raw, noon)
		if err != nil {
			t.Fatalf("Parse of a token for %+v = %v", a, err)
		}
		if diff := cmp.Diff(claims(a, issuer), got); diff != "" {
			t.Fatalf("claims (-signed +read):\n%s", diff)
		}
	})
}

func TestTheLargestAccountHasTokensThatParse(t *testing.T) {
	t.Parallel()
	a := account.Account{
		Email: strings.Repeat("&", 242) + "@example.com", Tier: account.Team, Status: account.Active, ValidUntil: noon.AddDate(1, 0, 0),
	}
	for range 50 {
		a.Features = append(a.Features, strings.Repeat("f", 64))
	}
	if err := account.Check(a); err != nil {
		t.Fatal(err)
	}
	set := keys(t)
	raw, err := set.Sign(claims(a, "https://"+strings.Repeat("a.", 120)+"example"))
	if err != nil {
		t.Fatalf("Sign = %v", err)
	}
	if _, err := set.Parse(raw, noon); err != nil {
		t.Errorf("Parse of %d bytes = %v", len(raw), err)
	}
}

func TestAnAddressWithACharacterThatCannotBeSeenIsRefused(t *testing.T) {
	t.Parallel()
	for _, hidden := range []string{"\u200b", "\ufeff", "\u00ad", "\u00a0", "\u202e", "\u2028"} {
		a := account.Account{Email: "de" + hidden + "v@example.com", Tier: account.Free, ValidUntil: noon}
		if err := account.Check(a); !errors.Is(err, failure.ErrInvalid) {
			t.Errorf("Check with %q = %v, want ErrInvalid", hidden, err)
		}
		if _, err := keys(t).Sign(claims(a, "https://license.example.com")); !errors.Is(err, token.ErrClaims) {
			t.Errorf("Sign with %q = %v, want ErrClaims", hidden, err)
		}
	}
}
