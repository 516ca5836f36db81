package github_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/opaque"
)

const goodToken = "token-of-the-test"

// world is a fake GitHub with the repository acme/site and a GitHub App installed there, and a clock
// that only sleeping moves.
type world struct {
	github *githubtest.Server

	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

// newWorld lets spoil change what GitHub has; nil changes nothing.
func newWorld(t *testing.T, spoil func(*githubtest.Config)) *world {
	t.Helper()
	w := &world{now: time.Now().Truncate(time.Second)} // deadlines of contexts are real
	cfg := githubtest.Config{
		Now:          w.Now,
		Repositories: []githubtest.Repository{{ID: 7, Owner: "acme", OwnerID: 70, Name: "site", FormerNames: []string{"acme/old"}}},
		Tokens:       []githubtest.Token{{Value: goodToken, Permissions: map[string]string{"secrets": "write"}}},
		Apps: []githubtest.App{{ID: 12345, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: 99, Account: "acme", Permissions: map[string]string{"secrets": "write", "environments": "read"}},
		}}},
	}
	if spoil != nil {
		spoil(&cfg)
	}
	w.github = githubtest.Start(t, cfg)
	return w
}

// Now is the time of the clock.
func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Sleep moves the clock.
func (w *world) Sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.slept = w.now.Add(d), append(w.slept, d)
	return ctx.Err()
}

func (w *world) config(t *testing.T, token opaque.Secret) github.Config {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return github.Config{
		APIURL: w.github.URL(), Token: token, Transport: transport, UserAgent: "pageflare-test",
		Now: w.Now, Rand: zero{}, Sleep: w.Sleep,
	}
}

func (w *world) client(t *testing.T, token opaque.Secret) *github.Client {
	t.Helper()
	c, err := github.New(w.config(t, token))
	if err != nil {
		t.Fatalf("New = %v", err)
	}
	return c
}

func (w *world) installations(t *testing.T, app *github.App) *github.Installations {
	t.Helper()
	i, err := github.NewInstallations(w.config(t, ""), app)
	if err != nil {
		t.Fatalf("NewInstallations = %v", err)
	}
	return i
}

func newApp(t *testing.T, key string) *github.App {
	t.Helper()
	app, err := github.ParseApp("12345", opaque.Secret(key))
	if err != nil {
		t.Fatalf("ParseApp = %v", err)
	}
	return app
}

// ofSite is what is asked of the installation for acme/site.
func ofSite() github.Grant {
	return github.Grant{Repo: github.Repo{Owner: "acme", Name: "site"}, RepoID: 7, Permissions: map[string]string{"secrets": "write"}}
}

// zero is randomness that adds nothing to a wait.
type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
