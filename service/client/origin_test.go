package client_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/client"
)

// redirect sends the caller to the address.
func redirect(status int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	}
}

// stranger is a server that must not be asked.
func stranger(t testing.TB, start func(http.Handler) *httptest.Server) *httptest.Server {
	t.Helper()
	s := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the stranger was asked %s %s with Authorization %q", r.Method, r.URL, r.Header.Get("Authorization"))
		good()(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRedirectToAnotherOriginIsNotFollowed(t *testing.T) {
	t.Parallel()
	other := stranger(t, httptest.NewServer)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, to := range map[string]string{
			"another port": other.URL + "/_api/license/refresh",
			"another host": strings.Replace(other.URL, "127.0.0.1", "localhost", 1),
			"no scheme":    strings.TrimPrefix(other.URL, "http:"),
			"another scheme on the same host, which would be a way down the other way round": "https://" + strings.TrimPrefix(other.URL, "http://"),
		} {
			w := newWorld(t, redirect(status, to))
			_, err := w.client.Refresh(t.Context(), bearer)
			wantFailure(t, err, client.ErrAnswer)
			wantText(t, err, "redirect to http", ": check api-url")
			if w.requests() != 1 {
				t.Errorf("%d to %s: asked %d times, want once", status, name, w.requests())
			}
		}
	}
}

func TestRedirectFromHTTPSToHTTPIsNotFollowed(t *testing.T) {
	t.Parallel()
	plain := stranger(t, httptest.NewServer)
	secure := httptest.NewTLSServer(redirect(302, plain.URL))
	t.Cleanup(secure.Close)
	c := newClient(t, client.Config{BaseURL: secure.URL, HTTP: secure.Client()})
	_, err := c.Refresh(t.Context(), bearer)
	wantFailure(t, err, client.ErrAnswer)
}

func TestRedirectWithinTheOriginIsFollowedWithTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redirect(307, "/v2/license/issue"), func(rw http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+bearer {
			t.Errorf("Authorization = %q after the redirect", got)
		}
		good()(rw, r)
	})
	got, err := w.client.Issue(t.Context(), bearer)
	if err != nil || got.Token != fresh {
		t.Fatalf("Issue() = %v, %v, want the fresh token", got, err)
	}
	if diff := cmp.Diff([]string{"POST /_api/license/issue", "POST /v2/license/issue"}, w.asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestRedirectThatMakesAnotherRequestIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303} {
		w := newWorld(t, redirect(status, "/login"), good())
		_, err := w.client.Issue(t.Context(), bearer)
		wantFailure(t, err, client.ErrAnswer)
		wantText(t, err, "redirect that makes GET of POST")
		if w.requests() != 1 {
			t.Errorf("%d: asked %d times, want once", status, w.requests())
		}
	}
}

func TestRedirectInACircleEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redirect(302, "/_api/license/refresh"))
	_, err := w.client.Refresh(t.Context(), bearer)
	wantFailure(t, err, client.ErrAnswer)
	wantText(t, err, "redirect number 6")
	if w.requests() != 6 {
		t.Errorf("asked %d times, want 6", w.requests())
	}
}

// The callers' own client may follow what it likes, hold cookies, and so on: none of that is taken
// over.
func TestOnlyTheTransportOfTheGivenClientIsUsed(t *testing.T) {
	t.Parallel()
	other := stranger(t, httptest.NewServer)
	w := newWorldWith(t, func(cfg *client.Config) {
		cfg.HTTP = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	}, redirect(302, other.URL))
	_, err := w.client.Refresh(t.Context(), bearer)
	wantFailure(t, err, client.ErrAnswer)
}
