package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/servicetest"
)

// serveShortened serves on a listener of its own, with short time limits of reading, until the test
// ends. It returns the address.
func serveShortened(t *testing.T, s *servicetest.Service, header, read time.Duration) string {
	t.Helper()
	s.ServesBeside()
	s.Server.ShortenTimeouts(header, read)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Server.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

const (
	long  = time.Minute
	short = 200 * time.Millisecond // a machine that is busy must be in time all the same
)

// speak opens a connection and sends a text on it.
func speak(t *testing.T, addr, text string) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// rest is all that a server says until it closes the connection.
func rest(t *testing.T, c net.Conn) string {
	t.Helper()
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// net/http says 400 when the first line did not come whole, and nothing after that.
func TestAHeaderThatComesTooSlowlyEndsTheConnection(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	addr := serveShortened(t, s, short, long)
	const refused = "HTTP/1.1 400 Bad Request\r\n"
	for begun, want := range map[string]string{"G": refused, "GET /_api/health HTTP/1.1\r\n": "", "GET /_api/health HTTP/1.1\r\nHost: x\r\nX-Slow: ": ""} {
		if got := rest(t, speak(t, addr, begun)); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("answer to a header that ends with %q = %q, want %q", begun, got, want)
		}
	}
	// the second request of a connection has no more time than the first
	c := speak(t, addr, "GET /_api/health HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(c)
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusOK || res.ContentLength != 15 {
		t.Fatalf("health = %v, %v", res, err)
	} else if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /_api/health HT"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(in); err != nil || !strings.HasPrefix(string(text), refused) {
		t.Errorf("answer to half a header = %q, %v", text, err)
	}
	wantMetrics(t, s, `refusals_total{reason="request_timeout"} 4`, `http_requests_total{method="GET",route="/_api/health",status="200"} 1`)
	wantNo5xx(t, s)
}

func TestABodyThatComesTooSlowlyIs408(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	_, key := s.Account(t, "a@example.com")
	admin := s.AdminToken(t, "accounts:write", "tokens:write")
	addr := serveShortened(t, s, long, short)
	for name, request := range map[string]string{
		"a body that is ignored": "POST /_api/license/issue HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + "\r\nContent-Length: 9\r\n\r\n|x",
		"a body in JSON": "POST /_api/admin/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + admin +
			"\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n|{",
		"a form in chunks": "POST /_api/oauth/revoke HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + admin +
			"\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n|2\r\nto\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header, begun, _ := strings.Cut(request, "|")
			a := sendHalf(t, addr, header, begun)
			if strings.Contains(header, "/_api/oauth/") {
				a.wantOAuthCode(t, http.StatusRequestTimeout, "invalid_request", api.CodeRequestTimeout)
				return
			}
			a.wantCode(t, http.StatusRequestTimeout, api.CodeRequestTimeout)
		})
	}
	t.Cleanup(func() { // after the ones above
		wantMetrics(t, s, `refusals_total{reason="request_timeout"} 3`, `tokens_total{act="issue",outcome="request_timeout"} 1`)
		wantNo5xx(t, s)
	})
}

// sendHalf sends a header and the beginning of a body, and returns what is answered when the rest
// does not come. The connection must end then.
func sendHalf(t *testing.T, addr, header, begun string) answer {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(header)))
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(speak(t, addr, header+begun))
	res, err := http.ReadResponse(in, req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadByte(); !res.Close || err != io.EOF {
		t.Errorf("%s: Connection: close is %t, and then comes %v, want the end", req.URL.Path, res.Close, err)
	}
	servicetest.CheckContract(t, req, nil, servicetest.Answer{Status: res.StatusCode, Header: res.Header, Body: body})
	return answer{res.StatusCode, res.Header, string(body)}
}

func TestABodyThatBreaksOffIs400(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	_, key := s.Account(t, "a@example.com")
	addr := serveShortened(t, s, long, long)
	c := speak(t, addr, "POST /_api/license/issue HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+key+"\r\nContent-Length: 9\r\n\r\nx")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := rest(t, c); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, `"the request body ended early"`) {
		t.Errorf("answer = %s", got)
	}
	wantMetrics(t, s, `refusals_total{reason="invalid_request"} 1`)
	wantNo5xx(t, s)
}

// What net/http refuses on its own never reaches a handler; it is counted all the same.
func TestWhatIsNoRequestIsRefusedAndCounted(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	addr := serveShortened(t, s, long, long)
	for _, test := range []struct{ text, want string }{
		{"hello\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"}, // TLS
		{"GET /_api/health HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request: missing required Host header\r\n"},
		{"GET /_api/health HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer x\r\n\r\n", "HTTP/1.1 400 Bad Request: invalid header name\r\n"},
		{"POST /_api/license/issue HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
		{"GET /_api/health HTTP/9.9\r\nHost: x\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported"},
		{"POST /_api/license/issue HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n", "HTTP/1.1 501 Not Implemented"},
		{"POST /_api/license/issue HTTP/1.1\r\nHost: x\r\nExpect: x\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 417 Expectation Failed"},
		{"GET /_api/license/refresh HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("x", 32<<10) + "\r\n\r\n", "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
	} {
		if got := rest(t, speak(t, addr, test.text)); !strings.HasPrefix(got, test.want) || strings.Contains(got, "Bearer") {
			t.Errorf("answer to %.60q = %q, want %q", test.text, got, test.want)
		}
	}
	wantMetrics(t, s, `http_requests_total{method="none",route="none",status="400"} 5`, `http_requests_total{method="none",route="none",status="431"} 1`,
		`http_requests_total{method="none",route="none",status="417"} 1`, `http_requests_total{method="none",route="none",status="501"} 1`,
		`http_requests_total{method="none",route="none",status="505"} 1`, `refusals_total{reason="invalid_request"} 9`)
	// so junk can answer 5xx, and must not ring the alert for our own
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus-rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	alert := regexp.MustCompile(`(?s)alert: LicenseErrors\n.*?- alert:`).FindString(string(text))
	if strings.Count(alert, `http_requests_total{`) != 2 || strings.Count(alert, `route!="none"`) != 2 {
		t.Errorf("the alert counts what is no request of ours: %s", alert)
	}
	for _, status := range []string{"400", "417", "431", "501", "505"} {
		if !documented(t, status) {
			t.Errorf("docs/api.md does not name the status %s", status)
		}
	}
}

// documented says whether docs/api.md names a status among those that net/http answers with.
func documented(t *testing.T, status string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "What is not HTTP,")
	rest, _, _ = strings.Cut(rest, "\n\n")
	return strings.Contains(rest, status)
}

func TestConnectionsAreCountedByState(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	addr := serveShortened(t, s, long, long)
	silent := speak(t, addr, "")
	idle := speak(t, addr, "GET /_api/health HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(idle), nil)
	if err != nil {
		t.Fatal(err)
	}
	var health api.Health
	if err := json.NewDecoder(res.Body).Decode(&health); err != nil {
		t.Fatal(err)
	}
	waitForMetric(t, s, `connections{state="new"} 1`)
	waitForMetric(t, s, `connections{state="idle"} 1`)
	silent.Close()
	idle.Close()
	waitForMetric(t, s, `connections{state="new"} 0`)
	waitForMetric(t, s, `connections{state="idle"} 0`)
}

// waitForMetric returns when a line is among the metrics.
func waitForMetric(t *testing.T, s *servicetest.Service, line string) {
	t.Helper()
	for !strings.Contains(s.Metrics(t), "pageflare_license_"+line+"\n") {
		if t.Context().Err() != nil {
			t.Fatalf("the metrics never had %s", line)
		}
	}
}

// wantNo5xx fails when an answer was a 5xx, or a panic was caught.
func wantNo5xx(t *testing.T, s *servicetest.Service) {
	t.Helper()
	if got := s.Metrics(t); strings.Contains(got, `status="5`) || !strings.Contains(got, "pageflare_license_panics_total 0\n") {
		t.Errorf("metrics:\n%s", ours(got))
	}
}
