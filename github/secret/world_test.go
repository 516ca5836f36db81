package secret_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/opaque"
)

// Texts that no error may hold.
const (
	goodToken = "token-that-may-write"
	value     = "value-of-the-secret"
	name      = "PAGEFLARE_TOKEN"
)

// world is a fake GitHub, a clock that only sleeping moves, and a writer for acme/site.
type world struct {
	github *githubtest.Server
	clock  *clock
	writer *secret.Writer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c := newClock()
	w := &world{clock: c, github: githubtest.Start(t, githubConfig(c))}
	w.writer = w.writerAs(t, goodToken)
	return w
}

func githubConfig(c *clock) githubtest.Config {
	return githubtest.Config{
		Now: c.Now,
		Repositories: []githubtest.Repository{
			{ID: 7, Owner: "acme", Name: "site", Environments: hostileNames()},
			{ID: 8, Owner: "acme", Name: "open", Public: true},
		},
		Organizations: []string{"acme", "other"},
		Tokens: []githubtest.Token{
			{Value: goodToken, Permissions: map[string]string{"secrets": "write"}},
			{Value: "token-for-every-kind", Permissions: every("write")},
			{Value: "token-that-may-read", Permissions: map[string]string{"secrets": "read"}},
			{Value: "token-that-may-read-all", Permissions: every("read")},
			{Value: "token-that-may-nothing"},
			{Value: "token-that-may-list", Permissions: map[string]string{"secrets": "write", "actions": "read"}},
			{Value: "token-of-the-job", GitHubToken: true},
			{Value: "token-of-others", Permissions: every("write"), Repositories: []string{"other/site"}},
			{Value: "classic-token", Scopes: []string{"repo", "admin:org"}},
			{Value: "classic-token-without-scopes", Scopes: []string{}},
		},
	}
}

// every gives all permissions at one level.
func every(level string) map[string]string {
	out := map[string]string{"actions": "read"}
	for _, k := range kinds() {
		out[k.permission] = level
	}
	return out
}

// kind is what the tests know of a kind of target: where the secret lies and what is needed to put it there.
type kind struct {
	target, place, permission, title string
}

func kinds() []kind {
	return []kind{
		{"repository", "repos/acme/site/actions", "secrets", `repository permission "Secrets: read and write"`},
		{"environment:prod", "repos/acme/site/environments/prod", "environments", `repository permission "Environments: read and write"`},
		{"organization:acme", "orgs/acme/actions", "organization_secrets", `organization permission "Secrets: read and write"`},
		{"dependabot/repository", "repos/acme/site/dependabot", "dependabot_secrets",
			`repository permission "Dependabot secrets: read and write"`},
		{"dependabot/organization:acme", "orgs/acme/dependabot", "organization_dependabot_secrets",
			`organization permission "Organization dependabot secrets: read and write"`},
		{"codespaces/repository", "repos/acme/site/codespaces", "codespaces_secrets",
			`repository permission "Codespaces secrets: read and write"`},
		{"codespaces/organization:acme", "orgs/acme/codespaces", "organization_codespaces_secrets",
			`organization permission "Organization codespaces secrets: read and write"`},
	}
}

func (k kind) ofOrganization() bool { return strings.HasPrefix(k.place, "orgs/") }

// hostileNames are environments whose names mean something in a URL.
func hostileNames() []string {
	return []string{
		"prod", "prod/eu", "a?b=c", "a#b", "50%", "%2F", "two words", "a  b", "a+b&c;d:e", "../site", "a\\b", "ümlaut/日本", "a/./b", "//", `"'<>`, "public-key",
	}
}

// writerAs makes a writer with another token.
func (w *world) writerAs(t *testing.T, token opaque.Secret) *secret.Writer {
	t.Helper()
	return newWriter(t, w.config(t, token))
}

func (w *world) config(t *testing.T, token opaque.Secret) github.Config {
	t.Helper()
	return github.Config{
		APIURL: w.github.URL(), Token: token, Transport: newTransport(t), UserAgent: "pageflare-test",
		Now: w.clock.Now, Rand: zero{}, Sleep: w.clock.Sleep,
	}
}

// newTransport makes one with connections of its own.
func newTransport(t *testing.T) *http.Transport {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func newWriter(t *testing.T, cfg github.Config) *secret.Writer {
	t.Helper()
	w, err := secret.NewWriter(writerConfig(cfg))
	if err != nil {
		t.Fatalf("NewWriter: %v", err)
	}
	return w
}

func writerConfig(cfg github.Config) secret.WriterConfig {
	return secret.WriterConfig{API: cfg, Repo: github.Repo{Owner: "acme", Name: "site"}, Rand: rand.Reader}
}

// target makes the target of a spelling.
func target(t *testing.T, spelled string) secret.Target {
	t.Helper()
	targets, err := secret.ParseTargets(spelled)
	if err != nil || len(targets) != 1 {
		t.Fatalf("ParseTargets(%q) = %v, %v, want one", spelled, targets, err)
	}
	return targets[0]
}

func (w *world) write(t *testing.T) (secret.Outcome, error) { return w.writeIn(t, t.Context()) }

func (w *world) writeIn(t *testing.T, ctx context.Context) (secret.Outcome, error) {
	t.Helper()
	return w.writer.Write(ctx, target(t, "repository"), name, value)
}

// asked gives the requests that were answered, short: "GET public-key 200".
func (w *world) asked() []string {
	const store = "/repos/acme/site/actions/secrets/"
	var out []string
	for _, r := range w.github.Requests() {
		path := r.Path
		if len(path) > len(store) && path[:len(store)] == store {
			path = path[len(store):]
		}
		out = append(out, fmt.Sprintf("%s %s %d", r.Method, path, r.Status))
	}
	return out
}

// clock stands still but for Sleep. It starts at the real time, in whole seconds, because deadlines of contexts are real.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration

	onSleep func() // optional
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.slept = append(c.slept, d)
	if c.onSleep != nil {
		c.onSleep()
	}
	return ctx.Err()
}

// zero is randomness that adds nothing to a wait.
type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
