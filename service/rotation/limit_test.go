package rotation_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/rotation"
)

// left is what GitHub says of the requests of an hour.
func left(n int, reset time.Time) map[string]string {
	return map[string]string{"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": strconv.Itoa(n), "X-RateLimit-Reset": strconv.FormatInt(reset.Unix(), 10)}
}

// A fifth of an hour's requests is left for others; the rest of the work goes on when they are there
// again, and nobody is told of a failure.
func TestAFifthOfTheLimitIsLeftForOthers(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"of the installation": "GET /public-key", "of the App": "GET /installation",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.add(t, "acme/site")
			w.add(t, "acme/docs")
			w.pass(2 * time.Hour)
			reset := w.now().Add(25 * time.Minute)
			w.github.FailNext(path, githubtest.Fault{Header: left(999, reset), Times: -1})
			w.run(t)
			written := len(w.github.Puts())
			if written > 2 {
				t.Fatalf("%d writes", written)
			}
			w.add(t, "other/site")
			w.add(t, "acme/docs", "dependabot/repository")
			before := len(w.github.Puts())
			w.run(t)
			after := w.github.Puts()[before:]
			switch {
			case path == "GET /installation" && len(after) != 0:
				t.Errorf("the App's limit is low, and these were written: %v", after)
			case path != "GET /installation" && (len(after) != 1 || !strings.Contains(after[0], "/other/")):
				t.Errorf("the limit of acme is low, and these were written: %v", after)
			}
			same(t, 0, len(w.acts(t, audit.SecretNotRotated)))
			w.clock.Store(reset.Add(time.Second).UnixNano())
			w.github.FailNext("", githubtest.Fault{Times: 1}) // the next answers say nothing of it
			w.run(t)
			if len(w.github.Puts()) <= written {
				t.Error("it did not go on after the reset")
			}
		})
	}
}

// All forms in which GitHub says that it is too much: the installation waits as long as it says.
func TestALimitIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault githubtest.Fault
		waits time.Duration
	}{
		"429": {githubtest.Fault{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "600"}}, 10 * time.Minute},
		"secondary": {githubtest.Fault{
			Status: http.StatusForbidden, Body: `{"message":"You have exceeded a secondary rate limit"}`, Header: map[string]string{"Retry-After": "300"},
		}, 5 * time.Minute},
		"403 with a time alone": {githubtest.Fault{Status: http.StatusForbidden, Body: `{"message":"wait"}`, Header: map[string]string{"Retry-After": "900"}}, 15 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.add(t, "acme/site")
			w.pass(2 * time.Hour)
			test.fault.Times = 1
			w.github.FailNext("PUT /PAGEFLARE_TOKEN", test.fault)
			w.run(t)
			same(t, 0, len(w.github.Puts()))
			same(t, 0, len(w.acts(t, audit.SecretNotRotated)))
			w.add(t, "other/site")
			w.pass(test.waits - time.Minute)
			w.run(t)
			same(t, 1, len(w.github.Puts()))
			w.pass(2 * time.Minute)
			w.run(t)
			w.secret(t, site)
			same(t, 2, w.tokens(t)) // the token of the first try was written, and no other was made
		})
	}
}

// GitHub asks to slow down above some writes a minute, long before the limit of requests.
func TestWritesForAnOwnerAreSpread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var many []string
	for n := range 19 {
		many = append(many, "environment:e"+strconv.Itoa(n))
	}
	w.github.Change(func(c *githubtest.Config) {
		for i := range c.Repositories[:2] {
			for n := range 19 {
				c.Repositories[i].Environments = append(c.Repositories[i].Environments, "e"+strconv.Itoa(n))
			}
		}
	})
	for _, r := range []string{"acme/site", "acme/docs"} {
		w.add(t, r, many...)
		w.add(t, r, "repository", "dependabot/repository")
	}
	w.pass(2 * time.Hour)
	w.run(t)
	same(t, 40, len(w.github.Puts()))
	w.run(t)
	same(t, 40, len(w.github.Puts()))
	w.pass(time.Minute)
	w.run(t)
	same(t, 42, len(w.github.Puts()))
	stock, err := w.r.Stock(t.Context())
	must(t, err)
	same(t, int64(42), stock.States[rotation.Fresh])
}
