package remedy_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/pageflare/ci/action/remedy"
	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/opaque"
)

const (
	goodToken = "token-that-may-write"
	value     = "value-of-the-secret"
	name      = "PAGEFLARE_TOKEN"
)

// world is a fake GitHub. No client of it waits.
type world struct{ github *githubtest.Server }

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{githubtest.Start(t, githubConfig())}
}

// newWorldWithApp has a GitHub App that is installed in the organization acme, for acme/site; spoil
// changes what it is to GitHub.
func newWorldWithApp(t *testing.T, spoil func(*githubtest.App)) *world {
	t.Helper()
	app := githubtest.App{ID: 12345, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
		{ID: 99, Account: "acme", Repositories: []string{"acme/site"}, Permissions: every("write")},
		{ID: 98, Account: "other", Permissions: every("write")},
	}}
	if spoil != nil {
		spoil(&app)
	}
	cfg := githubConfig()
	cfg.Apps = []githubtest.App{app}
	return &world{githubtest.Start(t, cfg)}
}

func githubConfig() githubtest.Config {
	return githubtest.Config{
		Repositories: []githubtest.Repository{
			{ID: 7, Owner: "acme", Name: "site", Environments: []string{"prod"}}, {ID: 8, Owner: "acme", Name: "open", Public: true},
		},
		Organizations: []string{"acme", "other"},
		Tokens: []githubtest.Token{
			{Value: goodToken, Permissions: map[string]string{"secrets": "write"}},
			{Value: "token-for-every-kind", Permissions: every("write")},
			{Value: "token-that-may-read", Permissions: map[string]string{"secrets": "read"}},
			{Value: "token-that-may-read-all", Permissions: every("read")},
			{Value: "token-that-may-nothing"},
			{Value: "token-of-the-job", GitHubToken: true},
			{Value: "token-of-others", Permissions: every("write"), Repositories: []string{"other/site"}},
			{Value: "classic-token-without-scopes", Scopes: []string{}},
		},
	}
}

// kind is what the tests know of a kind of target: what is needed to write there.
type kind struct{ target, permission, title string }

func kinds() []kind {
	return []kind{
		{"repository", "secrets", `repository permission "Secrets: read and write"`},
		{"environment:prod", "environments", `repository permission "Environments: read and write"`},
		{"organization:acme", "organization_secrets", `organization permission "Secrets: read and write"`},
		{"dependabot/repository", "dependabot_secrets", `repository permission "Dependabot secrets: read and write"`},
		{"dependabot/organization:acme", "organization_dependabot_secrets",
			`organization permission "Organization dependabot secrets: read and write"`},
		{"codespaces/repository", "codespaces_secrets", `repository permission "Codespaces secrets: read and write"`},
		{"codespaces/organization:acme", "organization_codespaces_secrets",
			`organization permission "Organization codespaces secrets: read and write"`},
	}
}

// every gives all permissions at one level.
func every(level string) map[string]string {
	out := map[string]string{}
	for _, k := range kinds() {
		out[k.permission] = level
	}
	return out
}

// write writes the secret with a token, and gives the error with its remedy.
func (w *world) write(t *testing.T, token opaque.Secret, target string) error {
	t.Helper()
	return w.writeWith(t, t.Context(), secret.WriterConfig{API: w.config(t, token)}, target)
}

// writeByApp writes it with the App.
func (w *world) writeByApp(t *testing.T, target string) error {
	t.Helper()
	app, err := github.ParseApp("12345", opaque.Secret(githubtest.PEM(githubtest.AppKey())))
	if err != nil {
		t.Fatal(err)
	}
	return w.writeWith(t, t.Context(), secret.WriterConfig{API: w.config(t, ""), App: app, RepoID: 7}, target)
}

func (w *world) writeWith(t *testing.T, ctx context.Context, cfg secret.WriterConfig, target string) error {
	t.Helper()
	cfg.Repo, cfg.Rand = github.Repo{Owner: "acme", Name: "site"}, rand.Reader
	writer, err := secret.NewWriter(cfg)
	if err != nil {
		t.Fatalf("NewWriter = %v", err)
	}
	targets, err := secret.ParseTargets(target)
	if err != nil {
		t.Fatal(err)
	}
	_, err = writer.Write(ctx, targets[0], name, value)
	return remedy.Advise(err, w.github.URL())
}

func (w *world) config(t *testing.T, token opaque.Secret) github.Config {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return github.Config{
		APIURL: w.github.URL(), Token: token, Transport: transport, UserAgent: "pageflare-test", Now: time.Now, Rand: rand.Reader,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
}

func header(name, value string) map[string]string { return map[string]string{name: value} }

// asked gives the requests that were answered.
func (w *world) asked() []githubtest.Request { return w.github.Requests() }
