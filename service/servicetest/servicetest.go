// Package servicetest is a whole License service on a temporary database, for any test: real
// routes, real rules, a real SQLite file. Only the clock can be the test's own. What it answers is
// held against openapi.yaml (contract.go), and what must never happen, whatever a test sends, is
// watched for (watch.go).
package servicetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/server"
	"github.com/pageflare/ci/service/server/admin"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/upkeep"
)

// Options are what a test may choose. The zero value is a service as it starts without any
// configuration.
type Options struct {
	Now            func() time.Time     // time.Now when nil
	Elapsed        func() time.Duration // for the limits, by Now when nil; and for upkeep
	TokenTTL       time.Duration        // a year when 0
	LeaseGrace     time.Duration        // a week when 0; no leases when negative
	Rand           io.Reader            // of the service and its master key; rand.Reader when nil
	RateLimits     map[account.Tier]int // unlimited when nil
	BadCredentials int                  // a minute, by address; unlimited when 0
	TrustedProxies []netip.Prefix
	Issuers        []string // of identities; none when nil
	Repository     admin.Resolver
	GitHub         string           // address of the API; one at which nothing answers when empty
	App            githubapp.Given  // of the settings
	PublicURL      string           // the origin when empty
	DatabaseURL    string           // of an empty database; a SQLite file of its own when empty
	DatabaseNow    func() time.Time // the clock of the database, for limits of several replicas; its own when nil
	Log            io.Writer        // gets the JSON lines too, for a test that wants to read them
	Drain          time.Duration
	After          func(time.Duration) <-chan time.Time // the clock of Drain

	Between func(*parts.Stores) // puts something between the rules and the database; nothing when nil
}

// Service is a running License service.
type Service struct {
	Rules
	Server *server.Server
	Store  *store.Store
	Upkeep *upkeep.Upkeep // does nothing by itself: a test calls Turn
	Log    *slog.Logger
	URL    string // base path of the API: http://127.0.0.1:PORT/_api
	Origin string // http://127.0.0.1:PORT

	watch    *watch
	handler  http.Handler
	options  Options
	database string
	master   keyring.MasterKey
}

// Start starts a service on loopback. It ends with the test.
func Start(t testing.TB, o Options) *Service {
	t.Helper()
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	master, err := keyring.NewMasterKey(o.Rand)
	must(t, err)
	if o.DatabaseURL == "" {
		o.DatabaseURL = sqlitetest.New(t)
	}
	return start(t, Service{options: o, database: o.DatabaseURL, master: master})
}

// Replica starts another service on the same database, with a clock of its own (nil: the same
// clock). It ends with the test, before the first one.
func (s *Service) Replica(t testing.TB, now func() time.Time) *Service {
	t.Helper()
	o := s.options
	if now != nil {
		o.Now = now
	}
	return start(t, Service{options: o, database: s.database, master: s.master})
}

func start(t testing.TB, s Service) *Service {
	t.Helper()
	o := s.options
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TokenTTL == 0 {
		o.TokenTTL = 8760 * time.Hour
	}
	if o.LeaseGrace == 0 {
		o.LeaseGrace = 168 * time.Hour
	}
	s.watch = newWatch(t)
	s.Log = slog.New(slog.NewJSONHandler(s.watch.logs(o.Log), nil))
	// the listener comes first: the address is in the tokens
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	must(t, err)
	s.Origin, s.URL = "http://"+l.Addr().String(), "http://"+l.Addr().String()+"/_api"
	if o.PublicURL == "" {
		o.PublicURL = s.Origin
	}
	s.options = o
	s.Store, err = store.Open(context.Background(), s.database)
	must(t, err)
	s.Store.AlwaysAsk() // of several replicas in one test each sees at once what another one ended
	if o.DatabaseNow != nil {
		s.Store.SetLimitClock(o.DatabaseNow)
	}
	stores := parts.On(s.Store)
	if o.Between != nil {
		o.Between(&stores)
	}
	identities, err := oidc.New(oidc.Config{
		Issuers: o.Issuers, Audience: o.PublicURL, KeyStore: s.Store, HTTP: &http.Client{Transport: &http.Transport{}}, Now: o.Now, Log: s.Log,
	})
	must(t, err)
	joined, err := parts.New(context.Background(), parts.Config{
		Stores: stores, MasterKey: s.master, Issuer: o.PublicURL, TokenTTL: o.TokenTTL, LeaseGrace: max(o.LeaseGrace, 0), Identities: identities,
		App: o.App, GitHub: github.Config{
			APIURL: cmp.Or(o.GitHub, "http://127.0.0.1:1"), Transport: &http.Transport{DisableKeepAlives: true}, UserAgent: "servicetest",
			Now: o.Now, Rand: rand.Reader, Attempts: 1,
		},
		Now: o.Now, Rand: o.Rand,
	})
	must(t, err)
	s.Rules = RulesOf(joined)
	elapsed, begin := o.Elapsed, time.Now()
	if elapsed == nil {
		elapsed = func() time.Duration { return time.Since(begin) }
	}
	s.Upkeep = joined.Upkeep(upkeep.Config{
		Retention: 9600 * time.Hour, Owner: rand.Text(), Now: o.Now, Elapsed: elapsed, After: time.After, Events: s.Log,
	})
	s.Server, err = server.New(server.Config{
		Parts: joined, Upkeep: s.Upkeep.Done, Webhooks: server.NewWebhookMeter(), Repository: o.Repository,
		Version: "test", RateLimits: o.RateLimits, BadCredentials: o.BadCredentials, TrustedProxies: o.TrustedProxies, Now: o.Now,
		Elapsed: o.Elapsed, Log: s.Log, Drain: o.Drain, After: o.After,
	})
	must(t, err)
	s.handler = contracted{t, s.watch, s.Server}
	h := &httptest.Server{Listener: l, Config: &http.Server{Handler: s.handler}}
	h.Start()
	t.Cleanup(func() {
		h.Close()
		s.watch.check(&s)
		if err := s.Store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &s
}

// ServeHTTP answers one request like a request to URL, for a test that stands between the service
// and its caller.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Account makes an active account of tier pro that is valid for two years from now, and returns it
// with its API token.
func (s *Service) Account(t testing.TB, email string) (account.Account, string) {
	t.Helper()
	a, key, err := s.CreateAccount(context.Background(), account.NewAccount{
		Email: email, Tier: account.Pro, Features: []string{"spa_mode",
			"critical_css"}, ValidUntil: time.Now().AddDate(2, 0, 0),
	})
	must(t, err)
	return a, key.Reveal()
}

// DecideLogin approves or denies a device login, as a person of the account does on its page.
func (s *Service) DecideLogin(t testing.TB, account, userCode string, approve bool) {
	t.Helper()
	ctx := context.Background()
	link, _, err := s.CreateSignInLink(ctx, account)
	must(t, err)
	u, err := url.Parse(link.Reveal())
	must(t, err)
	session, _, err := s.SignIn(ctx, u.Query().Get("link"))
	must(t, err)
	person, err := s.Session(ctx, session.Reveal())
	must(t, err)
	decide := s.DenyDevice
	if approve {
		decide = s.ApproveDevice
	}
	_, err = decide(ctx, person, userCode)
	must(t, err)
}

// AdminToken makes an admin token with the scopes and returns its text.
func (s *Service) AdminToken(t testing.TB, scopes ...auth.Scope) string {
	t.Helper()
	text, _, err := s.CreateAdminToken(context.Background(), auth.NewAdminToken{Scopes: scopes},
		nil)
	must(t, err)
	return text.Reveal()
}

// IssueToken issues a license token that lives for ttl (0: the usual lifetime).
func (s *Service) IssueToken(t testing.TB, account string, ttl time.Duration) string {
	t.Helper()
	issued, err := s.IssueFor(context.Background(), account, ttl)
	must(t, err)
	return issued.Token.Reveal()
}

// Acts counts what the audit log has of an action, such as machine.deactivate: up to 100.
func (s *Service) Acts(t testing.TB, action audit.Action) int {
	t.Helper()
	lines, err := s.Lines(context.Background(), audit.Query{Action: action, Limit: 100})
	must(t, err)
	return len(lines)
}

// DatabaseURL is where the database is, for a test that looks into it or gets in its way.
func (s *Service) DatabaseURL() string { return s.database }

// Alter changes the database behind the service's back, as somebody would who can write its file:
// the service may fail from then on.
func (s *Service) Alter(t testing.TB, statement string) {
	t.Helper()
	if store.IsPostgres(s.database) {
		t.Fatal("Alter is for SQLite alone")
	}
	s.MayFail()
	db, err := sql.Open("sqlite", strings.TrimPrefix(s.database, "sqlite:"))
	must(t, err)
	_, err = db.ExecContext(context.Background(), statement)
	must(t, errors.Join(err, db.Close()))
}

// Metrics are what Prometheus would get now, in its text format.
func (s *Service) Metrics(t testing.TB) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Server.ServeMetrics(ctx, l) }()
	defer func() {
		stop()
		must(t, <-ended)
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + l.Addr().String() + "/metrics")
	must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(t, err)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("metrics = %s %s", res.Status, text)
	}
	return string(text)
}

// EndLicense lets the license of an account be over since now.
func (s *Service) EndLicense(t testing.TB, id string) {
	t.Helper()
	_, err := s.UpdateAccount(context.Background(), id, account.Change{ValidUntil: new(time.Now())})
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
