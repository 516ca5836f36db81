package deliver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/signature"
)

const (
	secret  = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
	retired = "whsec_ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func clock() time.Time { return at }

// send sends an attempt to a receiver on this machine.
func send(t *testing.T, url string, limit time.Duration) deliver.Answer {
	t.Helper()
	s := deliver.NewSender(deliver.SenderConfig{
		Guard: deliver.NewGuard(loopback, nil, ownAddress), Agent: "pageflare-license/test", Now: clock, Limit: limit,
	})
	t.Cleanup(s.Close)
	return s.Send(t.Context(), attempt(url))
}

func attempt(url string) deliver.Attempt {
	return deliver.Attempt{
		URL: url, Secrets: []string{secret, retired}, EventID: "evt_0123456789abcdef", Type: "ping", Body: []byte(`{"id":"evt_0123456789abcdef"}`),
	}
}

func TestADeliveryIsSignedInBothWays(t *testing.T) {
	t.Parallel()
	got := make(chan error, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = signature.Verify(r.Header, body, at, secret)
		}
		if err == nil {
			_, err = signature.Verify(r.Header, body, at, retired)
		}
		if err == nil {
			err = signature.VerifyVendor(r.Header, body, secret)
		}
		if err == nil {
			want := http.Header{
				"Content-Type": {"application/json"}, "User-Agent": {"pageflare-license/test"}, "X-Pageflare-Event": {"ping"}, "Webhook-Id": {"evt_0123456789abcdef"},
			}
			for name := range want {
				if r.Header.Get(name) != want.Get(name) {
					err = fmt.Errorf("%s: %q, want %q", name, r.Header.Get(name), want.Get(name))
				}
			}
			if r.Header.Get("Idempotency-Key") != "" || r.Header.Get("Accept-Encoding") != "" || r.Method != http.MethodPost || r.URL.RequestURI() != "/hook?a=b" {
				err = fmt.Errorf("%s %s %v", r.Method, r.URL.RequestURI(), r.Header)
			}
		}
		got <- err
	}))
	defer receiver.Close()
	if a := send(t, receiver.URL+"/hook?a=b", 0); !a.Success() || !strings.HasPrefix(a.Addr, "127.0.0.1:") {
		t.Errorf("answer = %+v, want success", a)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// hang waits until the sender has left, which a server notices when it has read the body.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// What receivers do that they should not. None holds us up, and what they say is told.
func TestReceiversThatMisbehave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		limit   time.Duration
		status  int
		err     string
		body    string
		after   time.Duration
	}{
		"never answers": {
			handler: func(_ http.ResponseWriter, r *http.Request) { hang(r) },
			limit:   50 * time.Millisecond, err: "no response within",
		},
		"begins to answer, and never ends": {
			handler: func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, "one moment")
				_ = http.NewResponseController(w).Flush()
				hang(r)
			},
			limit: 50 * time.Millisecond, status: 200, err: "the response began with 200 OK, and did not end within", body: "one moment",
		},
		"has a body without an end": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				for {
					if _, err := w.Write([]byte(strings.Repeat("x", 32<<10))); err != nil {
						return
					}
				}
			},
			status: 200, body: strings.Repeat("x", 2048),
		},
		"closes early": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				fmt.Fprint(w, "short")
			},
			status: 200, err: "the response began with 200 OK, and ended early", body: "short",
		},
		"hangs up": {
			handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			err:     "no response: EOF",
		},
		"redirects to the metadata of a cloud": {
			handler: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
			},
			status: 307,
		},
		"wants to be asked later, by seconds": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "90")
				w.WriteHeader(http.StatusServiceUnavailable)
			},
			status: 503, after: 90 * time.Second,
		},
		"wants to be asked later, by a date": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", at.Add(2*time.Hour).Format(http.TimeFormat))
				w.WriteHeader(http.StatusTooManyRequests)
			},
			status: 429, after: 2 * time.Hour,
		},
		"says a secret": {
			handler: func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, "bad secret %s and pf_at_00000000000\x00\x1b[31m\xff", secret)
			},
			status: 400, body: "bad secret [hidden] and [hidden][31m\uFFFD",
		},
		"has headers without an end": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				for i := range 200 {
					w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1024))
				}
			},
			err: "no response:",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			receiver := httptest.NewServer(c.handler)
			defer receiver.Close()
			a := send(t, receiver.URL+"/private-path", c.limit)
			if a.Status != c.status || (c.err == "") != (a.Err == "") || !strings.Contains(a.Err, c.err) || c.body != "" && a.Body != c.body || a.RetryAfter != c.after {
				t.Errorf("answer = %+v", a)
			}
			if strings.Contains(a.Reason(), "private-path") {
				t.Errorf("the reason tells the path: %s", a.Reason())
			}
			if a.Cut {
				t.Error("it was cut by us")
			}
		})
	}
}

// A name that was public when the endpoint was made, and is not when it is called.
func TestANameThatRebindsReachesNothing(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inside.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer secure.Close()
	served := &names{of: map[string][][]string{"rebinds.example.": {{"93.184.216.34"}, {"127.0.0.1"}}}}
	guard := deliver.NewGuard(nil, served.resolver(t), ownAddress)
	port := secure.URL[strings.LastIndex(secure.URL, ":"):]
	if err := guard.Check(t.Context(), "https://rebinds.example/hook"); err != nil {
		t.Fatal(err)
	}
	s := deliver.NewSender(deliver.SenderConfig{Guard: guard, Now: clock})
	defer s.Close()
	for _, url := range []string{"https://rebinds.example" + port + "/hook", "https://rebinds.example/hook", "http://rebinds.example" + inside.URL[strings.LastIndex(inside.URL, ":"):]} {
		a := s.Send(t.Context(), attempt(url))
		if !strings.Contains(a.Err, "not sent: 127.0.0.1 is not a public address: to allow it, name its network in LICENSE_WEBHOOK_ALLOW") {
			t.Errorf("%s: answer = %+v, want it not sent", url, a)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("this machine was reached %d times", n)
	}
}

// https is verified by name, also where the network is allowed.
func TestTheCertificateIsVerifiedByName(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer receiver.Close()
	roots := x509.NewCertPool()
	roots.AddCert(receiver.Certificate())
	served := &names{of: map[string][][]string{"example.com.": {{"127.0.0.1"}}, "other.example.": {{"127.0.0.1"}}}}
	guard := deliver.NewGuard(loopback, served.resolver(t), ownAddress)
	port := receiver.URL[strings.LastIndex(receiver.URL, ":"):]
	trusting := deliver.NewSender(deliver.SenderConfig{Guard: guard, Now: clock, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	defer trusting.Close()
	if a := trusting.Send(t.Context(), attempt("https://example.com"+port)); !a.Success() {
		t.Errorf("to the name of the certificate: %+v", a)
	}
	if a := trusting.Send(t.Context(), attempt("https://other.example"+port)); !strings.Contains(a.Err, "certificate is valid for") {
		t.Errorf("to another name: %+v", a)
	}
	if a := send(t, receiver.URL, 0); !strings.Contains(a.Err, "certificate") {
		t.Errorf("with a certificate that nobody trusts: %+v", a)
	}
}

func TestAnAttemptThatWeEndIsCut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		hang(r)
	}))
	defer receiver.Close()
	s := deliver.NewSender(deliver.SenderConfig{Guard: deliver.NewGuard(loopback, nil, ownAddress), Now: clock})
	defer s.Close()
	if a := s.Send(ctx, attempt(receiver.URL)); !a.Cut || a.Err != "the service stopped meanwhile" {
		t.Errorf("answer = %+v, want it cut", a)
	}
}

func TestNoProxyIsAsked(t *testing.T) {
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer proxy.Close()
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	served := &names{of: map[string][][]string{"inside.example.": {{"10.1.2.3"}}}}
	s := deliver.NewSender(deliver.SenderConfig{Guard: deliver.NewGuard(loopback, served.resolver(t), ownAddress), Now: clock})
	defer s.Close()
	if a := s.Send(t.Context(), attempt("http://inside.example/")); a.Success() || asked.Load() != 0 {
		t.Errorf("answer = %+v, and the proxy was asked %d times", a, asked.Load())
	}
}
