package servicetest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/servicetest"
)

// recorded is a test that notes its faults, and ends what it began when it is told to.
type recorded struct {
	testing.TB
	faults []string
	after  []func()
}

func (r *recorded) Errorf(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}
func (r *recorded) Cleanup(f func()) { r.after = append(r.after, f) }

func (r *recorded) end() {
	for i := len(r.after) - 1; i >= 0; i-- {
		r.after[i]()
	}
}

// The watch would be worth nothing if it did not see: each thing that must never happen, done on
// purpose, is a fault of the test.
func TestWhatMustNeverHappenIsSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do   func(t *testing.T, s *servicetest.Service, account, token string)
		want string // part of the one fault; empty: none
	}{
		"nothing": {func(t *testing.T, s *servicetest.Service, _, token string) { ask(t, s, "/license/refresh", token) }, ""},
		"refusals that are counted": {func(t *testing.T, s *servicetest.Service, _, token string) {
			ask(t, s, "/license/refresh", token+"x")
			ask(t, s, "/license/none", token)
		}, ""},
		"an announced 5xx": {func(t *testing.T, s *servicetest.Service, _, token string) {
			s.Break(t)
			ask(t, s, "/license/refresh", token)
		}, ""},
		"a 5xx": {func(t *testing.T, s *servicetest.Service, _, token string) {
			if err := s.Store.Close(); err != nil {
				t.Error(err)
			}
			ask(t, s, "/license/refresh", token)
		}, "was answered 500, and the test did not say"},
		"a token in the log": {func(t *testing.T, s *servicetest.Service, _, token string) {
			ask(t, s, "/license/refresh", token)
			s.Log.Info("request", "token", token)
		}, "a bearer token is in the log"},
		"the end of a token in the log": {func(t *testing.T, s *servicetest.Service, _, token string) {
			ask(t, s, "/license/refresh", token)
			s.Log.Info("request", "token", token[len(token)-25:])
		}, "a bearer token is in the log"},
		"a panic":            {func(_ *testing.T, s *servicetest.Service, _, _ string) { s.Log.Error("panic") }, "panicked"},
		"a refusal too many": {func(t *testing.T, s *servicetest.Service, _, token string) { serveBeside(t, s, token+"x") }, "the metrics count 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorded{TB: t}
			s := servicetest.Start(r, servicetest.Options{})
			a, _ := s.Account(t, "a@example.com")
			test.do(t, s, a.ID, s.IssueToken(t, a.ID, 0))
			r.end()
			if got := strings.Join(r.faults, "\n"); test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("faults = %q, want %q", got, test.want)
			}
		})
	}
}

func ask(t *testing.T, s *servicetest.Service, path, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	servicetest.Send(t, req)
}

// serveBeside has the service refuse a request that does not pass the watch.
func serveBeside(t *testing.T, s *servicetest.Service, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/_api/license/refresh", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	s.Server.ServeHTTP(nowhere{http.Header{}}, req)
}

// nowhere takes an answer.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}
