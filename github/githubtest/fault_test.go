package githubtest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
)

var getKey = call{method: "GET", path: secrets + "public-key"}

func TestAFaultIsAnsweredAsOftenAsPlanned(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	s.FailNext("GET /public-key", githubtest.Fault{Status: 500, Times: 2})
	s.FailNext("", githubtest.Fault{Status: 503, Body: "<html>", Header: map[string]string{"Retry-After": "3"}})
	if got := (call{method: "GET", path: "/repos/acme/site"}).do(t, s); got.status != 503 || got.body != "<html>" ||
		got.header.Get("Retry-After") != "3" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
		t.Errorf("the fault for every request = %+v, want 503 in HTML", got)
	}
	var statuses []int
	for range 3 {
		statuses = append(statuses, getKey.do(t, s).status)
	}
	if diff := cmp.Diff([]int{500, 500, 200}, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestAFaultMatchesMethodAndEndOfPath(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	s.FailNext("PUT /public-key", githubtest.Fault{Status: 500, Times: -1})
	s.FailNext("GET /other", githubtest.Fault{Status: 500, Times: -1})
	if got := getKey.do(t, s); got.status != 200 {
		t.Errorf("GET = %d, want 200: no fault fits", got.status)
	}
}

func TestAFaultThatNothingMetFailsTheTest(t *testing.T) {
	t.Parallel()
	tb := &recorder{}
	s := githubtest.Start(tb, config())
	s.FailNext("GET /public-key", githubtest.Fault{Status: 500, Times: 2})
	s.FailNext("GET /never", githubtest.Fault{Status: 500, Times: -1})
	getKey.do(t, s)
	tb.cleanup()
	if len(tb.errors) != 1 || !strings.Contains(tb.errors[0], `"GET /public-key" was not met (1 left)`) {
		t.Errorf("the test got the errors %q, want one about the fault that is left", tb.errors)
	}
}

func TestStatusesSpeakWithGitHubsWords(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	for status, want := range map[int]string{
		401: "Bad credentials", 403: "Resource not accessible by personal access token", 404: "Not Found",
		422: "Validation Failed", 429: "API rate limit exceeded", 502: "Bad Gateway",
	} {
		s.FailNext("GET /public-key", githubtest.Fault{Status: status})
		if got := getKey.do(t, s); got.status != status || !strings.Contains(got.body, `"message":"`+want+`"`) {
			t.Errorf("fault %d = %d %s, want %q", status, got.status, got.body, want)
		}
	}
}

func TestAFaultWithoutStatusLetsTheRequestTakeEffect(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	id, public := key(t, s)
	put := call{method: "PUT", path: secrets + "X", body: putBody(id, seal(t, public, "v"))}

	s.FailNext("PUT /X", githubtest.Fault{Status: 500})
	put.do(t, s)
	if _, _, ok := s.Secret("acme/site", "X"); ok {
		t.Error("a PUT that was answered with 500 took effect")
	}
	s.FailNext("PUT /X", githubtest.Fault{CloseConnection: true})
	if got, err := put.try(t.Context(), s); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("PUT = %v, %v, want a broken connection", got, err)
	}
	if _, _, ok := s.Secret("acme/site", "X"); !ok {
		t.Error("a PUT whose answer was lost took no effect")
	}
	s.FailNext("PUT /X", githubtest.Fault{Header: map[string]string{"X-RateLimit-Remaining": "0"}})
	if got := put.do(t, s); got.status != 204 || got.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("PUT = %+v, want its own answer with the header", got)
	}
}

func TestATruncatedAnswerEndsTooEarly(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	s.FailNext("GET /public-key", githubtest.Fault{Truncate: true})
	if got, err := getKey.try(t.Context(), s); !errors.Is(err, io.ErrUnexpectedEOF) || got.body == "" {
		t.Errorf("GET = %+v, %v, want half a body and an unexpected end", got, err)
	}
}

func TestAHeldAnswerComesWhenItIsReleased(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	hold := make(chan struct{})
	s.FailNext("GET /public-key", githubtest.Fault{Hold: hold, OnArrive: func() {
		if n := len(s.Requests()); n != 0 {
			t.Errorf("%d requests are answered, want none yet", n)
		}
		close(hold)
	}})
	if got := getKey.do(t, s); got.status != 200 {
		t.Errorf("GET = %d, want 200", got.status)
	}
}

func TestAHeldRequestEndsWithItsClientAndTakesNoEffect(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	id, public := key(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	s.FailNext("PUT /X", githubtest.Fault{Hold: make(chan struct{}), OnArrive: cancel})
	put := call{method: "PUT", path: secrets + "X", body: putBody(id, seal(t, public, "v"))}
	if _, err := put.try(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("PUT = %v, want context.Canceled", err)
	}
	if _, _, ok := s.Secret("acme/site", "X"); ok {
		t.Error("the PUT took effect")
	}
}

func TestCloseEndsHeldRequests(t *testing.T) {
	t.Parallel()
	s, err := githubtest.NewServer(config())
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{})
	s.FailNext("GET /public-key", githubtest.Fault{Hold: make(chan struct{}), OnArrive: func() { close(arrived) }})
	failed := make(chan error, 1)
	go func() {
		_, err := getKey.try(context.Background(), s)
		failed <- err
	}()
	<-arrived
	s.Close()
	if err := <-failed; err == nil {
		t.Error("GET = nil, want a broken connection")
	}
	if _, err := getKey.try(t.Context(), s); err == nil {
		t.Error("GET after Close = nil, want no connection")
	}
}
