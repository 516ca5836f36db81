package githubtest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
)

// Every answer of GitHub has an id, whatever it says; that of a proxy has none.
func TestEveryAnswerHasAnIDUnlessItIsAProxys(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Enterprise = "3.14.2"
	s := githubtest.Start(t, cfg)
	s.FailNext("GET /gone", githubtest.Fault{Status: 503})
	s.FailNext("GET /proxied", githubtest.Fault{Status: 403, Body: "<html>", Proxy: true})
	seen := map[string]bool{}
	for path, want := range map[string]bool{secrets + "public-key": true, secrets + "NONE": true, "/gone": true, "/proxied": false} {
		h := call{method: "GET", path: path}.do(t, s).header
		id := h.Get("X-GitHub-Request-Id")
		if (id != "") != want || (h.Get("X-GitHub-Enterprise-Version") == "3.14.2") != want || seen[id] {
			t.Errorf("GET %s has headers %v, want an id of its own: %t", path, h, want)
		}
		seen[id] = true
	}
}

func TestATokenThatEndsSaysWhen(t *testing.T) {
	t.Parallel()
	cfg := config()
	ends := cfg.Now().Add(20 * time.Hour)
	cfg.Tokens = []githubtest.Token{
		{Value: "fine", Expires: ends}, {Value: "classic", Scopes: []string{"repo"}, Expires: ends}, {Value: "endless"}, {Value: "over", Expires: cfg.Now()},
	}
	s := githubtest.Start(t, cfg)
	for token, want := range map[string]string{"fine": "2026-08-02 06:00:00 +0000", "classic": "2026-08-02 06:00:00 UTC", "endless": "", "over": ""} {
		r := call{method: "GET", path: secrets + "public-key", token: token}.do(t, s)
		if got := r.header.Get("github-authentication-token-expiration"); got != want || (r.status == 401) != (token == "over") {
			t.Errorf("%s: %d, ends %q, want %q", token, r.status, got, want)
		}
	}
}

func TestPoliciesOfAnAccount(t *testing.T) {
	t.Parallel()
	cfg := wide()
	cfg.Policies = []githubtest.Policy{{Account: "acme", NoClassic: true, MaxDays: 90}}
	write := map[string]string{"secrets": "write"}
	cfg.Tokens = append(cfg.Tokens,
		githubtest.Token{Value: "short", Permissions: write, Days: 90},
		githubtest.Token{Value: "long", Permissions: write, Days: 91},
		githubtest.Token{Value: "unsigned", Scopes: []string{"repo"}, NoSignOn: []string{"ACME"}},
	)
	s := githubtest.Start(t, cfg)
	const classic, lifetime = "`acme` forbids access via a personal access token (classic). Please use", "The 'acme' organization forbids access via a fine-grained " +
		"personal access tokens if the token's lifetime is greater than 90 days."
	for _, path := range []string{secrets + "public-key", "/repos/acme/open", "/orgs/acme/actions/secrets/public-key"} {
		for token, want := range map[string]string{"classic": classic, "long": lifetime, "all": lifetime, "unsigned": "organization SAML enforcement", "short": "", "job": ""} {
			r := call{method: "GET", path: path, token: token}.do(t, s)
			if refused := r.status == http.StatusForbidden && strings.Contains(r.body, want); want != "" && !refused || want == "" && strings.Contains(r.body, "forbids") {
				t.Errorf("GET %s as %s = %d %s, want %q", path, token, r.status, r.body, want)
			}
			if sso := r.header.Get("X-GitHub-SSO"); (sso == "required; url="+githubtest.SignOnPage("acme")) != (token == "unsigned") {
				t.Errorf("GET %s as %s says X-GitHub-SSO: %q", path, token, sso)
			}
		}
	}
}

func TestAnArchivedRepositoryIsReadAndNotWritten(t *testing.T) {
	t.Parallel()
	cfg := wide()
	cfg.Repositories[0].Archived = true
	s := githubtest.Start(t, cfg)
	for _, path := range stores() {
		if strings.HasPrefix(path, "/orgs/") {
			continue
		}
		id, public := keyAt(t, s, path)
		body := fmt.Sprintf(`{"key_id":%q,"encrypted_value":%q}`, id, seal(t, public, "x"))
		r := call{method: "PUT", path: path + "/X", token: "all", body: body}.do(t, s)
		if r.status != http.StatusForbidden || !strings.Contains(r.body, "Repository was archived so is read-only.") {
			t.Errorf("PUT %s = %d %s, want it refused", path, r.status, r.body)
		}
	}
}

func TestAFormerNameIsRedirectedForThoseWhoSeeTheRepository(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Repositories[0].FormerNames = []string{"acme/old-site"}
	s := githubtest.Start(t, cfg)
	const old = "/repos/Acme/old-site/actions/secrets/"
	for about, tc := range map[string]struct {
		call
		status int
		to     string
	}{
		"reading":  {call{method: "GET", path: old + "public-key"}, 301, "/repositories/7/actions/secrets/public-key"},
		"writing":  {call{method: "PUT", path: old + "X", body: "{}"}, 307, "/repositories/7/actions/secrets/X"},
		"itself":   {call{method: "GET", path: "/repos/acme/old-site"}, 301, "/repositories/7"},
		"a list":   {call{method: "GET", path: "/repos/acme/old-site/environments?per_page=20"}, 301, "/repositories/7/environments?per_page=20"},
		"stranger": {call{method: "GET", path: old + "public-key", token: "stranger"}, 404, ""},
	} {
		r := tc.do(t, s)
		if to := strings.TrimPrefix(r.header.Get("Location"), s.URL()); r.status != tc.status || to != tc.to {
			t.Errorf("%s: %d to %q, want %d to %q", about, r.status, to, tc.status, tc.to)
		}
	}
	if r := (call{method: "GET", path: "/repositories/7/actions/secrets/public-key"}).do(t, s); r.status != http.StatusOK {
		t.Errorf("what it leads to = %d", r.status)
	}
}

func TestAServerWithoutDependabotHasNoSecretsForIt(t *testing.T) {
	t.Parallel()
	cfg := wide()
	cfg.NoDependabot = true
	s := githubtest.Start(t, cfg)
	for _, path := range stores() {
		want := http.StatusOK
		if strings.Contains(path, "/dependabot/") {
			want = http.StatusNotFound
		}
		if got := (call{method: "GET", path: path + "/public-key", token: "all"}).do(t, s).status; got != want {
			t.Errorf("GET %s/public-key = %d, want %d", path, got, want)
		}
	}
}
