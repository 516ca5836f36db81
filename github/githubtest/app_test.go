package githubtest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
)

func withApp() githubtest.Config {
	cfg := wide()
	cfg.Apps = []githubtest.App{{ID: 5, ClientID: "Iv1.x", Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
		{ID: 50, Account: "acme", Repositories: []string{"acme/site"}, Permissions: map[string]string{"secrets": "write", "organization_secrets": "read"}},
		{ID: 51, Account: "gone", Suspended: true},
	}}}
	return cfg
}

// sign makes the JWT of the App, with claims to spoil.
func sign(t *testing.T, spoil jwt.MapClaims) string {
	t.Helper()
	now := config().Now()
	claims := jwt.MapClaims{"iss": "5", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()}
	for name, value := range spoil {
		claims[name] = value
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(githubtest.AppKey())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestJWTsOfAppsAreCheckedAsGitHubDoes(t *testing.T) {
	t.Parallel()
	now := config().Now()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": "5", "iat": now.Unix(), "exp": now.Unix() + 60}).SignedString(other)
	if err != nil {
		t.Fatal(err)
	}
	stronger, err := jwt.NewWithClaims(jwt.SigningMethodRS512, jwt.MapClaims{"iss": "5", "iat": now.Unix(), "exp": now.Unix() + 60}).SignedString(githubtest.AppKey())
	if err != nil {
		t.Fatal(err)
	}
	for about, tc := range map[string]struct {
		jwt    string
		status int
		want   string
	}{
		"the app id":              {sign(t, nil), 200, `"id":50`},
		"the client id":           {sign(t, jwt.MapClaims{"iss": "Iv1.x"}), 200, `"id":50`},
		"an id as a number":       {sign(t, jwt.MapClaims{"iss": 5}), 404, "Integration not found"},
		"another id":              {sign(t, jwt.MapClaims{"iss": "6"}), 404, "Integration not found"},
		"an issue in the future":  {sign(t, jwt.MapClaims{"iat": now.Unix() + 1}), 401, "('iat')"},
		"no issue":                {sign(t, jwt.MapClaims{"iat": 0}), 401, "('iat')"},
		"an end in the past":      {sign(t, jwt.MapClaims{"exp": now.Unix()}), 401, "('exp') must be"},
		"an end too far":          {sign(t, jwt.MapClaims{"exp": now.Unix() + 601}), 401, "too far in the future"},
		"the key of another":      {foreign, 401, "could not be decoded"},
		"another algorithm":       {stronger, 401, "could not be decoded"},
		"a token":                 {"writer", 401, "could not be decoded"},
		"a payload that is none":  {"a.b.c", 401, "could not be decoded"},
		"a signature cut short":   {strings.TrimRight(sign(t, nil), "=")[:200], 401, "could not be decoded"},
		"claims that are no JSON": {"e30.e30x.e30", 401, "could not be decoded"},
	} {
		s := githubtest.Start(t, withApp())
		got := call{method: "GET", path: "/repos/acme/site/installation", token: tc.jwt}.do(t, s)
		if got.status != tc.status || !strings.Contains(got.body, tc.want) {
			t.Errorf("%s = %d %s, want %d with %s", about, got.status, got.body, tc.status, tc.want)
		}
	}
}

func TestInstallationsAreFoundWhereTheyReach(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, withApp())
	for path, want := range map[string]int{
		"/repos/acme/site/installation": 200, "/orgs/acme/installation": 200, "/repos/acme/open/installation": 404, "/repos/acme/none/installation": 404,
		"/orgs/none/installation": 404,
	} {
		if got := (call{method: "GET", path: path, token: sign(t, nil)}).do(t, s); got.status != want {
			t.Errorf("GET %s = %d, want %d", path, got.status, want)
		}
	}
	if got := (call{method: "GET", path: "/repos/acme/site", token: sign(t, nil)}).do(t, s); got.status != 401 {
		t.Errorf("GET repository with a JWT = %d, want 401", got.status)
	}
}

func TestATokenHasNoMoreThanItsInstallation(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, withApp())
	for body, want := range map[string]int{
		``: 201, `{}`: 201, `{"permissions":{"secrets":"read"}}`: 201, `{"permissions":{"secrets":"write"},"repositories":["site"]}`: 201,
		`{"permissions":{"secrets":"admin"}}`: 422, `{"permissions":{"organization_secrets":"write"}}`: 422, `{"permissions":{"environments":"read"}}`: 422,
		`{"repositories":["open"]}`: 422, `{"repositories":["acme/site"]}`: 422, `{"repository":["site"]}`: 422,
	} {
		if got := (call{method: "POST", path: "/app/installations/50/access_tokens", token: sign(t, nil), body: body}).do(t, s); got.status != want {
			t.Errorf("POST %s = %d %s, want %d", body, got.status, got.body, want)
		}
	}
	for path, want := range map[string]int{"/app/installations/51/access_tokens": 403, "/app/installations/52/access_tokens": 404} {
		if got := (call{method: "POST", path: path, token: sign(t, nil)}).do(t, s); got.status != want {
			t.Errorf("POST %s = %d, want %d", path, got.status, want)
		}
	}
}

func TestATokenOfAnAppLivesAnHourOrUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	cfg := withApp()
	now := cfg.Now()
	cfg.Now = func() time.Time { return now }
	tb := &recorder{}
	s := githubtest.Start(t, cfg)
	mint := func() string {
		got := call{method: "POST", path: "/app/installations/50/access_tokens", token: sign(t, nil), body: `{"permissions":{"secrets":"write"},"repositories":["site"]}`}.do(t, s)
		var answer struct{ Token string }
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil || len(answer.Token) < 400 {
			t.Fatalf("POST = %d %s, want a long token", got.status, got.body)
		}
		return answer.Token
	}
	ask := func(token, path string) int { return call{method: "GET", path: path, token: token}.do(t, s).status }
	token := mint()
	for path, want := range map[string]int{
		secrets + "public-key": 200, "/repos/acme/site/dependabot/secrets/public-key": 403, "/orgs/acme/actions/secrets/public-key": 403, "/repos/acme/site": 200,
	} {
		if got := ask(token, path); got != want {
			t.Errorf("GET %s = %d, want %d", path, got, want)
		}
	}
	s.WantRevoked(tb, 1)
	if len(tb.errors) != 1 || !strings.Contains(tb.errors[0], "was not revoked") {
		t.Errorf("WantRevoked(1) said %q, want one that was not", tb.errors)
	}
	if got := (call{method: "DELETE", path: "/installation/token", token: token}).do(t, s); got.status != 204 {
		t.Errorf("DELETE = %d, want 204", got.status)
	}
	if got := ask(token, secrets+"public-key"); got != 401 {
		t.Errorf("GET with a revoked token = %d, want 401", got)
	}
	s.WantRevoked(t, 1)
	want := []githubtest.Mint{{Token: token, Account: "acme", Repositories: []string{"acme/site"}, Permissions: map[string]string{"secrets": "write"}, Revoked: true}}
	if diff := cmp.Diff(want, s.Mints()); diff != "" {
		t.Errorf("Mints (-want +got):\n%s", diff)
	}
	old := mint()
	now = now.Add(time.Hour)
	if got := ask(old, secrets+"public-key"); got != 401 {
		t.Errorf("GET with a token of an hour = %d, want 401", got)
	}
	tb.errors = nil
	s.WantRevoked(tb, 1)
	if len(tb.errors) != 2 {
		t.Errorf("WantRevoked(1) of two said %q, want the number and the one", tb.errors)
	}
	if got := (call{method: "DELETE", path: "/installation/token", token: "writer"}).do(t, s); got.status != 401 {
		t.Errorf("DELETE with another token = %d, want 401", got.status)
	}
}
