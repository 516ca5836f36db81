package secret_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

func TestWhatIsWorthAnotherTry(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for about, tc := range map[string]struct {
		fault func(now time.Time) githubtest.Fault
		waits []time.Duration
	}{
		"a server error waits a second": {status(500, nil), []time.Duration{s}},
		"server errors wait longer and longer": {
			func(time.Time) githubtest.Fault {
				return githubtest.Fault{Status: 502, Body: "<html>Bad gateway", Times: 4}
			},
			[]time.Duration{s, 2 * s, 4 * s, 8 * s},
		},
		"a server error that says when":          {status(503, header("Retry-After", "7")), []time.Duration{7 * s}},
		"a connection that is reset":             {breaks(githubtest.Fault{CloseConnection: true}), []time.Duration{s}},
		"an answer that breaks off":              {breaks(githubtest.Fault{Truncate: true}), []time.Duration{s}},
		"429 that says when":                     {status(429, header("Retry-After", "30")), []time.Duration{30 * s}},
		"429 that says a date":                   {at(429, "Retry-After", 40*s, http.TimeFormat), []time.Duration{40 * s}},
		"429 that says nothing":                  {status(429, nil), []time.Duration{60 * s}},
		"429 again and again":                    {breaks(githubtest.Fault{Status: 429, Times: 2}), []time.Duration{60 * s, 120 * s}},
		"429 that says at once":                  {status(429, header("Retry-After", "0")), []time.Duration{s}},
		"429 whose time is nonsense":             {status(429, header("Retry-After", "soon")), []time.Duration{60 * s}},
		"429 whose time is beyond all numbers":   {status(429, header("Retry-After", "99999999999999999999")), []time.Duration{60 * s}},
		"403 of a limit that says when":          {limit403("x", header("Retry-After", "30")), []time.Duration{30 * s}},
		"403 of a spent limit":                   {at(403, "X-RateLimit-Reset", 90*s, ""), []time.Duration{90 * s}},
		"403 of a limit that was reset just now": {at(403, "X-RateLimit-Reset", -5*s, ""), []time.Duration{s}},
		"403 of a limit that only the link tells": {
			breaks(githubtest.Fault{Status: 403, Body: `{"documentation_url":"https://docs.github.com/x#about-secondary-rate-limits"}`}),
			[]time.Duration{60 * s},
		},
		"403 of the secondary limit":               {limit403("You have exceeded a secondary rate limit", nil), []time.Duration{60 * s}},
		"403 of the secondary limit, in old words": {limit403("You have triggered an abuse detection mechanism", nil), []time.Duration{60 * s}},
	} {
		for _, request := range []string{"GET /public-key", "PUT /" + name} {
			t.Run(about+" on "+request, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.github.FailNext(request, tc.fault(w.clock.Now()))
				if got, err := w.write(t); err != nil || got == 0 {
					t.Fatalf("Write = %v, %v, want it to pass in the end", got, err)
				}
				if diff := cmp.Diff(tc.waits, w.clock.slept); diff != "" {
					t.Errorf("waits (-want +got):\n%s", diff)
				}
				if got, _, _ := w.github.Secret("acme/site", name); got != value {
					t.Errorf("the secret holds %q, want %q", got, value)
				}
			})
		}
	}
}

func header(name, value string) map[string]string { return map[string]string{name: value} }

func status(status int, header map[string]string) func(time.Time) githubtest.Fault {
	return breaks(githubtest.Fault{Status: status, Header: header})
}

func breaks(fault githubtest.Fault) func(time.Time) githubtest.Fault {
	return func(time.Time) githubtest.Fault { return fault }
}

func limit403(message string, header map[string]string) func(time.Time) githubtest.Fault {
	return breaks(githubtest.Fault{Status: 403, Body: `{"message":` + strconv.Quote(message) + `}`, Header: header})
}

// at names a time relative to the server's, which runs an hour before the runner's.
func at(status int, name string, in time.Duration, layout string) func(time.Time) githubtest.Fault {
	return func(now time.Time) githubtest.Fault {
		server := now.Add(-time.Hour).UTC()
		text := strconv.FormatInt(server.Add(in).Unix(), 10)
		if layout != "" {
			text = server.Add(in).Format(layout)
		}
		return githubtest.Fault{Status: status, Body: `{"message":"API rate limit exceeded for user"}`, Header: map[string]string{
			name: text, "Date": server.Format(http.TimeFormat), "X-RateLimit-Remaining": "0",
		}}
	}
}

func TestWhatIsFinalAtOnce(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		githubtest.Fault
		want string
	}{
		"401": {githubtest.Fault{Status: 401}, "GitHub refused (401)"},
		"403": {githubtest.Fault{Status: 403}, "GitHub refused (403)"},
		"404": {githubtest.Fault{Status: 404}, "GitHub refused (404)"},
		"400": {githubtest.Fault{Status: 400}, "GitHub refused (400)"},
		"409": {githubtest.Fault{Status: 409}, "GitHub refused (409)"},
		"403 on the last call that the limit allows": {githubtest.Fault{Status: 403, Header: map[string]string{
			"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999",
		}}, "Resource not accessible by personal access token"},
		"403 that speaks of rights, on the last call": {githubtest.Fault{Status: 403, Body: `{"message":"Must have admin rights to Repository.",` +
			`"documentation_url":"https://docs.github.com/rest/actions/secrets"}`, Header: map[string]string{
			"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999",
		}}, "GitHub refused (403): Must have admin rights to Repository."},
		"200 that is not JSON":       {githubtest.Fault{Status: 200, Body: "<html>login"}, "no usable answer from GitHub: invalid character"},
		"200 without a key":          {githubtest.Fault{Status: 200, Body: "{}"}, "the answer has no public key"},
		"200 with a key of 31 bytes": {githubtest.Fault{Status: 200, Body: `{"key_id":"1","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}`}, "31 bytes, want 32"},
		"200 beyond all size":        {githubtest.Fault{Status: 200, Body: `{"key_id":"` + strings.Repeat("1", 4<<20) + `"}`}, "the answer is larger than 4194304 bytes"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.github.FailNext("GET /public-key", tc.Fault)
			if got, err := w.write(t); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Write(%s) = %v, %v, want an error with %q", about, got, err, tc.want)
			}
			if got := w.asked(); len(got) != 1 || len(w.clock.slept) > 0 {
				t.Errorf("requests %v and waits %v, want one request", got, w.clock.slept)
			}
		})
	}
}

func TestServerErrorsEndAfterFiveTries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("GET /public-key", githubtest.Fault{Status: 500, Times: -1})
	_, err := w.write(t)
	if err == nil || !strings.Contains(err.Error(), "GitHub has trouble (500): Internal Server Error") {
		t.Errorf("Write = %v, want GitHub's trouble", err)
	}
	if got := len(w.asked()); got != 5 {
		t.Errorf("%d tries, want 5", got)
	}
}

func TestALimitThatOutlastsTheDeadlineIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	until := w.clock.Now().Add(time.Hour)
	w.github.FailNext("GET /public-key", githubtest.Fault{
		Status: 403, Body: `{"message":"API rate limit exceeded"}`, Header: map[string]string{
			"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(until.Unix(), 10),
			"Date": w.clock.Now().UTC().Format(http.TimeFormat),
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	_, err := w.writeIn(t, ctx)
	var failed *secret.Error
	if !errors.As(err, &failed) || failed.Status != 403 || !failed.RetryAt.Equal(until) {
		t.Fatalf("Write = %#v, want an *Error that says %v", err, until)
	}
	const want = "GitHub's rate limit is used up (403): API rate limit exceeded"
	if !strings.Contains(err.Error(), want) {
		t.Errorf("Write = %v, want %q in it", err, want)
	}
	if len(w.clock.slept) > 0 {
		t.Errorf("waits = %v, want none", w.clock.slept)
	}

	// The limit was one answer's, and the client asks again when it is told to: go-github alone would refuse by itself.
	if got, err := w.write(t); err != nil || got != secret.Created {
		t.Errorf("the next Write = %v, %v, want created", got, err)
	}
}

func TestACallThatSpendsTheLimitDoesNotStopTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reset := strconv.FormatInt(w.clock.Now().Add(time.Hour).Unix(), 10)
	w.github.FailNext("GET /public-key", githubtest.Fault{
		Header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset, "X-RateLimit-Limit": "1000"},
	})
	if got, err := w.write(t); err != nil || got != secret.Created {
		t.Errorf("Write = %v, %v, want GitHub to decide on the next call", got, err)
	}
}

func TestALimitBeyondAllReasonIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	for about, limit := range map[string]map[string]string{
		"a limit that ends in 3000 years": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999"},
		"a wait of 68 years":              {"Retry-After": "2147483647"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cfg := w.config(t, goodToken)
			cfg.Rand = ones{}
			w.writer = newWriter(t, cfg)
			w.github.FailNext("GET /public-key", githubtest.Fault{Status: 429, Header: limit})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			_, err := w.writeIn(t, ctx)
			var failed *secret.Error
			if !errors.As(err, &failed) || failed.RetryAt.Before(w.clock.Now().Add(time.Hour)) || len(w.clock.slept) > 0 {
				t.Errorf("Write = %v after waits %v, want the limit at once", err, w.clock.slept)
			}
		})
	}
}

func TestATroubleThatOutlastsTheDeadlineIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("GET /public-key", githubtest.Fault{Status: 503, Header: header("Retry-After", "3600")})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	_, err := w.writeIn(t, ctx)
	if err == nil || !strings.Contains(err.Error(), "GitHub has trouble (503)") || len(w.clock.slept) > 0 {
		t.Errorf("Write = %v after waits %v, want GitHub's trouble at once", err, w.clock.slept)
	}
}

func TestAnAnswerThatNeverComesIsGivenUpAndAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config(t, goodToken)
	cfg.Timeout = 100 * time.Millisecond
	w.writer = newWriter(t, cfg)
	w.github.FailNext("GET /public-key", githubtest.Fault{Hold: make(chan struct{})})
	if got, err := w.write(t); err != nil || got != secret.Created {
		t.Errorf("Write(first answer never comes) = %v, %v, want created", got, err)
	}
	w.github.FailNext("GET /public-key", githubtest.Fault{Hold: make(chan struct{}), Times: -1})
	if _, err := w.write(t); err == nil || !strings.Contains(err.Error(), "no answer in time (100ms)") {
		t.Errorf("Write(no answer ever comes) = %v, want it given up", err)
	}
}

func TestACancelledWriteEndsAtOnceAndSaysWhatHappened(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"while GitHub is silent":         "stopped before GitHub had answered: the run was cancelled",
		"while waiting for the next try": "GitHub has trouble (500)",
	}
	for about, plan := range map[string]func(*world, func()){
		"while GitHub is silent": func(w *world, cancel func()) {
			w.github.FailNext("PUT /"+name, githubtest.Fault{OnArrive: cancel, Hold: make(chan struct{})})
		},
		"while waiting for the next try": func(w *world, cancel func()) {
			w.github.FailNext("PUT /"+name, githubtest.Fault{Status: 500})
			w.clock.onSleep = cancel
		},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			plan(w, cancel)
			_, err := w.writeIn(t, ctx)
			if err == nil || !strings.Contains(err.Error(), want[about]) {
				t.Errorf("Write(cancelled) = %v, want %q", err, want[about])
			}
			if _, _, ok := w.github.Secret("acme/site", name); ok {
				t.Error("the secret was written")
			}
		})
	}
}

func TestTheSystemsTimerWaitsAndHearsTheContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config(t, goodToken)
	cfg.Sleep = nil
	w.writer = newWriter(t, cfg)
	w.github.FailNext("GET /public-key", githubtest.Fault{Status: 503, Header: header("Retry-After", "1")})
	if got, err := w.write(t); err != nil || got != secret.Created {
		t.Errorf("Write = %v, %v, want created", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Rand = readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }) // asked when a wait is about to begin
	w.writer = newWriter(t, cfg)
	w.github.FailNext("GET /public-key", githubtest.Fault{Status: 503, Header: header("Retry-After", "3600")})
	if _, err := w.writeIn(t, ctx); err == nil || !strings.Contains(err.Error(), "GitHub has trouble (503)") {
		t.Errorf("Write(cancelled while it waits) = %v, want what GitHub said", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestWaitsAreSpreadButNeverShortened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config(t, goodToken)
	cfg.Rand = ones{}
	w.writer = newWriter(t, cfg)
	w.github.FailNext("GET /public-key", githubtest.Fault{Status: 429, Header: header("Retry-After", "64")})
	if _, err := w.write(t); err != nil {
		t.Fatalf("Write: %v", err)
	}
	if got := w.clock.slept[0]; got <= 64*time.Second || got > 80*time.Second {
		t.Errorf("wait = %v, want more than 64s and at most a quarter more", got)
	}
}

// ones is randomness that adds the most to a wait.
type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 255
	}
	return len(p), nil
}

func TestACertificateThatIsNotTrustedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	w := newWorld(t)
	cfg := w.config(t, goodToken)
	cfg.APIURL = server.URL
	w.writer = newWriter(t, cfg)
	_, err := w.write(t)
	if err == nil || !strings.Contains(err.Error(), "certificate") || len(w.clock.slept) > 0 {
		t.Errorf("Write(unknown certificate) = %v after waits %v, want it refused at once", err, w.clock.slept)
	}
}

func TestAHostThatIsNotKnownIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		notFound bool
		waits    int
	}{
		"a name that does not exist":       {true, 0},
		"a name server that has no answer": {false, 4},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			lookup := &net.DNSError{Err: "lookup", Name: "ghe.example", IsNotFound: tc.notFound}
			writer := newWriter(t, github.Config{
				APIURL: "https://ghe.example/api/v3", Token: goodToken, UserAgent: "x", Now: c.Now, Rand: zero{}, Sleep: c.Sleep,
				Transport: tripper(func() error { return lookup }),
			})
			_, err := writer.Write(t.Context(), target(t, "repository"), name, value)
			want := "no usable answer from GitHub: lookup ghe.example: lookup"
			if !errors.Is(err, lookup) || !strings.Contains(err.Error(), want) || len(c.slept) != tc.waits {
				t.Errorf("Write = %v after waits %v, want %d waits", err, c.slept, tc.waits)
			}
		})
	}
}

// tripper is a transport that never gets an answer.
type tripper func() error

func (f tripper) RoundTrip(*http.Request) (*http.Response, error) { return nil, f() }
