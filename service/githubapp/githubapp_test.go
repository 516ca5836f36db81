package githubapp_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
)

// world is an App registry on a database of its own, beside a fake GitHub.
type world struct {
	*githubapp.Registry
	store  *store.Store
	cfg    githubapp.Config
	github *githubtest.Server
	ahead  *atomic.Int64
}

func newWorld(t *testing.T, change func(*githubapp.Config)) *world {
	t.Helper()
	ctx := t.Context()
	s, err := store.Open(ctx, sqlitetest.New(t))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	master, err := keyring.NewMasterKey(rand.Reader)
	must(t, err)
	w := &world{store: s, ahead: &atomic.Int64{}}
	now := func() time.Time {
		return time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC).Add(time.Duration(w.ahead.Load()))
	}
	key, err := master.Derive("audit log")
	must(t, err)
	log, err := audit.NewLog(ctx, s, key, now)
	must(t, err)
	w.github = githubtest.Start(t, githubtest.Config{Now: now})
	w.cfg = githubapp.Config{
		Store: s, Master: master, Log: log, PublicURL: "http://127.0.0.1:8080", Now: now, Rand: rand.Reader,
		GitHub: github.Config{
			APIURL: w.github.URL(), Transport: &http.Transport{DisableKeepAlives: true}, UserAgent: "test", Now: now, Rand: rand.Reader, Attempts: 1,
		},
	}
	if change != nil {
		change(&w.cfg)
	}
	w.Registry, err = githubapp.New(w.cfg)
	must(t, err)
	return w
}

// make makes an App as a browser would, and returns it.
func (w *world) make(t *testing.T, ask githubapp.Ask) githubapp.App {
	t.Helper()
	form, err := w.Form(ask, "http://127.0.0.1:9/done", "state")
	must(t, err)
	a, err := w.Convert(t.Context(), ask, w.github.PostManifest(t, form.Action, form.Manifest))
	must(t, err)
	return a
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWithoutAnAppNothingIsExpected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, err := w.Installations(t.Context())
	if !errors.Is(err, failure.ErrNotFound) || !strings.Contains(err.Error(), "github-app create") {
		t.Errorf("Installations = %v, want ErrNotFound and what to do", err)
	}
	if secrets, err := w.WebhookSecrets(t.Context()); err != nil || len(secrets) != 0 {
		t.Errorf("WebhookSecrets = %d, %v, want none", len(secrets), err)
	}
}

func TestAnAppThatWasMadeIsUsedByAllWithinASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	other, err := githubapp.New(w.cfg) // another replica
	must(t, err)
	_, err = other.Installations(t.Context())
	if !errors.Is(err, failure.ErrNotFound) {
		t.Fatalf("Installations = %v", err)
	}
	made := w.make(t, githubapp.Ask{Organization: "acme"})
	if made.Owner != "acme" || made.Slug == "" {
		t.Errorf("made %+v", made)
	}
	w.ahead.Add(int64(time.Second))
	for name, r := range map[string]*githubapp.Registry{"the one that made it": w.Registry, "the other": other} {
		clients, err := r.Installations(t.Context())
		must(t, err)
		again, err := r.Installations(t.Context())
		must(t, err)
		if clients != again {
			t.Errorf("%s: other clients each time: their tokens would never be used again", name)
		}
		secrets, err := r.WebhookSecrets(t.Context())
		if err != nil || len(secrets) != 1 || secrets[0] != made.WebhookSecret {
			t.Errorf("%s: WebhookSecrets = %d, %v", name, len(secrets), err)
		}
		api, err := clients.AsApp()
		must(t, err)
		var found struct{ ID int64 }
		_, err = api.Call(t.Context(), http.MethodGet, "app", nil, &found)
		if err != nil || found.ID != made.ID {
			t.Errorf("%s: GET /app = %d, %v, want %d", name, found.ID, err, made.ID)
		}
	}
	lines, err := w.cfg.Log.Lines(t.Context(), audit.Query{Action: audit.AppConnected, Limit: 9})
	if err != nil || len(lines) != 1 || strings.Contains(lines[0].Details, "pem") {
		t.Errorf("audit log = %+v, %v", lines, err)
	}
	sealed, err := w.store.GitHubApp(t.Context())
	must(t, err)
	for name, stored := range map[string]string{"key": string(sealed.SealedKey), "secret": string(sealed.SealedWebhook)} {
		if strings.Contains(stored, "BEGIN") || strings.Contains(stored, made.WebhookSecret.Reveal()) {
			t.Errorf("the %s is stored bare", name)
		}
	}
}

// The settings take precedence, and then nothing of the database counts.
func TestTheAppOfTheSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.make(t, githubapp.Ask{})
	given := w.cfg
	given.Given = githubapp.Given{ID: "4711", Key: opaque.Secret(githubtest.PEM(githubtest.AppKey()))}
	r, err := githubapp.New(given)
	must(t, err)
	clients, err := r.Installations(t.Context())
	must(t, err)
	if got := clients.App().String(); got != "GitHub App 4711" {
		t.Errorf("App = %s", got)
	}
	if secrets, err := r.WebhookSecrets(t.Context()); err != nil || len(secrets) != 0 {
		t.Errorf("WebhookSecrets = %d, %v, want none: that of the database is of another App", len(secrets), err)
	}
	given.Given.Secrets = []opaque.Secret{"new", "old"}
	r, err = githubapp.New(given)
	must(t, err)
	if secrets, err := r.WebhookSecrets(t.Context()); err != nil || len(secrets) != 2 || secrets[0] != "new" {
		t.Errorf("WebhookSecrets = %d, %v, want those of the settings, newest first", len(secrets), err)
	}
	if err := r.Check(t.Context(), githubapp.Ask{}); !errors.Is(err, failure.ErrInvalid) {
		t.Errorf("Check = %v, want that the settings would win over a new App", err)
	}
	given.Given = githubapp.Given{ID: "4711", Key: "not a key"}
	_, err = githubapp.New(given)
	if fault, ok := errors.AsType[*github.AppError](err); !ok || fault.Key == nil {
		t.Errorf("New(no key) = %v", err)
	}
}

func TestASecondAppIsMadeOnPurposeAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.make(t, githubapp.Ask{})
	err := w.Check(t.Context(), githubapp.Ask{})
	if !errors.Is(err, failure.ErrConflict) || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("Check = %v, want ErrConflict and --replace", err)
	}
	before, err := w.Installations(t.Context())
	must(t, err)
	second := w.make(t, githubapp.Ask{Replace: true})
	after, err := w.Installations(t.Context())
	must(t, err)
	if second.ID == first.ID || before == after {
		t.Errorf("the App is %d after %d, the same clients: %t", second.ID, first.ID, before == after)
	}
}

func TestALinkMakesOneApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	link, ends, err := w.CreateSetup(t.Context(), githubapp.Ask{Organization: "acme"})
	must(t, err)
	u, err := url.Parse(link.Reveal())
	must(t, err)
	secret := u.Query().Get("link")
	if u.Path != githubapp.SetupPath || !opaque.SetupLink.Fits(secret) || ends.Sub(w.cfg.Now()) != githubapp.SetupTTL {
		t.Fatalf("link %s until %s", u.Path, ends)
	}
	for range 2 { // a preview of the link uses nothing up
		_, err = w.OpenSetup(t.Context(), secret)
		must(t, err)
	}
	form, err := w.OpenSetup(t.Context(), secret)
	must(t, err)
	code := w.github.PostManifest(t, form.Action, form.Manifest)
	action, err := url.Parse(form.Action)
	must(t, err)
	state := action.Query().Get("state")
	if state == "" || strings.Contains(form.Action+form.Manifest, secret) {
		t.Errorf("state %q; GitHub must not get the secret of the link", state)
	}
	for name, state := range map[string]string{"none": "", "another": "x", "that of another link": githubapp.State("pf_gs_x")} {
		if _, err := w.FinishSetup(t.Context(), state, code); !errors.Is(err, githubapp.ErrLink) {
			t.Errorf("FinishSetup(state: %s) = %v, want ErrLink", name, err)
		}
	}
	if _, err = w.FinishSetup(t.Context(), state, code); err != nil {
		t.Fatal(err)
	}
	if _, err := w.FinishSetup(t.Context(), state, code); !errors.Is(err, githubapp.ErrLink) {
		t.Errorf("FinishSetup(used) = %v, want ErrLink", err)
	}
	if _, err := w.OpenSetup(t.Context(), secret); !errors.Is(err, githubapp.ErrLink) {
		t.Errorf("OpenSetup(used) = %v, want ErrLink", err)
	}
	late, _, err := w.CreateSetup(t.Context(), githubapp.Ask{Replace: true})
	must(t, err)
	w.ahead.Add(int64(githubapp.SetupTTL))
	_, text, _ := strings.Cut(late.Reveal(), "link=")
	if _, err := w.OpenSetup(t.Context(), text); !errors.Is(err, githubapp.ErrLink) {
		t.Errorf("OpenSetup(expired) = %v, want ErrLink", err)
	}
}

func TestACodeThatIsNotGoodMakesNoApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	form, err := w.Form(githubapp.Ask{Organization: "other"}, "http://127.0.0.1:9/done", "state")
	must(t, err)
	foreign := w.github.PostManifest(t, form.Action, form.Manifest)
	for name, c := range map[string]struct{ code, want string }{
		"not a code":              {"../app", "not a code"},
		"unknown":                 {"0123456789abcdef", "does not know that code"},
		"an App of somebody else": {foreign, `belongs to "other" and not to acme`},
	} {
		_, err := w.Convert(t.Context(), githubapp.Ask{Organization: "acme"}, c.code)
		if !errors.Is(err, failure.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Convert = %v, want %q", name, err, c.want)
		}
	}
	if _, err := w.Convert(t.Context(), githubapp.Ask{Organization: "acme"}, foreign); err == nil || !strings.Contains(err.Error(), "does not know that code") {
		t.Errorf("Convert(used) = %v", err)
	}
	if _, err := w.Stored(t.Context()); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("Stored = %v, want none", err)
	}
	w.github.FailNext("POST /conversions", githubtest.Fault{Status: http.StatusBadGateway})
	if _, err := w.Convert(t.Context(), githubapp.Ask{}, "0123456789abcdef"); !errors.As(err, new(*github.Error)) {
		t.Errorf("Convert(GitHub down) = %v, want its error", err)
	}
}

func TestTheManifestAsksForTheLeast(t *testing.T) {
	t.Parallel()
	organization := githubapp.Permissions(githubapp.Ask{Organization: "acme", Stores: []string{"dependabot"}})
	person := githubapp.Permissions(githubapp.Ask{Stores: []string{"codespaces"}})
	for name, want := range map[string]string{
		"metadata": "read", "actions": "read", "secrets": "write", "environments": "write", "secret_scanning_alerts": "write",
		"organization_secrets": "write", "dependabot_secrets": "write", "organization_dependabot_secrets": "write",
	} {
		if organization[name] != want {
			t.Errorf("%s = %q, want %s", name, organization[name], want)
		}
	}
	for name := range person {
		if strings.HasPrefix(name, "organization_") {
			t.Errorf("the App of a person asks for %s", name)
		}
	}
	if len(organization) != 8 || len(person) != 6 || person["codespaces_secrets"] != "write" {
		t.Errorf("permissions: %v, %v", organization, person)
	}
}

func TestGitHubMustReachTheService(t *testing.T) {
	t.Parallel()
	const hosted, own = "https://api.github.com", "https://ghe.example/api/v3"
	for _, c := range []struct {
		public, api string
		good        bool
	}{
		{"https://license.example.com", hosted, true},
		{"https://license.example.com:8443", hosted, true},
		{"https://192.0.2.7", hosted, true},
		{"https://license.example.com", "https://api.acme.ghe.com", true},
		{"", hosted, false},
		{"http://license.example.com", hosted, false},
		{"https://localhost", hosted, false},
		{"https://127.0.0.1", hosted, false},
		{"https://10.0.0.7", hosted, false},
		{"https://[fd00::7]", hosted, false},
		{"https://license", hosted, false},
		{"https://license.internal", "https://api.acme.ghe.com", false},
		{"https://license.internal", own, true},
		{"https://10.0.0.7", own, true},
		{"http://10.0.0.7", own, false},
		{"http://127.0.0.1:8080", own, false},
		{"http://127.0.0.1:8080", "http://127.0.0.1:1", true},
	} {
		r, err := githubapp.New(githubapp.Config{
			Store: none{}, PublicURL: c.public, GitHub: github.Config{APIURL: c.api}, Now: time.Now,
		})
		must(t, err)
		err = r.Check(t.Context(), githubapp.Ask{})
		if (err == nil) != c.good || err != nil && !errors.Is(err, failure.ErrInvalid) {
			t.Errorf("%q for %s: %v, want good = %t", c.public, c.api, err, c.good)
		}
		if err != nil && !strings.Contains(err.Error(), "LICENSE_PUBLIC_URL") {
			t.Errorf("%q: %v does not name the setting", c.public, err)
		}
	}
}

// none is a database without an App.
type none struct{ githubapp.Store }

func (none) GitHubApp(context.Context) (githubapp.SealedApp, error) {
	return githubapp.SealedApp{}, failure.ErrNotFound
}

func TestWebURL(t *testing.T) {
	t.Parallel()
	for api, want := range map[string]string{
		"https://api.github.com": "https://github.com", "https://api.acme.ghe.com": "https://acme.ghe.com",
		"https://ghe.example/api/v3": "https://ghe.example", "https://api.corp.example/api/v3": "https://api.corp.example",
		"http://127.0.0.1:81": "http://127.0.0.1:81", "api": "",
	} {
		if got, err := githubapp.WebURL(api); got != want || (err == nil) != (want != "") {
			t.Errorf("WebURL(%s) = %q, %v, want %q", api, got, err, want)
		}
	}
}

func TestAnAskThatMakesNoSense(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, ask := range []githubapp.Ask{
		{Organization: "../x"}, {Organization: "a b"}, {Organization: "-x"}, {Name: strings.Repeat("n", 35)}, {Stores: []string{"actions"}},
	} {
		if err := w.Check(t.Context(), ask); !errors.Is(err, failure.ErrInvalid) {
			t.Errorf("Check(%+v) = %v, want ErrInvalid", ask, err)
		}
	}
}
