package secret_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

// appWorld is a world with a GitHub App that is installed in the organization acme, for acme/site.
type appWorld struct {
	*world
	app *secret.App
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
		ID: 12345, ClientID: "Iv1.0123456789abcdef", Key: &appKey().PublicKey,
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
	w.app = newApp(t, "12345", pkcs1(appKey()))
	return w
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
			w.app = newApp(t, id, pkcs1(appKey()))
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

func TestAClockThatStaysWrongIsCorrectedOnceOnly(t *testing.T) {
	t.Parallel()
	w := newAppWorld(t, nil)
	w.github.FailNext("GET /repos/acme/site/installation", githubtest.Fault{
		Status: 401, Times: -1, Body: `{"message":"'Expiration time' claim ('exp') is too far in the future"}`,
	})
	_, err := w.appWriter(t).Write(t.Context(), target(t, "repository"), name, value)
	if err == nil || !strings.Contains(err.Error(), "check the clock of this runner") || len(w.asked()) != 2 {
		t.Errorf("Write = %v after %d requests, want an error after 2", err, len(w.asked()))
	}
}

func TestWhatStopsAnAppSaysItsRemedy(t *testing.T) {
	t.Parallel()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	only := func(permissions map[string]string) func(*githubtest.App) {
		return func(a *githubtest.App) { a.Installations[0].Permissions = permissions }
	}
	for about, tc := range map[string]struct {
		spoil  func(*githubtest.App)
		target string
		status int
		needed string
		want   []string
		calls  int
	}{
		"not installed anywhere": {func(a *githubtest.App) { a.Installations = nil }, "repository", 404, "",
			[]string{"the GitHub App 12345 is not installed in repository acme/site (404)", "install it there and let it reach this repository, or check app-id"}, 1},
		"installed for another repository": {func(a *githubtest.App) { a.Installations[0].Repositories = []string{"acme/open"} }, "environment:prod", 404, "",
			[]string{"is not installed in repository acme/site"}, 1},
		"not installed in the organization": {func(a *githubtest.App) { a.Installations = a.Installations[:1] }, "dependabot/organization:other", 404, "",
			[]string{"is not installed in organization other (404)", "let an owner of the organization install it"}, 1},
		"the key of another App": {func(a *githubtest.App) { a.Key = &other.PublicKey }, "repository", 401, "",
			[]string{"GitHub does not know the key of the GitHub App 12345 (401)", "app-private-key is of another App or was deleted, or app-id is wrong"}, 1},
		"an id of no App": {func(a *githubtest.App) { a.ID = 4 }, "repository", 404, "",
			[]string{"Integration not found", "check app-id"}, 1},
		"a suspended installation": {func(a *githubtest.App) { a.Installations[0].Suspended = true }, "repository", 403, "",
			[]string{"is suspended", "in the settings under GitHub Apps"}, 1},
		"a permission that was not granted": {only(map[string]string{"secrets": "write"}), "dependabot/repository", 0, "dependabot_secrets=write",
			[]string{"does not have dependabot_secrets=write", `give the App the repository permission "Dependabot secrets: read and write"`, "accept the change"}, 1},
		"a permission to read": {only(map[string]string{"environments": "read"}), "environment:prod", 0, "environments=write",
			[]string{"does not have environments=write"}, 1},
		"permissions that the answer leaves out": {only(nil), "organization:acme", 422, "organization_secrets=write",
			[]string{"does not have organization_secrets=write", `organization permission "Secrets: read and write"`}, 2},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newAppWorld(t, tc.spoil)
			_, err := w.appWriter(t).Write(t.Context(), target(t, tc.target), name, value)
			var got *secret.Error
			if !errors.As(err, &got) || got.Status != tc.status || got.Needed != tc.needed {
				t.Fatalf("Write = %+v, want an *Error with status %d that needs %q", err, tc.status, tc.needed)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Write = %v, want %q", err, want)
				}
			}
			if got := len(w.asked()); got != tc.calls {
				t.Errorf("%d requests %q, want %d: none is repeated", got, w.asked(), tc.calls)
			}
			w.github.WantRevoked(t, 0)
		})
	}
}

// What is not known to be the cause is not named as the cause: GitHub's own words are there for that.
func TestRefusalsOfAnAppKeepGitHubsWords(t *testing.T) {
	t.Parallel()
	const lookup, mint = "GET /repos/acme/site/installation", "POST /app/installations/99/access_tokens"
	wrong := []string{"is suspended", "does not have secrets=write", "suspended or blocked"}
	for about, tc := range map[string]struct {
		request string
		status  int
		message string
		needed  string
		want    []string
		wrong   []string
	}{
		"addresses": {lookup, 403, "Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list enabled", "",
			[]string{"GitHub refused the GitHub App 12345 (403): Although you appear", "add the address of this runner to its IP allow list"}, wrong},
		"addresses, later": {mint, 403, "the `acme` organization has an IP allow list enabled", "", []string{"IP allow list enabled; let an owner"}, wrong},
		"a suspension": {mint, 403, "This installation has been suspended", "",
			[]string{"the installation of the GitHub App 12345 is suspended (403): This installation has been suspended; let an owner of the account allow it again"}, nil},
		"a permission": {mint, 403, "Resource not accessible by integration", "administration=read",
			[]string{"(403): Resource not accessible by integration; the App needs administration=read: give it that"}, wrong},
		"another reason": {mint, 403, "Forbidden by a rule\nof the enterprise", "",
			[]string{"GitHub refused the GitHub App 12345 (403): Forbidden by a rule of the enterprise; let an owner of the repository acme/site see"}, wrong},
		"a repository out of reach": {mint, 422, "There is at least one repository that does not exist or is not accessible to the parent installation.", "",
			[]string{"(422): There is at least one repository", "let the installation of the App reach acme/site"}, wrong},
		"a permission that was not granted": {mint, 422, "The permissions requested are not granted to this installation.", "",
			[]string{"does not have secrets=write (422): The permissions requested are not granted to this installation.; give the App the"}, nil},
		"another fault": {mint, 422, strings.Repeat("long ", 100), "", []string{"(422): long long", "…; compare the App's permissions"}, wrong},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newAppWorld(t, nil)
			fault := githubtest.Fault{Status: tc.status, Body: `{"message":` + strconv.Quote(tc.message) + `}`}
			if tc.needed != "" {
				fault.Header = header("X-Accepted-GitHub-Permissions", tc.needed)
			}
			w.github.FailNext(tc.request, fault)
			_, err := w.appWriter(t).Write(t.Context(), target(t, "repository"), name, value)
			var got *secret.Error
			if !errors.As(err, &got) || got.Status != tc.status || tc.needed != "" && got.Needed != tc.needed {
				t.Fatalf("Write = %+v, want an *Error with status %d that needs %q", err, tc.status, tc.needed)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Write = %v, want %q", err, want)
				}
			}
			for _, cause := range tc.wrong {
				if strings.Contains(err.Error(), cause) {
					t.Errorf("Write = %v, want no %q", err, cause)
				}
			}
		})
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

func TestRefusalsOfAnAppsTokenSpeakOfTheApp(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		401: "the token that was made for the GitHub App is no longer good",
		403: `the GitHub App needs secrets=write: give it the repository permission "Secrets: read and write"`,
		404: "let the installation of the GitHub App reach it",
	} {
		w := newAppWorld(t, nil)
		fault := githubtest.Fault{Status: status}
		if status == 403 {
			fault.Body = `{"message":"Resource not accessible by integration"}`
		}
		w.github.FailNext("GET /public-key", fault)
		_, err := w.appWriter(t).Write(t.Context(), target(t, "repository"), name, value)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "GITHUB_TOKEN") {
			t.Errorf("Write(%d) = %v, want %q", status, err, want)
		}
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
				secrets := []string{value, "eyJ", "BEGIN", appKey().D.Text(16)}
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
