package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/server"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/token"
)

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// call sends a request as it is; servicetest checks the answer against openapi.yaml.
func call(t *testing.T, s *servicetest.Service, method, path, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.Origin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	return exchange(t, req)
}

// exchange sends a request on a connection of its own.
func exchange(t *testing.T, req *http.Request) answer {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

func (a answer) want(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("answer = %d %s, want %d %s", a.status, a.body, status, body)
	}
}

// wantCode checks an error other than 401: status, code, and that there is a text.
func (a answer) wantCode(t *testing.T, status int, code api.Code) {
	t.Helper()
	var e api.Error
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("answer = %d %s: %v", a.status, a.body, err)
	}
	if a.status != status || e.Code != code || e.Error != http.StatusText(status) || e.Message == "" {
		t.Errorf("answer = %d %s, want %d with code %s", a.status, a.body, status, code)
	}
}

// wantUnauthorized checks the one form of 401.
func (a answer) wantUnauthorized(t *testing.T) {
	t.Helper()
	a.want(t, http.StatusUnauthorized, `{"error":"Unauthorized"}`)
	if got := a.header.Values("WWW-Authenticate"); len(got) != 1 || got[0] != "Bearer" {
		t.Errorf("WWW-Authenticate = %q, want Bearer", got)
	}
}

func (a answer) token(t *testing.T) string {
	t.Helper()
	var issued api.IssuedToken
	if err := json.Unmarshal([]byte(a.body), &issued); err != nil || a.status != http.StatusOK {
		t.Fatalf("answer = %d %s, want 200 with a token", a.status, a.body)
	}
	return issued.Token
}

func TestEveryRouteIsInTheDocument(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	s := servicetest.Start(t, servicetest.Options{})
	here := map[string]bool{}
	for _, r := range s.Server.Routes() {
		here[r.Method+" "+documentPath(r.Path)] = true
		item := doc.Paths.Find(documentPath(r.Path))
		if item == nil || item.GetOperation(r.Method) == nil {
			t.Errorf("%s %s is not in openapi.yaml", r.Method, r.Path)
			continue
		}
		security := item.GetOperation(r.Method).Security
		guarded := security == nil || len(*security) > 0 // an open one says so: security: []
		if guarded != (!r.Guard.Open()) {
			t.Errorf("%s %s is guarded by %q, the document says security: %t", r.Method, r.Path, r.Guard, guarded)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !here[method+" "+path] {
				t.Errorf("%s %s is in openapi.yaml and not served", method, path)
			}
		}
	}
}

// documentPath is a path as openapi.yaml writes it.
func documentPath(path string) string {
	return regexp.MustCompile(`:(\w+)`).ReplaceAllString(path, "{$1}")
}

func TestEveryGuardRefusesWithoutCredentials(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, key := s.Account(t, "a@example.com")
	issued := s.IssueToken(t, a.ID, 0)
	for _, r := range s.Server.Routes() {
		got := call(t, s, r.Method, r.Path, "")
		if r.Guard.Open() {
			// what asks for a body says so, and a form wants to come from a page of ours
			refused := got.status == http.StatusBadRequest || got.status == http.StatusUnsupportedMediaType || r.Path == "/sign-in"
			if r.Path == "/" || r.Path == "/docs/" {
				if got.status != http.StatusSeeOther || got.header.Get("Location") != "/docs" {
					t.Errorf("GET %s = %d to %q, want 303 to /docs", r.Path, got.status, got.header.Get("Location"))
				}
				continue
			}
			if got.status != http.StatusOK && (r.Method != http.MethodPost || !refused) {
				t.Errorf("%s %s = %d for anyone, want 200", r.Method, r.Path, got.status)
			}
			continue
		}
		switch r.Guard.String() {
		case route.ByGitHub.String(): // without a secret nobody is believed: see github_test.go
			got.wantCode(t, http.StatusNotFound, api.CodeNotFound)
			continue
		case route.ByLink.String():
			got.wantPage(t, http.StatusForbidden, "run `pageflare-license github-app create --web`")
			continue
		}
		if r.Guard.SignIn() {
			if got.status != http.StatusSeeOther || got.header.Get("Location") != "/sign-in" {
				t.Errorf("%s %s = %d to %q without a session, want 303 to /sign-in", r.Method, r.Path, got.status, got.header.Get("Location"))
			}
			continue
		}
		got.wantUnauthorized(t)
		if r.Guard.String() == route.LicenseToken.String() {
			call(t, s, r.Method, r.Path, "", bearer(key)...).wantUnauthorized(t)
		}
		if strings.HasPrefix(r.Path, "/_api/admin/") { // only admin tokens, and only with the scope
			for _, foreign := range []string{key, issued} {
				call(t, s, r.Method, r.Path, "", bearer(foreign)...).wantUnauthorized(t)
			}
			needed := auth.Scope(strings.TrimPrefix(r.Guard.String(), "admin token with "))
			powerless := s.AdminToken(t, slices.DeleteFunc(slices.Clone(auth.Scopes), func(s auth.Scope) bool { return s == needed })...)
			call(t, s, r.Method, r.Path, "", bearer(powerless)...).wantCode(t, http.StatusForbidden, api.CodeInsufficientScope)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	call(t, s, "GET", "/_api/health", "").want(t, 200, `{"status":"ok"}`)
	call(t, s, "GET", "/readyz", "").want(t, 200, `{"status":"ready"}`)
	if got := call(t, s, "GET", "/openapi.yaml", ""); got.body != string(api.Document()) {
		t.Error("/openapi.yaml is not the document")
	}
	s.Break(t)
	call(t, s, "GET", "/_api/health", "").want(t, 200, `{"status":"ok"}`)
	call(t, s, "GET", "/readyz", "").wantCode(t, 503, api.CodeUnavailable)
}

func TestHeadIsAnsweredLikeGetWithoutItsBody(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	_, key := s.Account(t, "a@example.com")
	issued := call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).token(t)
	for _, path := range []string{"/_api/health", "/readyz", "/openapi.yaml"} {
		get, head := call(t, s, "GET", path, ""), call(t, s, "HEAD", path, "")
		if head.status != 200 || head.body != "" || head.header.Get("Content-Type") != get.header.Get("Content-Type") {
			t.Errorf("HEAD %s = %d %q with %v, want 200, nothing, and the headers of GET", path, head.status, head.body, head.header)
		}
	}
	call(t, s, "POST", "/_api/health", "").wantAllow(t, "GET, HEAD")
	// a token is handed out to who can read it
	if got := call(t, s, "HEAD", "/_api/license/refresh", "", bearer(issued)...); got.status != 405 {
		t.Errorf("HEAD of a guarded route = %d, want 405", got.status)
	}
	s.Break(t)
	if got := call(t, s, "HEAD", "/readyz", ""); got.status != 503 || got.body != "" {
		t.Errorf("HEAD /readyz without a database = %d %s, want 503 and nothing", got.status, got.body)
	}
}

// wantAllow checks a 405.
func (a answer) wantAllow(t *testing.T, methods string) {
	t.Helper()
	a.wantCode(t, http.StatusMethodNotAllowed, api.CodeMethodNotAllowed)
	if got := a.header.Get("Allow"); got != methods {
		t.Errorf("Allow = %q, want %q", got, methods)
	}
}

func TestIssueAndRefresh(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, key := s.Account(t, "a@example.com")
	issued := call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).token(t)
	claims, err := token.Decode(issued)
	if err != nil {
		t.Fatal(err)
	}
	if claims.Subject != a.ID || claims.Tier != "pro" || claims.Issuer != s.Origin {
		t.Errorf("claims = %+v", claims)
	}
	another := call(t, s, "POST", "/_api/license/issue", `{"ignored":true}`, bearer(issued)...).token(t)
	refreshed := call(t, s, "GET", "/_api/license/refresh", "", bearer(issued)...).token(t)
	again := call(t, s, "GET", "/_api/license/refresh", "", bearer(issued)...).token(t)
	if refreshed != again || refreshed == issued || another == issued {
		t.Error("want one refreshed token for one old token, and a new one for each issue")
	}
	call(t, s, "GET", "/_api/license/refresh", "", bearer(refreshed)...).token(t)
}

func TestACappedTokenSaysSo(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, key := s.Account(t, "a@example.com")
	soon := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	if _, err := s.UpdateAccount(t.Context(), a.ID, account.Change{ValidUntil: &soon}); err != nil {
		t.Fatal(err)
	}
	var got api.IssuedToken
	body := call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).body
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.CappedBy != api.CappedByValidUntil || !got.ExpiresAt.Equal(soon) || !got.RefreshAfter.Before(soon) {
		t.Errorf("answer = capped_by %q, expires_at %v, refresh_after %v; want valid_until, %v", got.CappedBy, got.ExpiresAt, got.RefreshAfter, soon)
	}
}

func TestAuthorizationIsReadStrictly(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	_, key := s.Account(t, "a@example.com")
	good := call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).token(t)
	for name, headers := range map[string][]string{
		"none":                     {},
		"empty":                    {"Authorization", ""},
		"the scheme alone":         {"Authorization", "Bearer"},
		"an empty token":           {"Authorization", "Bearer "},
		"another scheme":           {"Authorization", "Basic " + good},
		"no scheme":                {"Authorization", good},
		"two headers":              {"Authorization", "Bearer " + good, "Authorization", "Bearer " + good},
		"two tokens":               {"Authorization", "Bearer " + good + ", Bearer " + good},
		"a tab":                    {"Authorization", "Bearer\t" + good},
		"quotes":                   {"Authorization", `Bearer "` + good + `"`},
		"a token cut short":        {"Authorization", "Bearer " + good[:len(good)-2]},
		"a token with a tail":      {"Authorization", "Bearer " + good + "."},
		"a token in other letters": {"Authorization", "Bearer " + strings.ToUpper(good)},
		"5,000 bytes":              {"Authorization", "Bearer " + strings.Repeat("A", 5000)},
		"a mistyped API token":     {"Authorization", "Bearer " + key[:len(key)-1] + "!"},
		"in the query":             {"X-Nothing", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			call(t, s, "GET", "/_api/license/refresh?access_token="+good, "", headers...).wantUnauthorized(t)
			call(t, s, "POST", "/_api/license/issue", "access_token="+good, headers...).wantUnauthorized(t)
		})
	}
	for name, header := range map[string]string{"lower case": "bearer " + good, "upper case": "BEARER " + good, "Bearer, with two spaces behind it": "Bearer  " + good} {
		if got := call(t, s, "GET", "/_api/license/refresh", "", "Authorization", header); got.status != 200 {
			t.Errorf("scheme in %s = %d, want 200 (RFC 9110, 11)", name, got.status)
		}
	}
}

func TestEveryVectorOfTheTokenPackageIsRefusedAs401(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	broken, long := 0, 0
	for _, v := range vectors(t) {
		switch {
		case strings.ContainsAny(v.Token, "\r\n"): // ends the header, so that no server sees it as part of a token (RFC 9110, 5.5): for service/token alone
			broken++
			continue
		case len(v.Token) > 15<<10: // net/http answers 431 before anybody reads the token: TestWhatIsNoRequestIsRefusedAndCounted
			long++
			continue
		}
		call(t, s, "GET", "/_api/license/refresh", "", bearer(v.Token)...).wantUnauthorized(t)
	}
	if broken != 3 || long != 1 {
		t.Errorf("%d vectors with a line break and %d longer than a header were left out, want 3 and 1", broken, long)
	}
}

func TestRefusalsHaveTheirCode(t *testing.T) {
	t.Parallel()
	for code, spoil := range map[api.Code]func(s *servicetest.Service, account, token string) error{
		api.CodeLicenseInactive: func(s *servicetest.Service, account, _ string) error {
			_, err := s.SuspendAccount(t.Context(), account)
			return err
		},
		api.CodeLicenseExpired: func(s *servicetest.Service, id, _ string) error {
			_, err := s.UpdateAccount(t.Context(), id, account.Change{ValidUntil: new(time.Now())})
			return err
		},
		api.CodeLicenseRevoked: func(s *servicetest.Service, account, _ string) error {
			_, err := s.DeleteAccount(t.Context(), account)
			return err
		},
		api.CodeTokenRevoked: func(s *servicetest.Service, _, token string) error {
			_, err := s.RevokeToken(t.Context(), token, false)
			return err
		},
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			s := servicetest.Start(t, servicetest.Options{})
			a, _ := s.Account(t, "a@example.com")
			old := s.IssueToken(t, a.ID, 0)
			if err := spoil(s, a.ID, old); err != nil {
				t.Fatal(err)
			}
			call(t, s, "GET", "/_api/license/refresh", "", bearer(old)...).wantCode(t, 403, code)
			call(t, s, "POST", "/_api/license/issue", "", bearer(old)...).wantCode(t, 403, code)
		})
	}
}

func TestAnExpiredTokenIs401(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	a, _ := s.Account(t, "a@example.com")
	old := s.IssueToken(t, a.ID, time.Hour)
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	call(t, s, "GET", "/_api/license/refresh", "", bearer(old)...).wantUnauthorized(t)
}

func TestOtherPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	call(t, s, "GET", "/nothing", "").wantCode(t, 404, api.CodeNotFound)
	call(t, s, "GET", "/_api/license/refresh/", "").wantCode(t, 404, api.CodeNotFound)
	call(t, s, "GET", "/_api/license//refresh", "").wantCode(t, 404, api.CodeNotFound)
	call(t, s, "GET", "/_api/license/issue", "").wantAllow(t, "POST")
}

func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	_, key := s.Account(t, "a@example.com")
	call(t, s, "POST", "/_api/license/issue", strings.Repeat("x", 64<<10), bearer(key)...).token(t)
	call(t, s, "POST", "/_api/license/issue", strings.Repeat("x", 64<<10+1), bearer(key)...).wantCode(t, 413, api.CodeRequestTooLarge)
}

func TestLimitIsPerTokenWithAnExactRetryAfter(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	advance := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	s := servicetest.Start(t, servicetest.Options{
		Now:        func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		RateLimits: map[account.Tier]int{account.Pro: 6, account.Team: 0},
	})
	a, _ := s.Account(t, "a@example.com")
	first, second := s.IssueToken(t, a.ID, 0), s.IssueToken(t, a.ID, 0)
	get := func(token string) answer { return call(t, s, "GET", "/_api/license/refresh", "", bearer(token)...) }
	refreshed := get(first).token(t)
	issued := call(t, s, "POST", "/_api/license/issue", "", bearer(first)...).token(t)
	for range 4 {
		get(first).token(t)
	}
	for _, step := range []struct {
		advance time.Duration
		want    string
	}{{0, "10"}, {500 * time.Millisecond, "10"}, {500 * time.Millisecond, "9"}, {8900 * time.Millisecond, "1"}} {
		advance(step.advance)
		got := get(first)
		got.wantCode(t, 429, api.CodeRateLimited)
		if after := got.header.Get("Retry-After"); after != step.want {
			t.Errorf("Retry-After = %q, want %s", after, step.want)
		}
	}
	get(second).token(t)                               // another token has a limit of its own
	for _, made := range []string{refreshed, issued} { // those that the first one made have not
		get(made).wantCode(t, 429, api.CodeRateLimited)
	}
	advance(100 * time.Millisecond)
	get(first).token(t)
}

func TestABrokenDatabaseIs500WithoutItsText(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := servicetest.Start(t, servicetest.Options{Log: &log})
	a, _ := s.Account(t, "a@example.com")
	old := s.IssueToken(t, a.ID, 0)
	s.Break(t)
	got := call(t, s, "GET", "/_api/license/refresh", "", bearer(old)...)
	got.wantCode(t, 500, api.CodeInternal)
	if strings.Contains(got.body, "closed") || !strings.Contains(got.body, got.header.Get("X-Request-Id")) {
		t.Errorf("body = %s, want the request id and nothing of the database", got.body)
	}
	if !strings.Contains(log.String(), "closed") {
		t.Errorf("the log does not say what happened: %s", log.String())
	}
}

func TestNoSecretReachesTheLog(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := servicetest.Start(t, servicetest.Options{Log: &log})
	_, key := s.Account(t, "a@example.com")
	issued := call(t, s, "POST", "/_api/license/issue", "token="+key, bearer(key)...).token(t)
	refreshed := call(t, s, "GET", "/_api/license/refresh?token="+issued, "", bearer(issued)...).token(t)
	bad := issued[:len(issued)-4] + "AAAA"
	call(t, s, "GET", "/_api/license/refresh", "", bearer(bad)...).wantUnauthorized(t)
	call(t, s, "GET", "/_api/"+issued, "", bearer(issued)...)
	for name, secret := range map[string]string{"API token": key, "token": issued, "refreshed token": refreshed, "forged token": bad} {
		if strings.Contains(log.String(), secret) || strings.Contains(log.String(), secret[len(secret)-20:]) {
			t.Errorf("the %s is in the log:\n%s", name, log.String())
		}
	}
	for _, want := range []string{`"route":"/_api/license/refresh"`, `"status":200`, `"request_id":`, `"account":"user_`, `"reason":"missing or invalid token: wrong signature"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
}

func TestAGracefulStopLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	_, key := s.Account(t, "a@example.com")
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.ServesBeside()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Server.Serve(ctx, l) }()

	// a request whose body the test sends piece by piece is in flight for as long as the test
	// likes; the body is asked for (100 Continue) when the handler runs, and not before
	body, send := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+l.Addr().String()+"/_api/license/issue", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Expect", "100-continue")
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	defer transport.CloseIdleConnections()
	answered := make(chan int, 1)
	go func() {
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		res.Body.Close()
		answered <- res.StatusCode
	}()
	if _, err := send.Write([]byte("x")); err != nil { // returns when the transport took it: the request is under way
		t.Fatal(err)
	}
	stop()
	for { // wait until the listener is closed: the stop has begun
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-ended:
		t.Fatalf("Serve returned %v while a request was in flight", err)
	default:
	}
	send.Close()
	if got := <-answered; got != http.StatusOK {
		t.Errorf("request in flight = %d, want 200", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v after a graceful stop, want nil", err)
	}
}

func TestAPanicIs500AndTheServerLives(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	// a Server without a License service panics as soon as a token is shown
	broken, err := server.New(server.Config{Parts: &parts.Parts{}, Now: time.Now, Log: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- broken.Serve(ctx, l) }()
	s := &servicetest.Service{Origin: "http://" + l.Addr().String()}
	call(t, s, "GET", "/_api/license/refresh", "", bearer("e30.e30.secretpart")...).wantCode(t, 500, api.CodeInternal)
	call(t, s, "GET", "/_api/health", "").want(t, 200, `{"status":"ok"}`)
	if !strings.Contains(log.String(), "nil pointer") || strings.Contains(log.String(), "secretpart") {
		t.Errorf("log = %s, want the panic and not the token", log.String())
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
