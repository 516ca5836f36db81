package github_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
)

func TestARepositoryIsKnownByItsIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, name := range []string{"site", "old"} { // GitHub follows a former name
		got, err := w.client(t, goodToken).Repository(t.Context(), github.Repo{Owner: "acme", Name: name})
		want := github.Repository{ID: 7, OwnerID: 70, FullName: "acme/site"}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Repository(%s) = %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// What a call fails with is a fact; a client of either program makes its own words of it.
func TestEveryErrorIsAFact(t *testing.T) {
	t.Parallel()
	in := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	spent := map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(in.Unix(), 10), "X-RateLimit-Limit": "60"}
	for about, tc := range map[string]struct {
		fault githubtest.Fault
		want  github.Error
	}{
		"401": {githubtest.Fault{Status: 401}, github.Error{Kind: github.BadCredentials, Status: 401}},
		"403 of an address": {githubtest.Fault{Status: 403, Body: `{"message":"acme has an IP allow list enabled"}`},
			github.Error{Kind: github.AddressForbidden, Status: 403}},
		"403 of single sign-on": {githubtest.Fault{Status: 403, Header: map[string]string{"X-GitHub-SSO": "required; url=https://github.com/orgs/acme/sso?x=1"}},
			github.Error{Kind: github.SignOnRequired, Status: 403, URL: "https://github.com/orgs/acme/sso?x=1"}},
		"403 of a right": {githubtest.Fault{Status: 403, Body: `{"message":"Resource not accessible by personal access token"}`},
			github.Error{Kind: github.PermissionMissing, Status: 403}},
		"404":              {githubtest.Fault{Status: 404}, github.Error{Kind: github.NotFound, Status: 404}},
		"422":              {githubtest.Fault{Status: 422}, github.Error{Kind: github.Invalid, Status: 422}},
		"451":              {githubtest.Fault{Status: 451}, github.Error{Kind: github.Refused, Status: 451}},
		"500":              {githubtest.Fault{Status: 500, Times: -1}, github.Error{Kind: github.Trouble, Status: 500}},
		"a proxy":          {githubtest.Fault{Status: 403, Proxy: true}, github.Error{Kind: github.NotGitHub, Status: 403}},
		"a limit, used up": {githubtest.Fault{Status: 403, Header: spent, Body: `{"message":"API rate limit exceeded"}`}, github.Error{Kind: github.RateLimited, Status: 403, RetryAt: in, Hourly: 60}},
		"a request to wait": {githubtest.Fault{Status: 429, Header: map[string]string{"Retry-After": "7200"}},
			github.Error{Kind: github.Throttled, Status: 429}},
		"no JSON":               {githubtest.Fault{Status: 200, Body: "<html>"}, github.Error{Kind: github.Unanswered}},
		"no ids":                {githubtest.Fault{Status: 200, Body: "{}"}, github.Error{Kind: github.Unusable}},
		"a broken connection":   {githubtest.Fault{CloseConnection: true, Times: -1}, github.Error{Kind: github.Unanswered}},
		"a redirect, elsewhere": {githubtest.Fault{Status: 302, Header: map[string]string{"Location": "http://localhost:1/x"}}, github.Error{Kind: github.Elsewhere}},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.github.FailNext("GET /repos/acme/site", tc.fault)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			_, err := w.client(t, goodToken).Repository(ctx, github.Repo{Owner: "acme", Name: "site"})
			var got *github.Error
			if !errors.As(err, &got) {
				t.Fatalf("Repository = %v, want an *Error", err)
			}
			facts := github.Error{Kind: got.Kind, Status: got.Status, URL: got.URL, Hourly: got.Hourly}
			if got.Kind == github.RateLimited {
				facts.RetryAt = got.RetryAt
			}
			if diff := cmp.Diff(tc.want, facts); diff != "" || got.Message == "" || strings.Contains(got.Error(), "\n") {
				t.Errorf("Repository = %v (-want +got):\n%s", err, diff)
			}
			if silent := tc.want.Kind <= github.UntrustedCertificate; got.Silent() != silent {
				t.Errorf("Silent() of %v = %t, want %t", got, got.Silent(), silent)
			}
		})
	}
}

func TestWithoutATokenGitHubIsAskedAnonymously(t *testing.T) {
	t.Parallel()
	var sent atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Store(strings.Join(r.Header.Values("Authorization"), ","))
		_, _ = w.Write([]byte(`{"id":7,"full_name":"acme/site","owner":{"id":70}}`))
	}))
	t.Cleanup(server.Close)
	w := newWorld(t, nil)
	cfg := w.config(t, "")
	cfg.APIURL = server.URL
	c, err := github.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Repository(t.Context(), github.Repo{Owner: "acme", Name: "site"})
	if err != nil || got.ID != 7 || sent.Load() != "" || !c.Anonymous() || w.client(t, goodToken).Anonymous() {
		t.Errorf("Repository = %+v, %v, with Authorization %q, want it without", got, err, sent.Load())
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.github.FailNext("GET /repos/acme/site", githubtest.Fault{Status: 503, Times: -1})
	cfg := w.config(t, goodToken)
	cfg.Attempts = 2
	c, err := github.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Repository(t.Context(), github.Repo{Owner: "acme", Name: "site"}); err == nil || len(w.github.Requests()) != 2 {
		t.Errorf("Repository = %v after %d requests, want 2", err, len(w.github.Requests()))
	}
}

func TestATextInOneLine(t *testing.T) {
	t.Parallel()
	if got := github.Plain("a\n\x1b[31mb" + strings.Repeat("ü", 400)); got != "a  [31mb"+strings.Repeat("ü", 292)+"…" {
		t.Errorf("Plain = %q", got)
	}
}

// A limit may end later than anybody waits; people are told when all the same.
func TestTheEndOfALimitIsAsGitHubSaysIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	end := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	w.github.FailNext("GET /repos/acme/site", githubtest.Fault{Status: 429, Header: map[string]string{
		"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(end.Unix(), 10),
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	_, err := w.client(t, goodToken).Repository(ctx, github.Repo{Owner: "acme", Name: "site"})
	var got *github.Error
	if !errors.As(err, &got) || !got.RetryAt.Equal(end) || len(w.slept) > 0 {
		t.Errorf("Repository = %+v after waits %v, want the limit until %v at once", got, w.slept, end)
	}
}
