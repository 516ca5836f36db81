package secret_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

func TestTheAPIAddressWorksWithAndWithoutTrailingSlashes(t *testing.T) {
	t.Parallel()
	for about, base := range map[string]string{"github.com": "", "GitHub Enterprise Server": "/api/v3"} {
		for _, tail := range []string{"", "/", "//"} {
			t.Run(about+" and "+tail, func(t *testing.T) {
				t.Parallel()
				w := &world{clock: newClock()}
				cfg := githubConfig(w.clock)
				cfg.BasePath = base
				w.github = githubtest.Start(t, cfg)
				client := w.config(t, goodToken)
				client.APIURL += tail
				w.writer = newWriter(t, client)
				if got, err := w.write(t); err != nil || got != secret.Created {
					t.Errorf("Write(%s) = %v, %v, want created", client.APIURL, got, err)
				}
			})
		}
	}
}

func TestAClientThatCannotWorkIsNotMade(t *testing.T) {
	t.Parallel()
	good := func() github.Config {
		return github.Config{
			APIURL: "https://api.github.com", Token: goodToken, Transport: newTransport(t), UserAgent: "x", Now: newClock().Now, Rand: zero{},
		}
	}
	if _, err := secret.NewWriter(writerConfig(good())); err != nil {
		t.Fatalf("NewWriter(good) = %v", err)
	}
	for about, tc := range map[string]struct {
		spoil func(*github.Config)
		want  string
	}{
		"no address":                {func(c *github.Config) { c.APIURL = "" }, "want an absolute http(s) URL"},
		"an address without scheme": {func(c *github.Config) { c.APIURL = "api.github.com" }, "want an absolute"},
		"an address of a file":      {func(c *github.Config) { c.APIURL = "file:///x" }, "want an absolute"},
		"an address with a user":    {func(c *github.Config) { c.APIURL = "https://u:pass-word@x" }, "no user, query"},
		"an address with a query":   {func(c *github.Config) { c.APIURL = "https://x/?a" }, "no user, query"},
		"no token":                  {func(c *github.Config) { c.Token = "" }, "the token is empty"},
		"a token with a line break": {func(c *github.Config) { c.Token = goodToken + "\n" }, "has a space, a line break"},
		"no transport":              {func(c *github.Config) { c.Transport = nil }, "must be set"},
		"no user agent":             {func(c *github.Config) { c.UserAgent = "" }, "must be set"},
		"no clock":                  {func(c *github.Config) { c.Now = nil }, "must be set"},
		"no randomness":             {func(c *github.Config) { c.Rand = nil }, "must be set"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			cfg := good()
			tc.spoil(&cfg)
			_, err := secret.NewWriter(writerConfig(cfg))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("NewWriter(%s) = %v, want an error with %q", about, err, tc.want)
			}
			if strings.Contains(err.Error(), goodToken) || strings.Contains(err.Error(), "pass-word") {
				t.Errorf("NewWriter(%s) = %v, which tells a secret", about, err)
			}
		})
	}
	_, err := secret.NewWriter(writerConfig(github.Config{}))
	for _, want := range []string{"api url", "token is empty", "must be set"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewWriter(nothing) = %v, want every fault, also %q", err, want)
		}
	}
}

func TestARenamedRepositoryIsFollowedOnTheSameHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("PUT /"+name, githubtest.Fault{
		Status: http.StatusTemporaryRedirect,
		Header: map[string]string{"Location": w.github.URL() + "/repos/acme/open/actions/secrets/" + name},
	})
	w.github.FailNext("PUT /repos/acme/open/actions/secrets/"+name, githubtest.Fault{Status: http.StatusCreated, Body: "{}"})
	if got, err := w.write(t); err != nil || got != secret.Created {
		t.Errorf("Write(redirected) = %v, %v, want created", got, err)
	}
	want := []string{"GET public-key 200", "PUT PAGEFLARE_TOKEN 307", "PUT /repos/acme/open/actions/secrets/PAGEFLARE_TOKEN 201"}
	if diff := cmp.Diff(want, w.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestTheTokenGoesToNoOtherHost(t *testing.T) {
	t.Parallel()
	var met atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { met.Store(true) }))
	t.Cleanup(other.Close)
	w := newWorld(t)
	host := strings.TrimPrefix(w.github.URL(), "http://")
	for about, to := range map[string]string{
		"another port":   other.URL + "/repos/acme/site/actions/secrets/public-key",
		"another host":   strings.Replace(w.github.URL(), "127.0.0.1", "localhost", 1) + "/x",
		"another scheme": "https://" + host + "/x",
	} {
		w.github.FailNext("GET /public-key", githubtest.Fault{Status: http.StatusFound, Header: map[string]string{"Location": to}})
		_, err := w.write(t)
		if err == nil || !strings.Contains(err.Error(), "refused to send the token to another host") {
			t.Errorf("Write(redirect to %s) = %v, want it refused", about, err)
		}
	}
	if met.Load() {
		t.Error("the other host was asked")
	}
	if got := len(w.asked()); got != 3 || len(w.clock.slept) > 0 {
		t.Errorf("%d requests and waits %v, want 3 requests, none repeated", got, w.clock.slept)
	}
}

// answers is a transport that answers by itself.
type answers func(*http.Request) *http.Response

func (f answers) RoundTrip(req *http.Request) (*http.Response, error) { return f(req), nil }

func TestOneOriginHasManySpellings(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]bool{
		"https://ghe.example/x": true, "https://ghe.example:443/x": true, "https://GHE.example/x": true, "https://ghe.example:0443/x": false,
		"https://ghe.example:444/x": false, "http://ghe.example/x": false, "http://ghe.example:443/x": false, "https://ghe.example.org/x": false,
		"https://user@ghe.example/x": true,
	} {
		asked := 0
		cfg := github.Config{APIURL: "https://ghe.example/api/v3", Token: goodToken, UserAgent: "x", Now: newClock().Now, Rand: zero{}}
		cfg.Transport = answers(func(req *http.Request) *http.Response {
			asked++
			if asked > 1 {
				return &http.Response{StatusCode: 401, Body: http.NoBody, Header: http.Header{}, Request: req}
			}
			return &http.Response{StatusCode: 302, Body: http.NoBody, Header: http.Header{"Location": {to}}, Request: req}
		})
		_, err := newWriter(t, cfg).Write(t.Context(), target(t, "repository"), name, value)
		if followed := asked == 2; err == nil || followed != want || !followed && !strings.Contains(err.Error(), "refused to send the token") {
			t.Errorf("a redirect to %s: %d requests, %v, want it followed: %t", to, asked, err, want)
		}
	}
}

func TestAnEndlessRedirectEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("GET /public-key", githubtest.Fault{
		Status: http.StatusFound, Times: -1,
		Header: map[string]string{"Location": w.github.URL() + "/repos/acme/site/actions/secrets/public-key"},
	})
	if _, err := w.write(t); err == nil || !strings.Contains(err.Error(), "stopped after 10 redirects") {
		t.Errorf("Write(endless redirect) = %v, want an error", err)
	}
}
