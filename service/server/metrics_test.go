package server_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store"
)

// wantMetrics fails unless each of the lines is among the metrics.
func wantMetrics(t *testing.T, s *servicetest.Service, lines ...string) {
	t.Helper()
	got := s.Metrics(t)
	for _, want := range lines {
		if !strings.Contains("\n"+got, "\npageflare_license_"+want+"\n") {
			t.Errorf("the metrics lack %s:\n%s", want, ours(got))
		}
	}
}

// ours leaves out what the libraries add.
func ours(metrics string) string {
	var out []string
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "pageflare_") && !strings.Contains(line, "_bucket{") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{BadCredentials: 2, RateLimits: map[account.Tier]int{account.Pro: 3}, Now: frozen()})
	a, key := s.Account(t, "a@example.com")
	revoked := s.IssueToken(t, a.ID, 0)
	if _, err := s.RevokeToken(t.Context(), revoked, false); err != nil {
		t.Fatal(err)
	}
	fresh := call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).token(t)
	for range 4 {
		call(t, s, "GET", "/_api/license/refresh", "", bearer(fresh)...)
	}
	call(t, s, "GET", "/_api/license/refresh", "", bearer(revoked)...)
	for range 3 {
		call(t, s, "GET", "/_api/license/refresh", "")
	}
	call(t, s, "GET", "/_api/"+fresh, "")
	call(t, s, "DELETE", "/_api/health", "")
	call(t, s, "BREW", "/_api/coffee", "")
	wantMetrics(t, s,
		`http_requests_total{method="POST",route="/_api/license/issue",status="200"} 1`,
		`http_requests_total{method="GET",route="/_api/license/refresh",status="200"} 3`,
		`http_requests_total{method="GET",route="/_api/license/refresh",status="401"} 2`,
		`http_requests_total{method="GET",route="/_api/license/refresh",status="403"} 1`,
		`http_requests_total{method="GET",route="/_api/license/refresh",status="429"} 2`,
		`http_requests_total{method="GET",route="none",status="404"} 1`,
		`http_requests_total{method="DELETE",route="none",status="405"} 1`,
		`http_requests_total{method="none",route="none",status="404"} 1`,
		`http_request_duration_seconds_count{route="/_api/license/refresh"} 8`,
		`tokens_total{act="issue",outcome="granted"} 1`,
		`tokens_total{act="refresh",outcome="granted"} 3`,
		`tokens_total{act="refresh",outcome="token_revoked"} 1`,
		`tokens_total{act="refresh",outcome="unauthorized"} 2`,
		`tokens_total{act="refresh",outcome="rate_limited"} 2`,
		`refusals_total{reason="not_found"} 2`,
		`refusals_total{reason="method_not_allowed"} 1`,
		`refusals_total{reason="rate_limited"} 2`,
		`refusals_total{reason="token_revoked"} 1`,
		`refusals_total{reason="unauthorized"} 2`,
		`rate_limited_total{by="token"} 1`,
		`rate_limited_total{by="address"} 1`,
		`panics_total 0`,
	)
}

// frozen is a clock that stands.
func frozen() func() time.Time {
	now := time.Now()
	return func() time.Time { return now }
}

func TestNothingThatACallerChoosesBecomesALabel(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, key := s.Account(t, "a@example.com")
	admin := s.AdminToken(t, auth.ScopeAccountsRead)
	issued := call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).token(t)
	call(t, s, "GET", "/_api/"+issued, "", bearer(issued)...)
	call(t, s, "GET", "/_api/admin/accounts/"+a.ID, "", bearer(admin)...)
	call(t, s, "X"+strings.ToUpper(a.ID[5:]), "/_api/health?"+issued, "")
	got := s.Metrics(t)
	for _, secret := range []string{issued, key, admin, a.ID, a.ID[5:], strings.ToUpper(a.ID[5:]), a.Email} {
		if strings.Contains(got, secret) {
			t.Errorf("%s is in the metrics:\n%s", secret, ours(got))
		}
	}
	wantMetrics(t, s, `http_requests_total{method="GET",route="/_api/admin/accounts/:id",status="200"} 1`)
}

func TestKeysAndLiveTokensAreCounted(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	now := begun
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	a, _ := s.Account(t, "a@example.com")
	s.IssueToken(t, a.ID, time.Hour)
	s.IssueToken(t, a.ID, 48*time.Hour)
	keys, err := s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kid := keys[0].ID
	now = begun.Truncate(time.Millisecond).Add(time.Minute)
	wantMetrics(t, s, "database_up 1", `tokens_live{alg="HS256",kid="`+kid+`"} 2`, `signing_key_age_seconds{alg="HS256",kid="`+kid+`",state="signing"} 60`)
	now = begun.Add(2 * time.Hour)
	if _, err := s.Rotate(t.Context(), keyring.HS256); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	wantMetrics(t, s, `tokens_live{alg="HS256",kid="`+kid+`"} 1`)
	if got := s.Metrics(t); !strings.Contains(got, `alg="HS256",kid="`+kid+`",state="verifying"`) || !strings.Contains(got, `state="signing"} 60`) {
		t.Errorf("metrics after a rotation:\n%s", ours(got))
	}
	s.Break(t)
	if got := s.Metrics(t); !strings.Contains(got, "database_up 0\n") || strings.Contains(got, "tokens_live{") {
		t.Errorf("metrics without a database:\n%s", ours(got))
	}
}

// What the operator has to look after: licenses that end, keys of issuers, the disk.
func TestTheStockOfTheDatabaseIsCounted(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Millisecond)
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	for i, end := range []time.Duration{0, 7, 8, 30, 31} {
		a, _ := s.Account(t, string(rune('a'+i))+"@example.com")
		until := now.Add(end * 24 * time.Hour)
		if _, err := s.UpdateAccount(t.Context(), a.ID, account.Change{ValidUntil: &until}); err != nil {
			t.Fatal(err)
		}
	}
	suspended, _ := s.Account(t, "suspended@example.com")
	soon := now.Add(time.Hour)
	if _, err := s.UpdateAccount(t.Context(), suspended.ID, account.Change{ValidUntil: &soon}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SuspendAccount(t.Context(), suspended.ID); err != nil {
		t.Fatal(err)
	}
	const issuer = "https://token.actions.githubusercontent.com"
	if err := s.Store.StoreIssuerKeys(t.Context(), issuer, []byte("{}"), now.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Millisecond)
	wantMetrics(t, s, `licenses_ending{within="7d"} 1`, `licenses_ending{within="30d"} 3`, "policies 0",
		`issuer_keys_age_seconds{issuer="`+issuer+`"} 60.001`)
	if got := s.Metrics(t); !regexp.MustCompile(`database_bytes [1-9]`).MatchString(got) {
		t.Errorf("the metrics lack the size of the database:\n%s", ours(got))
	}
}

func TestTheAgeOfTheNewestBackupIsMeasured(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	if got := s.Metrics(t); strings.Contains(got, "backup_age_seconds") {
		t.Errorf("the metrics tell of a backup before there is one:\n%s", ours(got))
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := store.Backup(t.Context(), s.DatabaseURL(), copied, false); err != nil {
		t.Fatal(err)
	}
	if err := store.RecordBackup(s.DatabaseURL()); err != nil {
		t.Fatal(err)
	}
	marker, err := os.Stat(strings.TrimPrefix(s.DatabaseURL(), "sqlite:") + ".backup-time")
	if err != nil {
		t.Fatal(err)
	}
	now = marker.ModTime().Add(time.Hour)
	wantMetrics(t, s, "backup_age_seconds 3600")
}

func TestManyScrapesAskTheDatabaseOnce(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	a, _ := s.Account(t, "a@example.com")
	s.IssueToken(t, a.ID, 0)
	scrape := serveMetrics(t, s)
	for range 3 {
		if got := scrape(); !strings.Contains(got, "database_up 1\n") || !regexp.MustCompile(`tokens_live\{alg="HS256",kid="\w+"\} 1\n`).MatchString(got) {
			t.Fatalf("metrics:\n%s", ours(got))
		}
		s.IssueToken(t, a.ID, 0)
	}
	now = now.Add(10 * time.Second)
	if got := scrape(); !regexp.MustCompile(`tokens_live\{alg="HS256",kid="\w+"\} 4\n`).MatchString(got) {
		t.Errorf("metrics after ten seconds:\n%s", ours(got))
	}
}

// serveMetrics serves the metrics on one listener until the test ends, and returns what scrapes
// them.
func serveMetrics(t *testing.T, s *servicetest.Service) (scrape func() string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Server.ServeMetrics(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func() string {
		t.Helper()
		return get(t, "http://"+l.Addr().String()+"/metrics", http.StatusOK)
	}
}

// get asks a server that is not the API and returns the body.
func get(t *testing.T, url string, want int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	a := exchange(t, req)
	if a.status != want {
		t.Fatalf("%s = %d %s, want %d", url, a.status, a.body, want)
	}
	return a.body
}

// TestEveryMetricIsInTheDocument holds the table of docs/operations.md against the registry, in
// both directions.
func TestEveryMetricIsInTheDocument(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	want := map[string]string{}
	desc := regexp.MustCompile(`fqName: "(pageflare_\w+)".*variableLabels: \{([^}]*)\}`)
	for _, d := range s.Server.MetricDescs() {
		if m := desc.FindStringSubmatch(d); m != nil {
			want[m[1]] = m[2]
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(pageflare_license_\\w+)` \\| (?:counter|gauge|histogram) \\| ([^|]*) \\|").FindAllStringSubmatch(string(text), -1) {
		got[m[1]] = strings.NewReplacer("`", "", " ", "", "–", "").Replace(m[2])
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
		t.Errorf("metrics and their labels (-registry +docs/operations.md):\n%s", diff)
	}
	for _, name := range regexp.MustCompile(`pageflare_license_\w+`).FindAllString(string(text), -1) {
		if _, ok := want[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")]; !ok {
			t.Errorf("docs/operations.md speaks of %s, which is not there", name)
		}
	}
}
