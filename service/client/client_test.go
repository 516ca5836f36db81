package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
)

// Not tokens of anybody: bearer is what the tests send, fresh what their servers answer.
const (
	bearer = "old-header.old-claims.old-signature"
	fresh  = "new-header.new-claims.new-signature"
)

// world is a License API made of the given answers, one for each request and the last one for all
// further ones, and a client of it whose clock moves only when it waits.
type world struct {
	*httptest.Server
	client *client.Client

	mu    sync.Mutex
	now   time.Time
	asked []string // method and path of each request
	waits []time.Duration
}

func newWorld(t testing.TB, answers ...http.HandlerFunc) *world {
	return newWorldWith(t, func(*client.Config) {}, answers...)
}

// newWorldWith lets the test change the client's settings.
func newWorldWith(t testing.TB, change func(*client.Config), answers ...http.HandlerFunc) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.asked = append(w.asked, r.Method+" "+r.URL.Path)
		answer := answers[min(len(w.asked), len(answers))-1]
		w.mu.Unlock()
		answer(rw, r)
	}))
	t.Cleanup(w.Server.Close)
	cfg := client.Config{
		BaseURL: w.URL + "/_api", HTTP: w.Server.Client(), UserAgent: "test/1",
		Now:   func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
		Rand:  func() float64 { return 0.5 },
		Sleep: w.sleep,
	}
	change(&cfg)
	w.client = newClient(t, cfg)
	return w
}

func (w *world) sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
	w.waits = append(w.waits, d)
	return ctx.Err()
}

func (w *world) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

func newClient(t testing.TB, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatalf("New(%s): %v", cfg.BaseURL, err)
	}
	return c
}

// answer is one of a fixed status, content type and body.
func answer(status int, contentType, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func good() http.HandlerFunc {
	return answer(200, "application/json; charset=utf-8", `{"token":"`+fresh+`"}`)
}

// refusal is an error as the service sends it.
func refusal(status int, code api.Code, headers ...string) http.HandlerFunc {
	body := fmt.Sprintf(`{"error":%q,"code":%q,"message":"do this and that"}`, http.StatusText(status), code)
	return answer(status, "application/json", body, headers...)
}

// wantFailure checks the kind of an error and that no form of it shows a token, and returns it as
// an *Error.
func wantFailure(t testing.TB, err, kind error) *client.Error {
	t.Helper()
	hunt(t, err)
	var e *client.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("error = %v, want a *client.Error that is %q", err, kind)
	}
	for _, other := range []error{
		client.ErrUnauthorized, client.ErrRefused, client.ErrUnavailable, client.ErrAnswer, context.Canceled, context.DeadlineExceeded,
	} {
		if other != kind && errors.Is(err, other) {
			t.Errorf("error %v is %q too", err, other)
		}
	}
	return e
}

func hunt(t testing.TB, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e)} {
			for _, part := range strings.Split(bearer+"."+fresh, ".") {
				if strings.Contains(text, part) {
					t.Errorf("error shows %q: %s", part, text)
				}
			}
			if strings.ContainsAny(text, "\n\r\x1b") {
				t.Errorf("error has a control character: %q", text)
			}
		}
	}
}

func wantText(t testing.TB, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestIssueAndRefreshSendWhatTheContractSays(t *testing.T) {
	t.Parallel()
	var heads []http.Header
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		heads = append(heads, r.Header)
		if r.ContentLength != 0 {
			t.Errorf("%s %s has a body of %d bytes", r.Method, r.URL, r.ContentLength)
		}
		good()(rw, r)
	})
	for _, call := range []func(context.Context, string) (api.IssuedToken, error){w.client.Issue, w.client.Refresh} {
		got, err := call(t.Context(), bearer)
		if err != nil || got.Token != fresh {
			t.Errorf("call = %q, %v, want the fresh token", got.Token, err)
		}
	}
	if diff := cmp.Diff([]string{"POST /_api/license/issue", "GET /_api/license/refresh"}, w.asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for _, h := range heads {
		if h.Get("Authorization") != "Bearer "+bearer || h.Get("User-Agent") != "test/1" || h.Get("Accept") != "application/json" {
			t.Errorf("headers = %v", h)
		}
	}
}

func TestHealthSendsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_api/health" || r.Header["Authorization"] != nil {
			t.Errorf("health asks %s with Authorization %q", r.URL, r.Header["Authorization"])
		}
		answer(200, "application/json", `{"status":"ok"}`)(rw, r)
	})
	if err := w.client.Health(t.Context()); err != nil {
		t.Errorf("Health() = %v", err)
	}
}

func TestHealthWantsOK(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"status":"bad"}`, `"ok"`} {
		w := newWorld(t, answer(200, "application/json", body))
		wantFailure(t, w.client.Health(t.Context()), client.ErrAnswer)
	}
}

func TestAnswerMayHoldTimesAndFieldsOfTomorrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answer(200, "application/json", `{"token":"`+fresh+`","expires_at":"2027-03-12T00:00:00Z",
		"refresh_after":"2027-01-10T00:00:00Z","capped_by":"valid_until","tomorrow":[1]}`+"\n"))
	want := api.IssuedToken{
		Token: fresh, ExpiresAt: api.Time{Time: time.Date(2027, 3, 12, 0, 0, 0, 0, time.UTC)},
		RefreshAfter: api.Time{Time: time.Date(2027, 1, 10, 0, 0, 0, 0, time.UTC)}, CappedBy: api.CappedByValidUntil,
	}
	got, err := w.client.Refresh(t.Context(), bearer)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Refresh() = %v (-want +got):\n%s", err, diff)
	}
}

func TestTokenThatCannotBeSentIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, good())
	for _, bad := range []string{"", bearer + "\n", " " + bearer, "a b", bearer + "\r\nX-Evil: 1", "tökén" + bearer, bearer + "\x7f", "\x00" + bearer} {
		for _, call := range []func(context.Context, string) (api.IssuedToken, error){w.client.Issue, w.client.Refresh} {
			_, err := call(t.Context(), bad)
			if !errors.Is(err, client.ErrBearer) {
				t.Errorf("call(%q) = %v, want ErrBearer", bad, err)
			}
			hunt(t, err)
		}
	}
	if n := w.requests(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestBaseURL(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		url, want string // want: part of the error; empty when the URL is good
	}{
		"with a path":                   {"https://pageflare.dev/_api", ""},
		"with a last slash":             {"https://pageflare.dev/_api/", ""},
		"without a path":                {"http://127.0.0.1:8080", ""},
		"of an IPv6 host":               {"http://[::1]:8080/_api", ""},
		"in capitals":                   {"HTTPS://PAGEFLARE.DEV/_api", ""},
		"missing":                       {"", "missing"},
		"without a scheme":              {"pageflare.dev/_api", "must start with https://"},
		"with a host as its scheme":     {"localhost:8080/_api", "must start with https://"},
		"of another scheme":             {"ftp://pageflare.dev/_api", "must start with https://"},
		"without a host":                {"https:///_api", "no host"},
		"with a port alone":             {"https://:443/_api", "no host"},
		"without slashes":               {"https:pageflare.dev", "no host"},
		"with a password":               {"https://user:hunter2@pageflare.dev/_api", "user name or password"},
		"broken and with a password":    {"https://user:hunter2@pageflare.dev:port/_api", "not a URL"},
		"with a query":                  {"https://pageflare.dev/_api?key=hunter2", "after ? or #"},
		"with an empty query":           {"https://pageflare.dev/_api?", "after ? or #"},
		"with a fragment":               {"https://pageflare.dev/_api#hunter2", "after ? or #"},
		"with an empty fragment":        {"https://pageflare.dev/_api#", "after ? or #"},
		"with a line break at its end":  {"https://pageflare.dev/_api\n", "line break"},
		"with a space at its beginning": {" https://pageflare.dev/_api", "space"},
		"with a space in the middle":    {"https://pageflare.dev/_ api", "space"},
		"with a control character":      {"https://pageflare.dev/\x07", "not a URL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client.New(client.Config{BaseURL: tt.url})
			if tt.want == "" {
				if err != nil {
					t.Errorf("New(%q) = %v, want no error", tt.url, err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), "api-url: ") || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("New(%q) = %v, want an error of api-url that says %q", tt.url, err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("New quotes the password: %v", err)
			}
		})
	}
}

func TestBaseURLAndRouteAreJoinedByOneSlash(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"": "GET /license/refresh", "/": "GET /license/refresh", "/_api": "GET /_api/license/refresh",
		"/_api/": "GET /_api/license/refresh", "/a/b//": "GET /a/b/license/refresh",
	} {
		w := newWorld(t, good())
		c := newClient(t, client.Config{BaseURL: w.URL + base, HTTP: w.Server.Client()})
		if _, err := c.Refresh(t.Context(), bearer); err != nil || w.asked[0] != want {
			t.Errorf("Refresh at %q = %v, asked %q, want %q", base, err, w.asked, want)
		}
	}
}

func TestBaseURLHasOneSpelling(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://pageflare.dev/_api": "https://pageflare.dev/_api", "https://PageFlare.dev:443/_api/": "https://pageflare.dev/_api",
		"http://127.0.0.1:8080/_api": "http://127.0.0.1:8080/_api", "http://[::1]:80": "http://[::1]", "HTTPS://a.example:80/A%2Fb": "https://a.example:80/A%2Fb",
	} {
		if got := newClient(t, client.Config{BaseURL: text}).BaseURL(); got != want {
			t.Errorf("BaseURL of %s = %s, want %s", text, got, want)
		}
	}
}

func TestClientServesManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, refusal(503, api.CodeUnavailable), good())
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if _, err := w.client.Refresh(t.Context(), bearer); err != nil {
				t.Errorf("Refresh() = %v", err)
			}
		})
	}
	group.Wait()
}
