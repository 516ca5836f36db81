package rotation_test

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/rotation"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
)

const day = 24 * time.Hour

// world is a service with one account, beside a fake GitHub in which its App is installed.
type world struct {
	*parts.Parts
	r       *rotation.Rotations
	store   *store.Store
	github  *githubtest.Server
	account account.Account
	clock   *atomic.Int64 // of both, in nanoseconds
	cfg     parts.Config
}

// rights are what the App has in acme.
func rights() map[string]string {
	return map[string]string{
		"secrets": "write", "environments": "write", "organization_secrets": "write", "dependabot_secrets": "write", "organization_dependabot_secrets": "write",
		"metadata": "read",
	}
}

// newWorld makes a world. acme (9) has the repositories site (7), with the environment prod, and docs
// (8); other (10) has site (20).
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: &atomic.Int64{}}
	w.clock.Store(time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC).UnixNano())
	w.github = githubtest.Start(t, githubtest.Config{
		Now: w.now, Organizations: []string{"acme", "other"},
		Repositories: []githubtest.Repository{
			{ID: 7, Owner: "acme", OwnerID: 9, Name: "site", Environments: []string{"prod"}}, {ID: 8, Owner: "acme", OwnerID: 9, Name: "docs"},
			{ID: 20, Owner: "other", OwnerID: 10, Name: "site"},
		},
		Apps: []githubtest.App{{ID: 1, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: 1, Account: "acme", Permissions: rights()}, {ID: 2, Account: "other", Permissions: rights()},
		}}},
	})
	var err error
	w.store, err = store.Open(t.Context(), sqlitetest.New(t))
	must(t, err)
	t.Cleanup(func() { must(t, w.store.Close()) })
	w.store.AlwaysAsk()
	master, err := keyring.NewMasterKey(rand.Reader)
	must(t, err)
	w.cfg = parts.Config{
		Stores: parts.On(w.store), MasterKey: master, Issuer: "https://license.example", TokenTTL: 365 * day, Now: w.now, Rand: rand.Reader,
		App: githubapp.Given{ID: "1", Key: opaque.Secret(githubtest.PEM(githubtest.AppKey()))},
		GitHub: github.Config{
			APIURL: w.github.URL(), Transport: &http.Transport{DisableKeepAlives: true}, UserAgent: "test", Now: w.now, Rand: rand.Reader, Attempts: 1,
		},
	}
	w.start(t)
	w.account, _, err = w.Accounts.CreateAccount(t.Context(), account.NewAccount{
		Email: "dev@example.com", Tier: account.Pro, ValidUntil: w.now().AddDate(3, 0, 0),
	})
	must(t, err)
	return w
}

// start starts the service on its database, as after a crash.
func (w *world) start(t *testing.T) {
	t.Helper()
	var err error
	w.Parts, err = parts.New(t.Context(), w.cfg)
	must(t, err)
	w.r = w.Rotation
}

func (w *world) now() time.Time { return time.Unix(0, w.clock.Load()).UTC() }

func (w *world) pass(d time.Duration) { w.clock.Add(int64(d)) }

// add puts a repository of acme under rotation.
func (w *world) add(t *testing.T, repository string, targets ...string) rotation.Rotation {
	t.Helper()
	made, err := w.r.Add(t.Context(), rotation.NewRotation{Account: w.account.ID, Repository: repository, Targets: targets})
	must(t, err)
	return made
}

// run does the errand.
func (w *world) run(t *testing.T) {
	t.Helper()
	must(t, w.r.Run(audit.WithActor(t.Context(), audit.Actor{Kind: audit.ActorService, ID: "rotate"})))
}

// target is a target of a rotation as it is now.
func (w *world) target(t *testing.T, id string) rotation.Target {
	t.Helper()
	got, err := w.r.Rotation(t.Context(), id)
	must(t, err)
	return got.Targets[0]
}

// secret is the token at a place at GitHub, which must be a good one.
func (w *world) secret(t *testing.T, place string) opaque.TokenID {
	t.Helper()
	text, _, ok := w.github.SecretAt(place, "PAGEFLARE_TOKEN")
	if !ok {
		t.Fatalf("there is no secret at %s", place)
	}
	c, bad, err := w.Keys.Parse(t.Context(), text, w.now())
	must(t, errors.Join(bad, err))
	record, err := w.Licenses.Token(t.Context(), c.ID)
	must(t, err)
	if record.Status(w.now()) != "live" {
		t.Errorf("the token at %s is %s", place, record.Status(w.now()))
	}
	return record.ID
}

// events are the acts of the rotations in the audit log, oldest first, without the time.
func (w *world) acts(t *testing.T, want audit.Action) (details []string) {
	t.Helper()
	lines, err := w.Log.Lines(t.Context(), audit.Query{Limit: 1000})
	must(t, err)
	for _, l := range lines {
		if l.Action == want {
			details = append([]string{l.Details}, details...)
		}
	}
	return details
}

func (w *world) tokens(t *testing.T) int {
	t.Helper()
	return len(w.acts(t, audit.TokenIssued))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func wantText(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, part := range want {
		if !strings.Contains(got, part) {
			t.Errorf("%q does not have %q", got, part)
		}
	}
}
