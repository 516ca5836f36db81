package leak_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/servicetest"
)

// world is a whole service beside a fake GitHub in which its App is installed.
type world struct {
	*servicetest.Service
	github *githubtest.Server
	ahead  *atomic.Int64
	leaks  *leak.Service

	account account.Account
	key     string // API token of the account
	admin   string // admin token
}

const installation = 5

func newWorld(t *testing.T, permissions map[string]string) *world {
	t.Helper()
	w := &world{ahead: &atomic.Int64{}}
	begin := time.Now()
	now := func() time.Time { return begin.Add(time.Duration(w.ahead.Load())) }
	if permissions == nil {
		permissions = map[string]string{"secret_scanning_alerts": "write"}
	}
	w.github = githubtest.Start(t, githubtest.Config{
		Now: now, Repositories: []githubtest.Repository{{ID: 7, Owner: "acme", Name: "site", OwnerID: 1, FormerNames: []string{"acme/old-site"}}},
		Organizations: []string{"acme"},
		Apps: []githubtest.App{{ID: 4711, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: installation, Account: "acme", Permissions: permissions},
		}}},
	})
	w.Service = servicetest.Start(t, servicetest.Options{Now: now, GitHub: w.github.URL(), App: appOfSettings()})
	w.leaks = w.Parts.Leaks
	w.account, w.key = w.Account(t, "dev@example.com")
	w.admin = w.AdminToken(t, auth.Scopes...)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused says whether the service takes a token no more.
func (w *world) refused(t *testing.T, token string) bool {
	t.Helper()
	caller, err := w.Authenticate(t.Context(), token)
	return err != nil || caller.Revoked
}

// report reports a text.
func (w *world) report(t *testing.T, text string) leak.Verdict {
	t.Helper()
	v, err := w.leaks.Report(t.Context(), leak.Found{Token: opaque.Secret(text), Door: leak.ByAdmin, Source: "commit", URL: "https://github.com/acme/site"})
	must(t, err)
	return v
}

// lines are those of the audit log about leaks, newest first.
func (w *world) lines(t *testing.T) []audit.Line {
	t.Helper()
	lines, err := w.Lines(t.Context(), audit.Query{Action: audit.TokenLeaked, Limit: 100})
	must(t, err)
	return lines
}

// alert sends a body as GitHub does, signed by a key of its.
func (w *world) alert(t *testing.T, id, signature, body string, header ...string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/webhooks/github/secret-scanning", strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	for name, value := range map[string]string{"Github-Public-Key-Identifier": id, "Github-Public-Key-Signature": signature} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return servicetest.Send(t, req)
}
