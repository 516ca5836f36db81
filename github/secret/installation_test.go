package secret_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/opaque"
)

// appWorld is a world with a GitHub App that is installed in the organization acme, for acme/site.
type appWorld struct {
	*world
	app *github.App
}

// newAppWorld lets spoil change what the App is to GitHub.
func newAppWorld(t *testing.T, spoil func(*githubtest.App)) *appWorld {
	t.Helper()
	c := newClock()
	return newAppWorldAt(t, c, c.Now, spoil)
}

// newAppWorldAt has a clock of its own for GitHub.
func newAppWorldAt(t *testing.T, c *clock, github func() time.Time, spoil func(*githubtest.App)) *appWorld {
	t.Helper()
	cfg := githubConfig(c)
	cfg.Now = github
	app := githubtest.App{
		ID: 12345, ClientID: "Iv1.0123456789abcdef", Key: &githubtest.AppKey().PublicKey,
		Installations: []githubtest.Installation{
			{ID: 99, Account: "acme", Repositories: []string{"acme/site"}, Permissions: every("write")},
			{ID: 98, Account: "other", Permissions: every("write")},
		},
	}
	if spoil != nil {
		spoil(&app)
	}
	cfg.Apps = []githubtest.App{app}
	w := &appWorld{world: &world{clock: c, github: githubtest.Start(t, cfg)}}
	w.app = newApp(t, "12345", githubtest.PEM(githubtest.AppKey()))
	return w
}

func newApp(t *testing.T, id, key string) *github.App {
	t.Helper()
	app, err := github.ParseApp(id, opaque.Secret(key))
	if err != nil {
		t.Fatalf("ParseApp(%s) = %v", id, err)
	}
	return app
}

func (w *appWorld) appWriter(t *testing.T) *secret.Writer {
	t.Helper()
	cfg := writerConfig(w.config(t, ""))
	cfg.App, cfg.RepoID = w.app, 7
	writer, err := secret.NewWriter(cfg)
	if err != nil {
		t.Fatalf("NewWriter: %v", err)
	}
	return writer
}

func TestAnAppWritesEachKindWithATokenForThatAlone(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"12345", "Iv1.0123456789abcdef"} {
		for _, k := range kinds() {
			w := newAppWorld(t, nil)
			w.app = newApp(t, id, githubtest.PEM(githubtest.AppKey()))
			writer := w.appWriter(t)
			if got, err := writer.Write(t.Context(), target(t, k.target), name, value); err != nil || got != secret.Created {
				t.Fatalf("Write(%s) = %v, %v, want created", k.target, got, err)
			}
			if err := writer.Close(t.Context()); err != nil {
				t.Errorf("Close = %v", err)
			}
			w.github.WantRevoked(t, 1)
			mint := w.github.Mints()[0]
			if diff := cmp.Diff(map[string]string{k.permission: "write"}, mint.Permissions); diff != "" {
				t.Errorf("permissions of the token for %s (-want +got):\n%s", k.target, diff)
			}
			if diff := cmp.Diff([]string{"acme/site"}, mint.Repositories); diff != "" {
				t.Errorf("repositories of the token for %s (-want +got):\n%s", k.target, diff)
			}
		}
	}
}

// The token for an organization is as wide as the installation, since it must see every repository that may read the secret.
func TestTheTokenIsForOneRepositoryUnlessItIsForAnOrganization(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		w := newAppWorld(t, func(a *githubtest.App) { a.Installations[0].Repositories = nil })
		writer := w.appWriter(t)
		if _, err := writer.Write(t.Context(), target(t, k.target), name, value); err != nil {
			t.Fatalf("Write(%s) = %v", k.target, err)
		}
		want := []string{"acme/site"}
		if k.ofOrganization() {
			want = nil
		}
		if diff := cmp.Diff(want, w.github.Mints()[0].Repositories); diff != "" {
			t.Errorf("repositories of the token for %s (-want +got):\n%s", k.target, diff)
		}
	}
}

func TestSeveralTargetsShareAnInstallationAndEachTokenIsRevoked(t *testing.T) {
	t.Parallel()
	w := newAppWorld(t, nil)
	w.github.SetSecret("orgs/other/actions", name, "old", githubtest.Access{Visibility: "all"})
	writer := w.appWriter(t)
	for _, spelled := range []string{"repository", "environment:prod/eu", "organization:acme", "organization:other"} {
		if _, err := writer.Write(t.Context(), target(t, spelled), name, value); err != nil {
			t.Errorf("Write(%s) = %v", spelled, err)
		}
	}
	if err := writer.Close(t.Context()); err != nil {
		t.Errorf("Close = %v", err)
	}
	w.github.WantRevoked(t, 4)
	var lookups []string
	for _, r := range w.github.Requests() {
		if strings.HasSuffix(r.Path, "/installation") {
			lookups = append(lookups, r.Path)
		}
	}
	want := []string{"/repos/acme/site/installation", "/orgs/acme/installation", "/orgs/other/installation"}
	if diff := cmp.Diff(want, lookups); diff != "" {
		t.Errorf("lookups of installations (-want +got):\n%s", diff)
	}
}

func TestATokenIsRevokedAfterAFailureAndACancellationToo(t *testing.T) {
	t.Parallel()
	w := newAppWorld(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	w.github.FailNext("PUT /"+name, githubtest.Fault{Status: 422, OnArrive: cancel})
	writer := w.appWriter(t)
	if _, err := writer.Write(ctx, target(t, "repository"), name, value); err == nil {
		t.Error("Write = nil, want an error")
	}
	if err := writer.Close(ctx); err != nil {
		t.Errorf("Close(after a cancellation) = %v", err)
	}
	w.github.WantRevoked(t, 1)
}

func TestARevocationThatFailsIsTold(t *testing.T) {
	t.Parallel()
	w := newAppWorld(t, nil)
	writer := w.appWriter(t)
	if _, err := writer.Write(t.Context(), target(t, "repository"), name, value); err != nil {
		t.Fatal(err)
	}
	w.github.FailNext("DELETE /installation/token", githubtest.Fault{Status: 403})
	err := writer.Close(t.Context())
	if err == nil || !strings.Contains(err.Error(), "revoke the installation tokens of the GitHub App 12345: 1 of 1 failed") ||
		!strings.Contains(err.Error(), "end by themselves within the hour") {
		t.Errorf("Close = %v, want the failure", err)
	}
}

// threeTokens writes with an App to three targets, side by side.
func threeTokens(t *testing.T) (*appWorld, *secret.Writer) {
	t.Helper()
	w := newAppWorld(t, nil)
	writer := w.appWriter(t)
	var all sync.WaitGroup
	for _, spelled := range []string{"repository", "environment:prod", "dependabot/repository"} {
		all.Go(func() {
			if _, err := writer.Write(t.Context(), target(t, spelled), name, value); err != nil {
				t.Errorf("Write(%s) = %v", spelled, err)
			}
		})
	}
	all.Wait()
	return w, writer
}

func TestTargetsThatAreWrittenSideBySideAskOnceForTheInstallation(t *testing.T) {
	t.Parallel()
	w, writer := threeTokens(t)
	if err := writer.Close(t.Context()); err != nil {
		t.Errorf("Close = %v", err)
	}
	w.github.WantRevoked(t, 3)
	lookups := 0
	for _, r := range w.github.Requests() {
		if strings.HasSuffix(r.Path, "/installation") {
			lookups++
		}
	}
	if lookups != 1 {
		t.Errorf("%d lookups, want 1", lookups)
	}
}

func TestARevocationThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w, writer := threeTokens(t)
	others := make(chan struct{})
	w.github.FailNext("DELETE /installation/token", githubtest.Fault{Hold: others})
	w.github.FailNext("DELETE /installation/token", githubtest.Fault{})
	w.github.FailNext("DELETE /installation/token", githubtest.Fault{OnArrive: func() { close(others) }})
	if err := writer.Close(t.Context()); err != nil {
		t.Errorf("Close = %v, want the first to be answered after the others came", err)
	}
	w.github.WantRevoked(t, 3)
}

func TestRevocationsThatFailAreToldOnce(t *testing.T) {
	t.Parallel()
	w, writer := threeTokens(t)
	w.github.FailNext("DELETE /installation/token", githubtest.Fault{Status: 403, Times: 3})
	err := writer.Close(t.Context())
	if err == nil || !strings.Contains(err.Error(), "3 of 3 failed") || strings.Count(err.Error(), "12345") != 1 || strings.Contains(err.Error(), "\n") {
		t.Errorf("Close = %v, want one line for all", err)
	}
}

func TestATokenThatHasEndedNeedsNoRevocation(t *testing.T) {
	t.Parallel()
	w := newAppWorld(t, nil)
	writer := w.appWriter(t)
	if _, err := writer.Write(t.Context(), target(t, "repository"), name, value); err != nil {
		t.Fatal(err)
	}
	w.github.FailNext("DELETE /installation/token", githubtest.Fault{Status: 401})
	if err := writer.Close(t.Context()); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
}

func TestAClockThatIsWrongIsSetByGitHubsAnswer(t *testing.T) {
	t.Parallel()
	for about, skew := range map[string]time.Duration{
		"an hour behind": time.Hour, "an hour ahead": -time.Hour, "a year behind": 365 * 24 * time.Hour, "two minutes ahead": -2 * time.Minute,
		"ten minutes behind": 10 * time.Minute,
	} {
		c := newClock()
		w := newAppWorldAt(t, c, func() time.Time { return c.Now().Add(skew) }, nil)
		writer := w.appWriter(t)
		for _, spelled := range []string{"repository", "environment:prod"} {
			if _, err := writer.Write(t.Context(), target(t, spelled), name, value); err != nil {
				t.Errorf("Write(%s), %s = %v", spelled, about, err)
			}
		}
		refused := 0
		for _, r := range w.github.Requests() {
			if r.Status == 401 {
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("%s: %d refusals, want 1: the correction is kept", about, refused)
		}
	}
}

func TestAClockThatIsALittleWrongIsTaken(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-50 * time.Second, 0, 50 * time.Second} {
		c := newClock()
		w := newAppWorldAt(t, c, func() time.Time { return c.Now().Add(skew) }, nil)
		if _, err := w.appWriter(t).Write(t.Context(), target(t, "repository"), name, value); err != nil {
			t.Errorf("Write with a clock that is %s off = %v", skew, err)
		}
		want := []string{"GET /repos/acme/site/installation 200", "POST /app/installations/99/access_tokens 201", "GET public-key 200", "PUT PAGEFLARE_TOKEN 201"}
		if diff := cmp.Diff(want, w.asked()); diff != "" {
			t.Errorf("requests with a clock that is %s off (-want +got):\n%s", skew, diff)
		}
	}
}

func TestAPermissionThatIsMissingStopsItsTargetAlone(t *testing.T) {
	t.Parallel()
	w := newAppWorld(t, func(a *githubtest.App) { a.Installations[0].Permissions = map[string]string{"secrets": "write"} })
	writer := w.appWriter(t)
	if _, err := writer.Write(t.Context(), target(t, "codespaces/repository"), name, value); err == nil {
		t.Error("Write(codespaces/repository) = nil, want an error")
	}
	if _, err := writer.Write(t.Context(), target(t, "repository"), name, value); err != nil {
		t.Errorf("Write(repository) = %v", err)
	}
}

func TestAnAppAndATokenTogetherAreRefused(t *testing.T) {
	t.Parallel()
	w := newAppWorld(t, nil)
	cfg := writerConfig(w.config(t, goodToken))
	cfg.App = w.app
	if _, err := secret.NewWriter(cfg); err == nil || !strings.Contains(err.Error(), "not both") {
		t.Errorf("NewWriter(both) = %v, want an error", err)
	}
	if _, err := secret.NewWriter(secret.WriterConfig{App: w.app}); err == nil {
		t.Error("NewWriter(nothing but an App) = nil, want an error")
	}
}

// Every way to fail: no error may tell the key, the JWT or the installation token.
func TestNoErrorTellsWhatAnAppKnows(t *testing.T) {
	t.Parallel()
	for _, request := range []string{
		"GET /repos/acme/site/installation", "POST /app/installations/99/access_tokens", "GET /public-key", "PUT /" + name, "DELETE /installation/token",
	} {
		for about, fault := range map[string]githubtest.Fault{
			"a broken connection": {CloseConnection: true, Times: -1},
			"an answer cut off":   {Truncate: true, Times: -1},
			"HTML":                {Status: 200, Body: "<html>", Times: -1},
			"400":                 {Status: 400, Times: -1}, "401": {Status: 401, Times: -1}, "403": {Status: 403, Times: -1}, "404": {Status: 404, Times: -1},
			"422": {Status: 422, Times: -1}, "429": {Status: 429, Times: -1}, "500": {Status: 500, Times: -1},
		} {
			t.Run(about+" on "+request, func(t *testing.T) {
				t.Parallel()
				w := newAppWorld(t, nil)
				w.github.FailNext(request, fault)
				writer := w.appWriter(t)
				_, err := writer.Write(t.Context(), target(t, "repository"), name, value)
				err = errors.Join(err, writer.Close(t.Context()))
				bodiless := about == "an answer cut off" && (strings.HasPrefix(request, "PUT") || strings.HasPrefix(request, "DELETE"))
				ended := strings.HasPrefix(request, "DELETE") && (about == "401" || about == "HTML")
				if (err == nil) != (bodiless || ended) {
					t.Fatalf("Write and Close = %v", err)
				}
				text := fmt.Sprintf("%v %+v %#v", err, err, err)
				secrets := []string{value, "eyJ", "BEGIN", githubtest.AppKey().D.Text(16)}
				for _, m := range w.github.Mints() {
					secrets = append(secrets, m.Token)
				}
				for _, s := range secrets {
					if strings.Contains(text, s) {
						t.Errorf("the error tells a secret (%.10s…): %s", s, text)
					}
				}
			})
		}
	}
}
