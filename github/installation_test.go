package github_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
)

func TestOneGrantIsOneTokenWhileItIsGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	i := w.installations(t, newApp(t, githubtest.PEM(githubtest.AppKey())))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := i.Client(t.Context(), ofSite()); err != nil {
				t.Errorf("Client = %v", err)
			}
		})
	}
	all.Wait()
	if n := len(w.github.Mints()); n != 1 {
		t.Errorf("%d tokens for one grant, want 1", n)
	}
	_ = w.Sleep(t.Context(), 50*time.Minute)
	if _, err := i.Client(t.Context(), ofSite()); err != nil || len(w.github.Mints()) != 1 {
		t.Errorf("Client after 50 minutes = %v and %d tokens, want the same one", err, len(w.github.Mints()))
	}
	_ = w.Sleep(t.Context(), 6*time.Minute)
	if _, err := i.Client(t.Context(), ofSite()); err != nil || len(w.github.Mints()) != 2 {
		t.Errorf("Client after 56 minutes = %v and %d tokens, want another", err, len(w.github.Mints()))
	}
}

func TestAGrantThatIsNotGivenIsAFact(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		grant github.Grant
		kind  github.Kind
		needs string
	}{
		"a permission that is not there": {github.Grant{Repo: github.Repo{Owner: "acme", Name: "site"}, Permissions: map[string]string{"actions": "read"}},
			github.NotGranted, "actions=read"},
		"a permission to read alone": {github.Grant{Repo: github.Repo{Owner: "acme", Name: "site"}, Permissions: map[string]string{"secrets": "write", "environments": "write"}},
			github.NotGranted, "environments=write"},
		"another account": {github.Grant{Organization: "other", Permissions: map[string]string{"organization_secrets": "write"}}, github.NotInstalled, ""},
	} {
		w := newWorld(t, func(c *githubtest.Config) { c.Organizations = []string{"other"} })
		_, err := w.installations(t, newApp(t, githubtest.PEM(githubtest.AppKey()))).Client(t.Context(), tc.grant)
		var got *github.Error
		if !errors.As(err, &got) || got.Kind != tc.kind || got.Needed != tc.needs || len(w.github.Mints()) != 0 {
			t.Errorf("Client, %s = %v, want kind %d that needs %q", about, err, tc.kind, tc.needs)
		}
	}
}

func TestAnAppNeedsNoTokenBeside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	app := newApp(t, githubtest.PEM(githubtest.AppKey()))
	if _, err := github.NewInstallations(w.config(t, goodToken), app); err == nil {
		t.Error("NewInstallations(a token, too) = nil, want an error")
	}
	if _, err := github.NewInstallations(w.config(t, ""), nil); err == nil {
		t.Error("NewInstallations(no App) = nil, want an error")
	}
}

// The App itself may look at what no installation may.
func TestAClientAsTheApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, err := w.installations(t, newApp(t, githubtest.PEM(githubtest.AppKey()))).AsApp()
	if err != nil {
		t.Fatal(err)
	}
	var found struct{ ID int64 }
	_, err = c.Call(t.Context(), http.MethodGet, "repos/acme/site/installation", nil, &found)
	if err != nil || found.ID != 99 {
		t.Errorf("the installation of acme/site = %v, %v, want 99", found, err)
	}
}
