package rotation_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/rotation"
)

// change changes the installation of the App in acme.
func (w *world) change(f func(*githubtest.Installation)) {
	w.github.Change(func(c *githubtest.Config) {
		app := c.Apps[0]
		app.Installations = slices.Clone(app.Installations)
		f(&app.Installations[0])
		c.Apps = []githubtest.App{app}
	})
}

// changeSite changes the repository acme/site.
func (w *world) changeSite(f func(*githubtest.Repository)) {
	w.github.Change(func(c *githubtest.Config) {
		c.Repositories = slices.Clone(c.Repositories)
		f(&c.Repositories[0])
	})
}

// What stops the writing to one secret is told with its remedy, waits, and stops no other.
func TestAFailureOfOneSecretStopsNoOther(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		target  string
		breaks  func(*testing.T, *world)
		code    rotation.Code
		remedy  string
		stopped bool
		after   time.Duration // 0: two hours, in which all is forgotten that was found at add
	}{
		"the repository is not chosen": {breaks: func(_ *testing.T, w *world) {
			w.change(func(i *githubtest.Installation) { i.Repositories = []string{"acme/docs"} })
		}, code: rotation.NotInstalled, remedy: "install the App for repository acme/site"},
		"the permission of the target is missing": {target: "environment:prod", breaks: func(_ *testing.T, w *world) {
			w.change(func(i *githubtest.Installation) {
				i.Permissions = rights()
				delete(i.Permissions, "environments")
			})
		}, code: rotation.PermissionMissing, remedy: `"Environments: read and write"`},
		"the environment is gone": {target: "environment:prod", breaks: func(_ *testing.T, w *world) {
			w.changeSite(func(r *githubtest.Repository) { r.Environments = nil })
		}, code: rotation.NoEnvironment, remedy: "never makes one"},
		"the repository is archived": {breaks: func(_ *testing.T, w *world) {
			w.changeSite(func(r *githubtest.Repository) { r.Archived = true })
		}, code: rotation.Archived, remedy: "unarchive"},
		"it was transferred": {breaks: func(_ *testing.T, w *world) {
			w.github.Move(7, "other", 10, "stolen")
		}, code: rotation.OwnerChanged, remedy: "rotation add", stopped: true},
		"it was transferred a moment ago": {after: time.Second, breaks: func(_ *testing.T, w *world) {
			w.github.Move(7, "other", 10, "stolen")
		}, code: rotation.OwnerChanged, remedy: "rotation add", stopped: true},
		"it was transferred, and another took its name": {breaks: func(_ *testing.T, w *world) {
			w.github.Move(7, "other", 10, "stolen")
			w.github.Change(func(c *githubtest.Config) {
				c.Repositories = append(slices.Clone(c.Repositories), githubtest.Repository{ID: 70, Owner: "acme", OwnerID: 9, Name: "site"})
			})
		}, code: rotation.OutOfReach, remedy: "Repository access"},
		"the secrets are refused": {breaks: func(_ *testing.T, w *world) {
			w.github.FailNext("PUT /repos/acme/site/actions/secrets/PAGEFLARE_TOKEN", githubtest.Fault{Status: 422, Times: 1})
		}, code: rotation.Refused},
		"a rule of the organization refuses our address": {breaks: func(_ *testing.T, w *world) {
			w.github.FailNext("PUT /repos/acme/site/actions/secrets/PAGEFLARE_TOKEN", githubtest.Fault{
				Status: 403, Body: `{"message":"Although you appear to have the correct authorization credentials, the organization has an IP allow list enabled"}`,
			})
		}, code: rotation.AddressRefused, remedy: "allowed IP addresses"},
		"a bare 403": {breaks: func(_ *testing.T, w *world) {
			w.github.FailNext("PUT /repos/acme/site/actions/secrets/PAGEFLARE_TOKEN", githubtest.Fault{Status: 403, Body: `{}`})
		}, code: rotation.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			target := test.target
			if target == "" {
				target = "repository"
			}
			if test.after == 0 {
				test.after = 2 * time.Hour
			}
			bad := w.add(t, "acme/site", target)
			w.pass(time.Millisecond)
			good := w.add(t, "acme/docs")
			w.pass(test.after)
			test.breaks(t, w)
			w.run(t)
			w.secret(t, "repos/acme/docs/actions")
			same(t, (*rotation.Failure)(nil), w.target(t, good.ID).Failure)
			got := w.target(t, bad.ID)
			if got.Failure == nil {
				t.Fatal("it did not fail")
			}
			same(t, test.code, got.Failure.Code)
			same(t, 1, got.Failure.Attempts)
			wantText(t, got.Failure.Remedy, test.remedy)
			if strings.Contains(got.Failure.Text, "eyJ") || strings.Contains(got.Failure.Text, "ghs_") {
				t.Errorf("the text holds a token: %s", got.Failure.Text)
			}
			if wait := got.Due.Sub(w.now()); wait < time.Hour || wait > 75*time.Minute {
				t.Errorf("it is tried again in %s, want about an hour", wait)
			}
			same(t, 1, len(w.acts(t, audit.SecretNotRotated)))
			wantText(t, w.acts(t, audit.SecretNotRotated)[0], `"reason":"`+string(test.code)+`"`, `"target":"`+target+`"`)
			found, err := w.r.Rotation(t.Context(), bad.ID)
			must(t, err)
			same(t, test.stopped, found.Stopped != "")
			if _, _, there := w.github.SecretAt("repos/other/stolen/actions", "PAGEFLARE_TOKEN"); there {
				t.Error("another owner got the token")
			}
			before := len(w.github.Requests())
			w.run(t)
			same(t, before, len(w.github.Requests()))
		})
	}
}

// A failure that lasts is tried ever more rarely, and told once a day; when it is over, all is well.
func TestAFailureThatLasts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.add(t, "acme/site")
	w.pass(11 * time.Minute)
	w.change(func(i *githubtest.Installation) { i.Suspended = true })
	tries, begun := 0, w.now()
	for w.now().Sub(begun) < 7*day {
		w.run(t)
		tries++
		w.clock.Store(w.target(t, made.ID).Due.UnixNano())
	}
	if tries < 8 || tries > 13 {
		t.Errorf("%d tries in a week, want about 5 on the first day and one a day", tries)
	}
	got := w.target(t, made.ID)
	same(t, rotation.Suspended, got.Failure.Code)
	same(t, tries, got.Failure.Attempts)
	same(t, begun, got.Failure.Since)
	if n := len(w.acts(t, audit.SecretNotRotated)); n < 6 || n > 8 {
		t.Errorf("it was told %d times in a week, want once a day", n)
	}
	same(t, 0, w.tokens(t))
	w.change(func(i *githubtest.Installation) { i.Suspended = false })
	w.run(t)
	w.secret(t, site)
	same(t, (*rotation.Failure)(nil), w.target(t, made.ID).Failure)
}

// GitHub that does not answer is nobody's failure: few are asked, none is told at once, all go on
// when it is back.
func TestGitHubIsDown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]githubtest.Fault{
		"502": {Status: http.StatusBadGateway, Times: -1}, "the connection breaks": {CloseConnection: true, Status: 500, Times: -1},
		"a proxy answers": {Status: http.StatusForbidden, Proxy: true, Body: "<html>", Times: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, target := range []string{"repository", "environment:prod", "dependabot/repository"} {
				made, err := w.r.Add(t.Context(), rotation.NewRotation{Account: w.account.ID, Repository: "acme/site", Targets: []string{target}})
				must(t, err)
				w.pass(time.Millisecond)
				_ = made
			}
			for _, target := range []string{"repository", "dependabot/repository"} {
				w.add(t, "acme/docs", target)
			}
			w.pass(2 * time.Hour)
			down := true
			w.github.FailNextWhile(func() bool { return down }, fault)
			for range 3 {
				w.run(t)
			}
			stock, err := w.r.Stock(t.Context())
			must(t, err)
			if stock.States[rotation.Failing] < 3 || stock.States[rotation.Fresh] != 0 {
				t.Errorf("stock = %v", stock)
			}
			same(t, 0, len(w.acts(t, audit.SecretNotRotated)))
			for _, r := range w.all(t) {
				if f := r.Targets[0].Failure; f != nil {
					same(t, []any{rotation.NoAnswer, 0}, []any{f.Code, f.Attempts})
				}
			}
			w.pass(2 * time.Hour)
			w.run(t)
			if n := len(w.acts(t, audit.SecretNotRotated)); n == 0 {
				t.Error("after two hours nobody was told")
			}
			down = false
			w.pass(7 * time.Minute)
			w.run(t)
			stock, err = w.r.Stock(t.Context())
			must(t, err)
			same(t, int64(5), stock.States[rotation.Fresh])
			same(t, 5, w.tokens(t))
		})
	}
}

func (w *world) all(t *testing.T) []rotation.Rotation {
	t.Helper()
	list, err := w.r.Rotations(t.Context(), rotation.Query{Limit: 100})
	must(t, err)
	return list
}

// A key that GitHub does not know stops all, and is asked about rarely.
func TestTheKeyOfTheAppIsRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.add(t, "acme/site")
	w.add(t, "acme/docs")
	w.pass(2 * time.Hour)
	w.github.Change(func(c *githubtest.Config) {
		app := c.Apps[0]
		app.Key = &githubtest.NewAppKey().PublicKey
		c.Apps = []githubtest.App{app}
	})
	w.run(t)
	f := w.target(t, made.ID).Failure
	if f == nil {
		f = w.all(t)[1].Targets[0].Failure
	}
	same(t, rotation.AppUnknown, f.Code)
	wantText(t, f.Remedy, "LICENSE_GITHUB_APP_KEY_FILE", "github-app create")
	same(t, 0, w.tokens(t))
}

// An installation that ended while its token was remembered is found out, and so is its end.
func TestTheAppIsUninstalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.add(t, "acme/site")
	w.github.Uninstall("acme")
	w.run(t)
	f := w.target(t, made.ID).Failure
	if f == nil || f.Code != rotation.NotInstalled {
		t.Fatalf("failure = %v", f)
	}
	same(t, 0, w.tokens(t))
}

// While an account may not hold tokens its secrets are left as they are, and go on after that.
func TestAnAccountThatMayNotHoldTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.add(t, "acme/site")
	_, err := w.Accounts.SuspendAccount(t.Context(), w.account.ID)
	must(t, err)
	before := len(w.github.Requests())
	w.run(t)
	same(t, before, len(w.github.Requests()))
	found, err := w.r.Rotation(t.Context(), made.ID)
	must(t, err)
	same(t, rotation.Paused, found.StateOf(found.Targets[0], w.now()))
	if err := found.Paused(w.now()); !errors.Is(err, account.ErrInactive) {
		t.Errorf("paused = %v", err)
	}
	_, err = w.Accounts.RestoreAccount(t.Context(), w.account.ID)
	must(t, err)
	w.run(t)
	w.secret(t, site)
}

// The account is suspended between the look at it and the issue of its token.
func TestAnAccountIsSuspendedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.add(t, "acme/site")
	w.github.FailNext("GET /repositories/7", githubtest.Fault{OnArrive: func() {
		_, err := w.Accounts.SuspendAccount(t.Context(), w.account.ID)
		must(t, err)
	}})
	w.run(t)
	same(t, 0, w.tokens(t))
	same(t, 0, len(w.github.Puts()))
	same(t, (*rotation.Failure)(nil), w.target(t, made.ID).Failure)
	_, err := w.Accounts.RestoreAccount(t.Context(), w.account.ID)
	must(t, err)
	w.run(t)
	w.secret(t, site)
}
