package secret_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/opaque"
)

// refused makes the only call of a write to acme/site, with a token, at a GitHub of its own.
func refused(t *testing.T, spoil func(*githubtest.Config), token githubtest.Token, spelled string) *secret.Error {
	t.Helper()
	c := newClock()
	cfg := githubConfig(c)
	cfg.Tokens = []githubtest.Token{token}
	spoil(&cfg)
	w := &world{clock: c, github: githubtest.Start(t, cfg)}
	_, err := w.writerAs(t, opaque.Secret(token.Value)).Write(t.Context(), target(t, spelled), name, value)
	var got *secret.Error
	if !errors.As(err, &got) {
		t.Fatalf("Write = %v, want an *Error", err)
	}
	return got
}

func TestRefusalsTellTheirCauseAsAFact(t *testing.T) {
	t.Parallel()
	fine := githubtest.Token{Value: goodToken, Permissions: every("write")}
	classic := githubtest.Token{Value: goodToken, Scopes: []string{"repo", "admin:org"}}
	unsigned := classic
	unsigned.NoSignOn = []string{"acme"}
	policy := func(p githubtest.Policy) func(*githubtest.Config) {
		p.Account = "acme"
		return func(c *githubtest.Config) { c.Policies = []githubtest.Policy{p} }
	}
	for about, tc := range map[string]struct {
		token  githubtest.Token
		target string
		spoil  func(*githubtest.Config)
		want   secret.Fact // Kind, URL and Status
		says   string
	}{
		"single sign-on": {unsigned, "repository", func(*githubtest.Config) {},
			secret.Fact{Kind: github.SignOnRequired, URL: githubtest.SignOnPage("acme"), Status: 403}, "SAML enforcement"},
		"no classic tokens": {classic, "organization:acme", policy(githubtest.Policy{NoClassic: true}), secret.Fact{Kind: github.ClassicForbidden, Status: 403}, "(classic)"},
		"lives too long":    {fine, "repository", policy(githubtest.Policy{MaxDays: 30}), secret.Fact{Kind: github.LifetimeForbidden, Status: 403}, "greater than 30 days"},
		"archived":          {fine, "environment:prod", func(c *githubtest.Config) { c.Repositories[0].Archived = true }, secret.Fact{Kind: github.Archived, Status: 403}, "archived"},
		"a token that GitHub does not know": {fine, "repository", func(c *githubtest.Config) { c.Tokens[0].Value = "another" },
			secret.Fact{Kind: github.BadCredentials, Status: 401}, "GitHub refused (401): Bad credentials"},
		"a token without the permission": {githubtest.Token{Value: goodToken}, "repository", func(*githubtest.Config) {},
			secret.Fact{Kind: github.PermissionMissing, Status: 403}, "GitHub refused (403): Resource not accessible by personal access token"},
		"the job's own token": {githubtest.Token{Value: goodToken, GitHubToken: true}, "repository", func(*githubtest.Config) {},
			secret.Fact{Kind: github.IntegrationForbidden, Status: 403}, "GitHub refused (403): Resource not accessible by integration"},
		"a token that cannot see the repository": {githubtest.Token{Value: goodToken, Repositories: []string{"other/site"}}, "repository",
			func(*githubtest.Config) {}, secret.Fact{Kind: github.NotFound, Status: 404}, "GitHub refused (404): Not Found"},
		"no Dependabot there": {fine, "dependabot/repository", func(c *githubtest.Config) { c.NoDependabot = true }, secret.Fact{Kind: github.NoStore, Status: 404}, "this server has no Dependabot secrets (404)"},
		"no Dependabot in an organization": {fine, "dependabot/organization:acme", func(c *githubtest.Config) { c.NoDependabot = true },
			secret.Fact{Kind: github.NoStore, Status: 404}, "this server has no Dependabot secrets (404)"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			got := refused(t, tc.spoil, tc.token, tc.target)
			facts := secret.Fact{Kind: got.Kind, URL: got.URL, Status: got.Status}
			if diff := cmp.Diff(tc.want, facts); diff != "" || !strings.Contains(got.Error(), tc.says) || got.Silent() {
				t.Errorf("Write = %v, %+v, want %q (-want +got):\n%s", got, *got, tc.says, diff)
			}
		})
	}
}

// A token that sees nothing of the repository proves nothing about the server.
func TestAServerIsNotSaidToLackAStoreWithoutProof(t *testing.T) {
	t.Parallel()
	lone := githubtest.Token{Value: goodToken, Permissions: map[string]string{"dependabot_secrets": "write"}}
	got := refused(t, func(c *githubtest.Config) { c.NoDependabot = true }, lone, "dependabot/repository")
	if got.Kind != github.NotFound || !got.MaybeNoStore {
		t.Errorf("Write = %v, want both causes", got)
	}
	if got = refused(t, func(*githubtest.Config) {}, githubtest.Token{Value: goodToken, Permissions: every("write"), Repositories: []string{"other/site"}}, "repository"); got.MaybeNoStore || strings.Contains(got.Error(), "this server") {
		t.Errorf("Write = %v, though every server has Actions secrets", got)
	}
}

func TestAnAppProvesThatAServerLacksAStore(t *testing.T) {
	t.Parallel()
	c := newClock()
	cfg := githubConfig(c)
	cfg.NoDependabot = true
	cfg.Apps = []githubtest.App{{ID: 12345, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{{ID: 99, Account: "acme", Permissions: every("write")}}}}
	w := &appWorld{world: &world{clock: c, github: githubtest.Start(t, cfg)}, app: newApp(t, "12345", githubtest.PEM(githubtest.AppKey()))}
	_, err := w.appWriter(t).Write(t.Context(), target(t, "dependabot/repository"), name, value)
	var got *secret.Error
	if !errors.As(err, &got) || got.Kind != github.NoStore {
		t.Errorf("Write = %v, want the store missing", err)
	}
}

// What a page for people may be opened with is for GitHub to say; anything else is not repeated.
func TestOnlyAnAddressIsTakenFromTheHeaderForSingleSignOn(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"required; url=https://github.com/orgs/acme/sso?authorization_request=A": "https://github.com/orgs/acme/sso?authorization_request=A",
		"required":                          "",
		"required; url=http://github.com/x": "", "required; url=javascript:alert(1)": "", "required; url=https://user@github.com/x": "",
		"required; url=https://github.com/a b": "", "required; url=https://github.com/" + strings.Repeat("x", 400): "", "required; at=https://github.com": "",
	} {
		w := newWorld(t)
		w.github.FailNext("GET /public-key", githubtest.Fault{Status: 403, Header: map[string]string{"X-GitHub-SSO": header}})
		_, err := w.write(t)
		var got *secret.Error
		if !errors.As(err, &got) || got.Kind != github.SignOnRequired || got.URL != want {
			t.Errorf("Write(%s) = %+v, want the address %q", header, got, want)
		}
	}
	w := newWorld(t)
	w.github.FailNext("GET /public-key", githubtest.Fault{Status: 403, Header: map[string]string{"X-GitHub-SSO": "partial-results; organizations=1"}})
	var got *secret.Error
	if _, err := w.write(t); !errors.As(err, &got) || got.Kind != github.PermissionMissing {
		t.Errorf("Write = %v, want the permission, since nobody has to sign on", err)
	}
}

func TestAProxysRefusalIsNotGitHubs(t *testing.T) {
	t.Parallel()
	for about, fault := range map[string]githubtest.Fault{
		"403 with a page":         {Status: 403, Body: "<html>blocked", Proxy: true},
		"403 in GitHub's words":   {Status: 403, Proxy: true},
		"403 that asks to wait":   {Status: 403, Header: header("Retry-After", "1"), Body: "<html>", Proxy: true},
		"401":                     {Status: 401, Proxy: true},
		"404":                     {Status: 404, Proxy: true},
		"407, as proxies have it": {Status: 407, Body: "<html>", Proxy: true},
	} {
		for _, request := range []string{"GET /public-key", "PUT /" + name} {
			w := newWorld(t)
			w.github.FailNext(request, fault)
			_, err := w.write(t)
			var got *secret.Error
			if !errors.As(err, &got) || got.Kind != github.NotGitHub || !got.Silent() || !strings.Contains(err.Error(), "a proxy between here and GitHub refused (4") ||
				strings.Contains(err.Error(), ": GitHub refused") {
				t.Errorf("%s on %s: Write = %v, want the proxy blamed", about, request, err)
			}
		}
		w := newAppWorld(t, nil)
		w.github.FailNext("GET /repos/acme/site/installation", fault)
		if _, err := w.appWriter(t).Write(t.Context(), target(t, "repository"), name, value); err == nil || !strings.Contains(err.Error(), "a proxy between here and GitHub refused") {
			t.Errorf("%s on an App: Write = %v, want the proxy blamed", about, err)
		}
	}
}

func TestALimitWithoutWordsHasNoHole(t *testing.T) {
	t.Parallel()
	for want, fault := range map[string]githubtest.Fault{
		"GitHub's rate limit is used up (403)":                          {Status: 403, Header: header("Retry-After", "86400"), Body: "<html>"},
		"GitHub's rate limit is used up (429): API rate limit exceeded": {Status: 429, Header: header("Retry-After", "86400")},
		"a proxy between here and GitHub asks to wait (429)":            {Status: 429, Header: header("Retry-After", "86400"), Body: "<html>", Proxy: true},
	} {
		w := newWorld(t)
		w.github.FailNext("GET /public-key", fault)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := w.writeIn(t, ctx)
		cancel()
		var got *secret.Error
		if !errors.As(err, &got) || !strings.HasSuffix(err.Error(), want) || !got.Silent() || got.RetryAt.IsZero() {
			t.Errorf("Write = %v, want %q", err, want)
		}
	}
}

func TestTheEndOfATokenIsKnownAfterAnyAnswer(t *testing.T) {
	t.Parallel()
	c := newClock()
	ends := c.Now().Add(20 * time.Hour)
	cfg := githubConfig(c)
	cfg.Tokens = []githubtest.Token{
		{Value: "fine", Permissions: every("write"), Expires: ends}, {Value: "weak", Expires: ends}, {Value: "classic", Scopes: []string{"repo"}, Expires: ends},
		{Value: "endless", Permissions: every("write")},
	}
	hub := githubtest.Start(t, cfg)
	for token, want := range map[opaque.Secret]time.Time{"fine": ends, "weak": ends, "classic": ends, "endless": {}} {
		w := &world{clock: c, github: hub}
		w.writer = w.writerAs(t, token)
		if got := w.writer.TokenExpiry(); !got.IsZero() {
			t.Errorf("%s ends on %v before anything was asked", token, got)
		}
		_, _ = w.write(t) // refused or not
		if got := w.writer.TokenExpiry(); !got.Equal(want) {
			t.Errorf("%s ends on %v, want %v", token, got, want)
		}
		w.writer = w.writerAs(t, token)
		_ = w.writer.Check(t.Context(), []secret.Target{target(t, "repository")}, name)
		if got := w.writer.TokenExpiry(); !got.Equal(want) {
			t.Errorf("%s ends on %v by a check, want %v", token, got, want)
		}
	}
}

func TestARenamedRepositoryIsReached(t *testing.T) {
	t.Parallel()
	c := newClock()
	cfg := githubConfig(c)
	cfg.Repositories[0].Name, cfg.Repositories[0].FormerNames = "new-site", []string{"acme/site"}
	cfg.Apps = []githubtest.App{{ID: 12345, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
		{ID: 99, Account: "acme", Repositories: []string{"acme/new-site"}, Permissions: every("write")},
	}}}
	w := &appWorld{world: &world{clock: c, github: githubtest.Start(t, cfg)}, app: newApp(t, "12345", githubtest.PEM(githubtest.AppKey()))}
	for _, spelled := range []string{"repository", "environment:prod", "dependabot/repository", "codespaces/repository"} {
		for credential, writer := range map[string]*secret.Writer{"an App": w.appWriter(t), "a token": w.writerAs(t, "token-for-every-kind")} {
			if _, err := writer.Write(t.Context(), target(t, spelled), name, value); err != nil {
				t.Errorf("Write(%s) by %s = %v", spelled, credential, err)
			}
			if got := writer.Check(t.Context(), []secret.Target{target(t, spelled)}, name); got[0].Err != nil {
				t.Errorf("Check(%s) by %s = %v", spelled, credential, got[0].Err)
			}
		}
	}
	for _, m := range w.github.Mints() {
		if diff := cmp.Diff([]string{"acme/new-site"}, m.Repositories); diff != "" {
			t.Errorf("repositories of a token (-want +got):\n%s", diff)
		}
	}
}
