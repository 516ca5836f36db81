package remedy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/action/remedy"
	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

func TestALimitSaysWhenToTryAgain(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	for want, fault := range map[string]githubtest.Fault{
		"GitHub's rate limit is used up (403): API rate limit exceeded; try again after " + until.UTC().Format(time.RFC3339) + ", which is too late for this run": {
			Status: 403, Body: `{"message":"API rate limit exceeded"}`, Header: map[string]string{
				"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(until.Unix(), 10),
			}},
		"GitHub's rate limit is used up (403); try again after ":                               {Status: 403, Header: header("Retry-After", "86400"), Body: "<html>"},
		"GitHub's rate limit is used up (429): API rate limit exceeded; try again after ":      {Status: 429, Header: header("Retry-After", "86400")},
		"a proxy between here and GitHub asks to wait (429); try again after ":                 {Status: 429, Header: header("Retry-After", "86400"), Body: "<html>", Proxy: true},
		"GitHub has trouble (503): Service Unavailable; try again later; https://www.githubst": {Status: 503, Header: header("Retry-After", "86400")},
	} {
		w := newWorld(t)
		w.github.FailNext("GET /public-key", fault)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		err := w.writeWith(t, ctx, secret.WriterConfig{API: w.config(t, goodToken)}, "repository")
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Write = %v, want %q", err, want)
		}
	}
}

func TestServerErrorsAreForLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("GET /public-key", githubtest.Fault{Status: 500, Times: -1})
	err := w.write(t, goodToken, "repository")
	if err == nil || !strings.Contains(err.Error(), "GitHub has trouble (500): Internal Server Error; try again later") {
		t.Errorf("Write = %v, want GitHub's trouble", err)
	}
}

type tripper func() error

func (f tripper) RoundTrip(*http.Request) (*http.Response, error) { return nil, f() }

func TestNoAnswerIsForTheNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over, end := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer end()
	lookup := &net.DNSError{Err: "lookup", Name: "ghe.example", IsNotFound: true}
	for _, tc := range []struct {
		about string
		ctx   context.Context
		fail  func() error
		want  string
	}{
		{"a name that does not exist", t.Context(), func() error { return lookup },
			"no usable answer from GitHub: lookup ghe.example: lookup; check the network, the proxy and the address"},
		{"the time is over", over, func() error { return errors.New("x") },
			"the time for it is over; see https://www.githubstatus.com, and check the network and the proxy"},
		{"a cancellation", ctx, func() error { cancel(); return ctx.Err() }, "the run was cancelled"},
	} {
		cfg := w.config(t, goodToken)
		cfg.Transport = tripper(tc.fail)
		err := w.writeWith(t, tc.ctx, secret.WriterConfig{API: cfg}, "repository")
		if err == nil || !strings.Contains(err.Error(), tc.want) || tc.ctx == ctx && !strings.HasSuffix(err.Error(), tc.want) {
			t.Errorf("Write, %s = %v, want %q", tc.about, err, tc.want)
		}
	}
}

func TestAServerThatMayLackAStoreIsNamed(t *testing.T) {
	t.Parallel()
	cfg := githubConfig()
	cfg.NoDependabot = true
	cfg.Tokens = []githubtest.Token{{Value: goodToken, Permissions: map[string]string{"dependabot_secrets": "write"}}}
	w := &world{githubtest.Start(t, cfg)}
	err := w.write(t, goodToken, "dependabot/repository")
	for _, want := range []string{"does not exist or the token cannot see it", "; or this server has no Dependabot secrets"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Write = %v, want %q", err, want)
		}
	}
}

func TestAnErrorWithARemedyKeepsItsFact(t *testing.T) {
	t.Parallel()
	var fault *secret.Error
	if err := newWorld(t).write(t, "token-that-may-nothing", "repository"); !errors.As(err, &fault) || fault.Kind != github.PermissionMissing {
		t.Errorf("Write = %v, want the fact inside", err)
	}
	for _, err := range []error{nil, io.EOF} {
		if got := remedy.Advise(err, "https://api.github.com"); got != err {
			t.Errorf("Advise(%v) = %v, want it as it is", err, got)
		}
	}
}
