package githubapp_test

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/opaque"
)

func TestWhatIsMissingOfAnAppIsSaid(t *testing.T) {
	t.Parallel()
	const hook = "http://127.0.0.1:8080/_api/webhooks/github"
	whole := githubapp.Permissions(githubapp.Ask{Organization: "acme"})
	without := func(name string) map[string]string {
		less := maps.Clone(whole)
		delete(less, name)
		return less
	}
	in := func(permissions map[string]string, suspended bool) []githubtest.Installation {
		return []githubtest.Installation{{ID: 5, Account: "acme", Permissions: permissions, Suspended: suspended}}
	}
	at := time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		app        githubtest.App
		deliveries []githubtest.Delivery
		want       []string
	}{
		"nothing": {githubtest.App{HookURL: hook, Permissions: whole, Events: githubapp.Events(), Installations: in(whole, false)},
			[]githubtest.Delivery{{ID: 1, Status: 502, At: at}, {ID: 2, Status: 202, At: at}}, nil},
		"no webhook": {githubtest.App{Permissions: whole, Events: githubapp.Events(), Installations: in(whole, false)}, nil,
			[]string{"it has no webhook, so nothing of what happens at GitHub comes here: set its webhook URL to " + hook}},
		"another webhook": {githubtest.App{HookURL: "https://old.example/x", Permissions: whole, Events: githubapp.Events(), Installations: in(whole, false)}, nil,
			[]string{"its webhook goes to https://old.example/x, and not to " + hook}},
		"a permission": {githubtest.App{HookURL: hook, Permissions: without("secrets"), Events: githubapp.Events(), Installations: in(without("secrets"), false)}, nil,
			[]string{"it does not ask for secrets=write: add them"}},
		"an event": {githubtest.App{HookURL: hook, Permissions: whole, Events: []string{"repository"}, Installations: in(whole, false)}, nil,
			[]string{"it does not subscribe to the event secret_scanning_alert"}},
		"installed nowhere": {githubtest.App{HookURL: hook, Permissions: whole, Events: githubapp.Events()}, nil, []string{"it is installed nowhere: install it at http://127.0.0.1:"}},
		"suspended": {githubtest.App{HookURL: hook, Permissions: whole, Events: githubapp.Events(), Installations: in(whole, true)}, nil,
			[]string{"its installation in acme is suspended"}},
		"not accepted": {githubtest.App{HookURL: hook, Permissions: whole, Events: githubapp.Events(), Installations: in(without("secret_scanning_alerts"), false)}, nil,
			[]string{"its installation in acme does not have secret_scanning_alerts=write: an owner of acme has to accept"}},
		"deliveries": {githubtest.App{HookURL: hook, Permissions: whole, Events: githubapp.Events(), Installations: in(whole, false)},
			[]githubtest.Delivery{{ID: 1, Status: 202, At: at}, {ID: 2, Status: 502, At: at}, {ID: 3, Status: 0, At: at.Add(time.Minute)}},
			[]string{"its webhook does not arrive: the last 2 deliveries failed, the newest at 2026-11-29T07:01:00Z with status 0 (failed)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.app.ID, c.app.Slug, c.app.Owner, c.app.Key = 4711, "pageflare", "acme", &githubtest.AppKey().PublicKey
			w := newWorld(t, func(cfg *githubapp.Config) {
				g := githubtest.Start(t, githubtest.Config{Now: cfg.Now, Apps: []githubtest.App{c.app}})
				g.SetDeliveries(c.deliveries, nil)
				cfg.GitHub.APIURL = g.URL()
				cfg.Given = githubapp.Given{ID: "4711", Key: opaque.Secret(githubtest.PEM(githubtest.AppKey()))}
			})
			s, err := w.Ask(t.Context())
			must(t, err)
			got := w.Problems(s)
			if len(got) != len(c.want) {
				t.Fatalf("Problems = %q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("Problems = %q, want %q", got[i], want)
				}
			}
		})
	}
}

func TestAKeyThatWasRevokedIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.make(t, githubapp.Ask{})
	w.github.FailNext("GET /app", githubtest.Fault{Status: http.StatusUnauthorized, Body: `{"message":"A JSON web token could not be decoded"}`})
	_, err := w.Ask(t.Context())
	if fault, ok := errors.AsType[*github.Error](err); !ok || fault.Kind != github.AppUnknown {
		t.Errorf("Ask = %v, want that the key is not known", err)
	}
}
