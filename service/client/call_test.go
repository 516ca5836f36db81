package client_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
)

func TestFaultsThatPassAreTriedAgain(t *testing.T) {
	t.Parallel()
	const step = 250 * time.Millisecond // half of the first pause, as Rand says
	tests := map[string]struct {
		answers []http.HandlerFunc
		waits   []time.Duration
	}{
		"a 500":                         {[]http.HandlerFunc{refusal(500, api.CodeInternal), good()}, []time.Duration{step}},
		"four 502 pages":                {[]http.HandlerFunc{answer(502, "text/html", "x"), answer(502, "text/html", "x"), answer(502, "text/html", "x"), answer(502, "text/html", "x"), good()}, []time.Duration{step, 2 * step, 4 * step, 8 * step}},
		"a 503 that asks for 7 seconds": {[]http.HandlerFunc{refusal(503, api.CodeUnavailable, "Retry-After", "7"), good()}, []time.Duration{7*time.Second + step}},
		"a 429 that asks for a moment":  {[]http.HandlerFunc{refusal(429, api.CodeRateLimited, "Retry-After", "0"), good()}, []time.Duration{step}},
		"a wish that is no number":      {[]http.HandlerFunc{refusal(429, api.CodeRateLimited, "Retry-After", "soon"), good()}, []time.Duration{step}},
		"a wish that is negative":       {[]http.HandlerFunc{refusal(429, api.CodeRateLimited, "Retry-After", "-3"), good()}, []time.Duration{step}},
		"a date, by the server's clock": {[]http.HandlerFunc{refusal(503, api.CodeUnavailable, "Date", "Fri, 01 Jan 2021 00:00:00 GMT", "Retry-After", "Fri, 01 Jan 2021 00:00:09 GMT"), good()}, []time.Duration{9*time.Second + step}},
		"a date, by our clock":          {[]http.HandlerFunc{refusal(503, api.CodeUnavailable, "Date", "?", "Retry-After", "Sun, 01 Mar 2026 12:00:11 GMT"), good()}, []time.Duration{11*time.Second + step}},
		"a date that is over":           {[]http.HandlerFunc{refusal(503, api.CodeUnavailable, "Date", "?", "Retry-After", "Sun, 01 Mar 2026 11:59:00 GMT"), good()}, []time.Duration{step}},
		"a body that breaks off":        {[]http.HandlerFunc{breakOff(200), good()}, []time.Duration{step}},
		"half of the JSON":              {[]http.HandlerFunc{answer(200, "application/json", `{"tok`), good()}, []time.Duration{step}},
		"a connection that is reset":    {[]http.HandlerFunc{reset(t), good()}, []time.Duration{step}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, issue := range []bool{true, false} {
				w := newWorldWith(t, noKeepAlive, tt.answers...)
				call := w.client.Refresh
				if issue {
					call = w.client.Issue
				}
				got, err := call(t.Context(), bearer)
				if err != nil || got.Token != fresh {
					t.Fatalf("call = %v, %v, want the fresh token", got, err)
				}
				if diff := cmp.Diff(tt.waits, w.waits); diff != "" {
					t.Errorf("waits (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// noKeepAlive keeps net/http from sending a GET again on its own on a connection that died.
func noKeepAlive(cfg *client.Config) {
	cfg.HTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// breakOff says that more is to come and hangs up.
func breakOff(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"token":"new-header`))
	}
}

// reset ends the connection without an answer, by RST.
func reset(t testing.TB) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

func TestWaitsAreSpreadAndGrow(t *testing.T) {
	t.Parallel()
	for rnd, want := range map[float64][]time.Duration{
		0:    {0, 0, 0, 0},
		0.25: {125 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second},
	} {
		w := newWorldWith(t, func(cfg *client.Config) { cfg.Rand = func() float64 { return rnd } }, refusal(503, api.CodeUnavailable))
		_, err := w.client.Refresh(t.Context(), bearer)
		wantFailure(t, err, client.ErrUnavailable)
		if diff := cmp.Diff(want, w.waits); diff != "" {
			t.Errorf("waits at %v (-want +got):\n%s", rnd, diff)
		}
	}
}

func TestWishBeyondTheBudgetEndsTheCallAtOnce(t *testing.T) {
	t.Parallel()
	for wish, want := range map[string]time.Duration{
		"600": 10 * time.Minute, "60": time.Minute, "Sun, 01 Mar 2026 13:00:00 GMT": time.Hour, "99999999999999999999": 1<<31*time.Second - time.Second,
	} {
		w := newWorld(t, refusal(429, api.CodeRateLimited, "Date", "?", "Retry-After", wish))
		_, err := w.client.Refresh(t.Context(), bearer)
		e := wantFailure(t, err, client.ErrUnavailable)
		wantText(t, err, "429 rate_limited, do this and that; it asks to wait "+want.String()+", longer than the 1m0s that are left; try again later")
		if e.RetryAfter != want || w.requests() != 1 || len(w.waits) != 0 {
			t.Errorf("Retry-After %s: RetryAfter = %s, asked %d times, waited %v", wish, e.RetryAfter, w.requests(), w.waits)
		}
	}
}

func TestWaitsCountAgainstTheBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, refusal(503, api.CodeUnavailable, "Retry-After", "25"))
	_, err := w.client.Refresh(t.Context(), bearer)
	wantFailure(t, err, client.ErrUnavailable)
	wantText(t, err, "it asks to wait 25s, longer than the 9s that are left", "gave up after 3 tries")
	if w.requests() != 3 {
		t.Errorf("asked %d times, want 3", w.requests())
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	waits := 0
	c := newClient(t, client.Config{
		BaseURL: "http://" + addr, HTTP: &http.Client{Transport: &http.Transport{}},
		Sleep: func(ctx context.Context, _ time.Duration) error { waits++; return ctx.Err() },
	})
	_, err = c.Issue(t.Context(), bearer)
	e := wantFailure(t, err, client.ErrUnavailable)
	wantText(t, err, "the License API at "+addr+" is not available: ", "refused; gave up after 5 tries; check api-url and the network, or try again later")
	if waits != 4 || e.Status != 0 || e.Tries != 5 {
		t.Errorf("waited %d times, %+v", waits, e)
	}
}

func TestBodyThatAlwaysBreaksOff(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, noKeepAlive, breakOff(200))
	_, err := w.client.Refresh(t.Context(), bearer)
	wantFailure(t, err, client.ErrUnavailable)
	wantText(t, err, "its answer broke off after 20 bytes (unexpected EOF); gave up after 5 tries")
	// A refusal is one also when its text is lost.
	w = newWorldWith(t, noKeepAlive, breakOff(403))
	_, err = w.client.Refresh(t.Context(), bearer)
	wantFailure(t, err, client.ErrRefused)
}

func TestConnectionThatIsAlwaysReset(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, noKeepAlive, reset(t))
	_, err := w.client.Issue(t.Context(), bearer)
	wantFailure(t, err, client.ErrUnavailable)
	if w.requests() != 5 {
		t.Errorf("asked %d times, want 5", w.requests())
	}
}

// hang answers only when the client has gone; with a head, after half of its answer.
func hang(head bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if head {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"token":`))
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

func TestSlowAnswerEndsTheTry(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]bool{"before its head": false, "in its body": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, func(cfg *client.Config) { cfg.Attempt = 30 * time.Millisecond }, hang(head))
			_, err := w.client.Refresh(t.Context(), bearer)
			wantFailure(t, err, client.ErrUnavailable)
			wantText(t, err, "gave up after 5 tries")
			if !head {
				wantText(t, err, "is not available: no answer within 30ms")
			}
		})
	}
}

func TestSlowAnswerThenAGoodOne(t *testing.T) {
	t.Parallel()
	// The limit is long enough for the good answer on a busy machine; the hanging one costs it in
	// full.
	w := newWorldWith(t, func(cfg *client.Config) { cfg.Attempt = time.Second }, hang(false), good())
	if got, err := w.client.Refresh(t.Context(), bearer); err != nil || got.Token != fresh {
		t.Errorf("Refresh() = %v, %v, want the fresh token", got, err)
	}
}

func TestBudgetEndsATry(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, func(cfg *client.Config) { cfg.Budget = 30 * time.Millisecond }, hang(false))
	_, err := w.client.Refresh(t.Context(), bearer)
	wantFailure(t, err, client.ErrUnavailable)
	wantText(t, err, "no answer within the 30ms of the whole call")
}

func TestCancelStopsAtOnce(t *testing.T) {
	t.Parallel()
	boom := func(stop context.CancelFunc) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) { stop(); <-r.Context().Done() }
	}
	tests := map[string]struct {
		answer func(context.CancelFunc) http.HandlerFunc
		change func(*client.Config, context.CancelFunc)
	}{
		"while the API answers":   {boom, func(*client.Config, context.CancelFunc) {}},
		"between answer and wait": {always503, func(cfg *client.Config, stop context.CancelFunc) { cfg.Rand = func() float64 { stop(); return 0 } }},
		"between answer and timer": {always503, func(cfg *client.Config, stop context.CancelFunc) {
			cfg.Rand = func() float64 { stop(); return 0 }
			cfg.Sleep = nil
		}},
		"during the wait": {always503, func(cfg *client.Config, stop context.CancelFunc) {
			cfg.Sleep = func(ctx context.Context, _ time.Duration) error { stop(); return ctx.Err() }
		}},
		"before anything was sent": {always503, func(_ *client.Config, stop context.CancelFunc) { stop() }},
		"during a long wait, by time": {always503, func(cfg *client.Config, stop context.CancelFunc) {
			cfg.Sleep = nil
			time.AfterFunc(20*time.Millisecond, stop)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			w := newWorldWith(t, func(cfg *client.Config) { tt.change(cfg, stop) }, tt.answer(stop))
			_, err := w.client.Refresh(ctx, bearer)
			hunt(t, err)
			if !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnavailable) || !strings.HasPrefix(err.Error(), "refresh license token: ") {
				t.Errorf("Refresh() = %v, want context canceled and nothing else", err)
			}
			if w.requests() > 1 {
				t.Errorf("asked %d times after the cancel", w.requests())
			}
		})
	}
}

func always503(context.CancelFunc) http.HandlerFunc {
	return refusal(503, api.CodeUnavailable, "Retry-After", "30")
}

func TestDeadlineOfTheCallerIsTheCallers(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer stop()
	w := newWorld(t, hang(false))
	if _, err := w.client.Refresh(ctx, bearer); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, client.ErrUnavailable) {
		t.Errorf("Refresh() = %v, want deadline exceeded", err)
	}
}

func TestUntrustedCertificateAndPlainAnswerAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	secure := httptest.NewUnstartedServer(good())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(good())
	t.Cleanup(plain.Close)
	for name, base := range map[string]string{"a certificate nobody trusts": secure.URL, "http behind https": "https://" + strings.TrimPrefix(plain.URL, "http://")} {
		waits := 0
		c := newClient(t, client.Config{
			BaseURL: base, HTTP: &http.Client{Transport: &http.Transport{}},
			Sleep: func(context.Context, time.Duration) error { waits++; return nil },
		})
		_, err := c.Refresh(t.Context(), bearer)
		wantFailure(t, err, client.ErrUnavailable)
		wantText(t, err, "; check api-url")
		if waits != 0 {
			t.Errorf("%s: tried again %d times", name, waits)
		}
	}
}
