package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/token"
)

const (
	grant   = "urn:ietf:params:oauth:grant-type:device_code"
	machine = "3f5ad7c0b1e24f6889a7c6d5e4f30211a2b3c4d5e6f708192a3b4c5d6e7f8091"
)

// asCLI sends a body as the pageflare CLI does.
func asCLI(t *testing.T, s *servicetest.Service, path, body string, headers ...string) answer {
	t.Helper()
	return call(t, s, "POST", path, body, append([]string{"Content-Type", "application/json", "User-Agent", "ureq/3.2.0"}, headers...)...)
}

func unmarshal[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.status != http.StatusOK {
		t.Fatalf("answer = %d %s, want 200 with %T: %v", a.status, a.body, v, err)
	}
	return v
}

func beginLogin(t *testing.T, s *servicetest.Service) api.DeviceCode {
	t.Helper()
	return beginLoginWith(t, s)
}

func beginLoginWith(t *testing.T, s *servicetest.Service, headers ...string) api.DeviceCode {
	t.Helper()
	return unmarshal[api.DeviceCode](t, asCLI(t, s, "/_api/auth/device/code", `{"client_id":"cl_pageflare_cli","scope":"openid"}`, headers...))
}

func poll(t *testing.T, s *servicetest.Service, deviceCode string) answer {
	t.Helper()
	return asCLI(t, s, "/_api/auth/device/token", `{"client_id":"cl_pageflare_cli","grant_type":"`+grant+`","device_code":"`+deviceCode+`"}`)
}

// wantOAuth checks a refusal of RFC 8628, which is always 400.
func (a answer) wantOAuth(t *testing.T, code string) {
	t.Helper()
	var e api.OAuthError
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != http.StatusBadRequest || e.Error != code || e.ErrorDescription == "" {
		t.Errorf("answer = %d %s, want 400 with %s: %v", a.status, a.body, code, err)
	}
}

// wantSentence checks a refusal that the pageflare CLI shows.
func (a answer) wantSentence(t *testing.T, status int, code api.Code, sentence string) {
	t.Helper()
	var e api.Error
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != status || e.Code != code || !strings.Contains(e.Error, sentence) || e.Message != e.Error {
		t.Errorf("answer = %d %s, want %d with %s and %q: %v", a.status, a.body, status, code, sentence, err)
	}
}

// approved does everything up to the login token.
func approved(t *testing.T, s *servicetest.Service, account string) string {
	t.Helper()
	codes := beginLogin(t, s)
	if _, err := s.ApproveDevice(t.Context(), person(t, s, account), codes.UserCode); err != nil {
		t.Fatal(err)
	}
	return unmarshal[api.LoginToken](t, poll(t, s, codes.DeviceCode)).AccessToken
}

// person is somebody who is signed in to an account.
func person(t *testing.T, s *servicetest.Service, account string) auth.Caller {
	t.Helper()
	a, err := s.Rules.Account(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	return auth.Caller{Kind: auth.BySession, Account: a, Session: &auth.Session{ID: "ses_test"}}
}

func TestALoginFromItsBeginToItsEnd(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	codes := beginLogin(t, s)
	if codes.ExpiresIn != 900 || codes.Interval != 5 || codes.VerificationURI != s.Origin+"/device" ||
		codes.VerificationURIComplete != s.Origin+"/device?user_code="+codes.UserCode || auth.NormalUserCode(codes.UserCode) != codes.UserCode {
		t.Errorf("codes = %+v", codes)
	}
	poll(t, s, codes.DeviceCode).wantOAuth(t, "authorization_pending")
	if _, err := s.ApproveDevice(t.Context(), person(t, s, a.ID), codes.UserCode); err != nil {
		t.Fatal(err)
	}
	login := unmarshal[api.LoginToken](t, poll(t, s, codes.DeviceCode))
	if !opaque.LoginToken.Fits(login.AccessToken) || login.ExpiresIn != 3600 || login.TokenType != "Bearer" {
		t.Errorf("login token = %+v", login)
	}
	poll(t, s, codes.DeviceCode).wantOAuth(t, "invalid_grant") // a device code used twice

	body := `{"machine_id":"` + machine + `","label":"build-7","of_a_later_version":{"a":[1]}}`
	first := unmarshal[api.Activated](t, asCLI(t, s, "/_api/license/activate", body, bearer(login.AccessToken)...))
	other := unmarshal[api.Activated](t, asCLI(t, s, "/_api/license/activate", body, bearer(login.AccessToken)...)) // two containers of one image
	child := call(t, s, "GET", "/_api/license/refresh", "", bearer(first.Token)...).token(t)
	if got := unmarshal[api.ValidCI](t, asCLI(t, s, "/_api/license/validate-ci", "", bearer(child)...)); !got.Valid || got.Tier != "pro" {
		t.Errorf("validate-ci = %+v", got)
	}
	call(t, s, "POST", "/_api/license/issue", "", bearer(login.AccessToken)...).token(t)

	call(t, s, "DELETE", "/_api/license/machine/another", "", bearer(child)...).wantSentence(t, 404, api.CodeNotFound, "made for another")
	for range 2 { // twice is no error
		call(t, s, "DELETE", "/_api/license/machine/"+machine, "", bearer(child)...).want(t, 200, `{"status":"deactivated"}`)
	}
	for _, ended := range []string{first.Token, child} {
		asCLI(t, s, "/_api/license/validate-ci", "", bearer(ended)...).wantSentence(t, 403, api.CodeTokenRevoked, "revoked: issue a new one")
	}
	unmarshal[api.ValidCI](t, asCLI(t, s, "/_api/license/validate-ci", "", bearer(other.Token)...)) // the other machine of that id is none of this one's

	want := []audit.Action{
		"machine.deactivate", "token.issue", "token.refresh", "machine.activate", "token.issue", "machine.activate", "token.issue", "device.login", "device.approve",
	}
	lines, err := s.Lines(t.Context(), audit.Query{Limit: len(want), Account: a.ID})
	if err != nil {
		t.Fatal(err)
	}
	var got []audit.Action
	for _, l := range lines {
		got = append(got, l.Action)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit log, newest first (-want +got):\n%s", diff)
	}
	if _, err := s.Verify(t.Context(), audit.Check{}); err != nil {
		t.Error(err)
	}
}

func TestALoginByTheFormOfTheRFC(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	codes := unmarshal[api.DeviceCode](t, call(t, s, "POST", "/_api/auth/device/code", "client_id=cl_pageflare_action&scope=a&more=1", form...))
	ask := "client_id=cl_pageflare_action&grant_type=" + grant + "&device_code="
	call(t, s, "POST", "/_api/auth/device/token", ask+codes.DeviceCode, form...).wantOAuth(t, "authorization_pending")
	call(t, s, "POST", "/_api/auth/device/token", ask+codes.DeviceCode+"&device_code=x", form...).wantOAuth(t, "invalid_request")
	call(t, s, "POST", "/_api/auth/device/token?"+ask+codes.DeviceCode, "", form...).wantOAuth(t, "invalid_request")
}

func TestPollsThatAreRefused(t *testing.T) {
	t.Parallel()
	var clock clock
	s := servicetest.Start(t, servicetest.Options{Now: clock.now})
	a, _ := s.Account(t, "dev@example.com")
	codes := beginLogin(t, s)
	body := func(client, grant, code string) string {
		return `{"client_id":"` + client + `","grant_type":"` + grant + `","device_code":"` + code + `"}`
	}
	for want, bodies := range map[string][]string{
		"invalid_grant":          {body("cl_pageflare_cli", grant, "pf_dc_unknown"), body("cl_pageflare_action", grant, codes.DeviceCode), body("cl_pageflare_cli", grant, codes.UserCode)},
		"invalid_client":         {body("cl_other", grant, codes.DeviceCode)},
		"unsupported_grant_type": {body("cl_pageflare_cli", "authorization_code", codes.DeviceCode)},
		"invalid_request":        {body("", grant, codes.DeviceCode), body("cl_pageflare_cli", "", codes.DeviceCode), body("cl_pageflare_cli", grant, ""), `{}`},
	} {
		for _, b := range bodies {
			asCLI(t, s, "/_api/auth/device/token", b).wantOAuth(t, want)
		}
	}
	asCLI(t, s, "/_api/auth/device/code", `{"client_id":"cl_other"}`).wantOAuth(t, "invalid_client")

	denied := beginLogin(t, s)
	if _, err := s.DenyDevice(t.Context(), person(t, s, a.ID), denied.UserCode); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		poll(t, s, denied.DeviceCode).wantOAuth(t, "access_denied")
	}
	if _, err := s.ApproveDevice(t.Context(), person(t, s, a.ID), denied.UserCode); err == nil {
		t.Error("a login that was denied can be approved")
	}
	clock.add(15 * time.Minute)
	poll(t, s, codes.DeviceCode).wantOAuth(t, "expired_token")
	if _, err := s.ApproveDevice(t.Context(), person(t, s, a.ID), codes.UserCode); err == nil {
		t.Error("a login that has expired can be approved")
	}
	late := beginLogin(t, s)
	if _, err := s.ApproveDevice(t.Context(), person(t, s, a.ID), late.UserCode); err != nil {
		t.Fatal(err)
	}
	clock.add(15 * time.Minute)
	poll(t, s, late.DeviceCode).wantOAuth(t, "expired_token") // approved in time, and asked for too late
	clock.add(3 * time.Hour)
	beginLogin(t, s) // purges the old ones
	poll(t, s, codes.DeviceCode).wantOAuth(t, "invalid_grant")
}

// Each poll that comes too soon makes the interval 5 s longer for good, and none is answered 429.
func TestPollingTooSoonIsSlowedDown(t *testing.T) {
	t.Parallel()
	var clock clock
	s := servicetest.Start(t, servicetest.Options{Now: clock.now, BadCredentials: 1})
	codes := beginLogin(t, s)
	for i, step := range []struct {
		after time.Duration
		want  string
	}{
		{0, "authorization_pending"},
		{5 * time.Second, "authorization_pending"},
		{4200 * time.Millisecond, "authorization_pending"}, // the network may be unsteady
		{time.Second, "slow_down"},                         // 10 s from now on
		{5 * time.Second, "slow_down"},                     // 15 s
		{15 * time.Second, "authorization_pending"},
		{10 * time.Second, "slow_down"}, // 20 s
		{20 * time.Second, "authorization_pending"},
	} {
		clock.add(step.after)
		if got := poll(t, s, codes.DeviceCode); !strings.Contains(got.body, `"`+step.want+`"`) {
			t.Errorf("poll %d = %s, want %s", i, got.body, step.want)
		}
	}
	for range 100 {
		poll(t, s, codes.DeviceCode).wantOAuth(t, "slow_down")
	}
}

func TestOfManyPollersOneGetsTheToken(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	codes := beginLogin(t, s)
	if _, err := s.ApproveDevice(t.Context(), person(t, s, a.ID), codes.UserCode); err != nil {
		t.Fatal(err)
	}
	answers := make([]answer, 16)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = poll(t, s, codes.DeviceCode) })
	}
	wg.Wait()
	tokens := 0
	for _, got := range answers {
		if got.status == http.StatusOK {
			tokens++
			continue
		}
		got.wantOAuth(t, "invalid_grant")
	}
	if tokens != 1 {
		t.Errorf("%d of %d pollers got a token, want 1", tokens, len(answers))
	}
}

func TestALoginTokenIsGoodForAnHourAndForLittle(t *testing.T) {
	t.Parallel()
	var clock clock
	s := servicetest.Start(t, servicetest.Options{Now: clock.now})
	a, key := s.Account(t, "dev@example.com")
	login := approved(t, s, a.ID)
	body := `{"machine_id":"` + machine + `"}`
	for _, foreign := range []string{key, s.IssueToken(t, a.ID, 0), s.AdminToken(t, auth.Scopes...)} {
		asCLI(t, s, "/_api/license/activate", body, bearer(foreign)...).wantUnauthorized(t)
	}
	call(t, s, "GET", "/_api/license/refresh", "", bearer(login)...).wantUnauthorized(t)
	asCLI(t, s, "/_api/license/validate-ci", "", bearer(login)...).wantUnauthorized(t)
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	call(t, s, "POST", "/_api/oauth/introspect", "token="+login, append(form, bearer(key)...)...).want(t, 200, `{"active":false}`)

	revoked := approved(t, s, a.ID)
	_, stranger := s.Account(t, "stranger@example.com")
	call(t, s, "POST", "/_api/oauth/revoke", "token="+revoked, append(form, bearer(stranger)...)...).wantOAuthCode(t, 403, "insufficient_scope", api.CodeInsufficientScope)
	call(t, s, "POST", "/_api/oauth/revoke", "token="+revoked, append(form, bearer(key)...)...).want(t, 200, `{}`)
	asCLI(t, s, "/_api/license/activate", body, bearer(revoked)...).wantUnauthorized(t)

	clock.add(59 * time.Minute)
	asCLI(t, s, "/_api/license/activate", body, bearer(login)...).token(t)
	clock.add(time.Minute)
	asCLI(t, s, "/_api/license/activate", body, bearer(login)...).wantUnauthorized(t)
}

func TestActivationIsRefusedWithASentence(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	login := approved(t, s, a.ID)
	for name, body := range map[string]string{
		"no id": `{"label":"x"}`, "an empty id": `{"machine_id":""}`, "an id with a slash": `{"machine_id":"a/b"}`, "a long id": `{"machine_id":"` + strings.Repeat("a", 129) + `"}`,
		"a long label":             `{"machine_id":"a","label":"` + strings.Repeat("a", 256) + `"}`,
		"a label of two lines":     `{"machine_id":"a","label":"x\ny"}`,
		"an id of another type":    `{"machine_id":7}`,
		"a label of another type":  `{"machine_id":"a","label":["x"]}`,
		"a doubled member":         `{"machine_id":"a","machine_id":"b"}`,
		"an unknown doubled one":   `{"machine_id":"a","x":1,"x":2}`,
		"no object":                `["a"]`,
		"no JSON":                  `machine_id=a`,
		"nothing":                  ``,
		"two objects":              `{"machine_id":"a"}{}`,
		"deep nesting":             `{"machine_id":"a","x":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}`,
		"text that is not UTF-8":   "{\"machine_id\":\"a\",\"label\":\"\xff\"}",
		"half a surrogate":         `{"machine_id":"a","label":"\ud800"}`,
		"a number beyond any type": `{"machine_id":1e999}`,
	} {
		if got := asCLI(t, s, "/_api/license/activate", body, bearer(login)...); got.status != http.StatusBadRequest {
			t.Errorf("%s = %d %s, want 400", name, got.status, got.body)
		} else {
			got.wantSentence(t, 400, api.CodeInvalidRequest, "")
		}
	}
	s.EndLicense(t, a.ID)
	asCLI(t, s, "/_api/license/activate", `{"machine_id":"a"}`, bearer(login)...).wantSentence(t, 403, api.CodeLicenseExpired, "the license has expired: renew it")
}

// Every body that a program of the CLI's kind can get wrong, at each route that reads one.
func TestBodiesOfTheCLIThatAreRefused(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	login := approved(t, s, a.ID)
	for path, good := range map[string]string{
		"/_api/auth/device/code":  `"client_id":"cl_pageflare_cli"`,
		"/_api/auth/device/token": `"client_id":"cl_pageflare_cli","grant_type":"` + grant + `","device_code":"x"`,
		"/_api/license/activate":  `"machine_id":"a"`,
		"/_api/cli/telemetry":     `"command":"optimize"`,
	} {
		for name, c := range map[string]struct {
			body, kind string
			status     int
		}{
			"not JSON":         {`client`, "application/json", 400},
			"an array":         {`[{` + good + `}]`, "application/json", 400},
			"doubled":          {`{` + good + `,` + good + `}`, "application/json", 400},
			"doubled, unknown": {`{` + good + `,"x":1,"x":1}`, "application/json", 400},
			"deep":             {`{` + good + `,"x":` + strings.Repeat(`{"x":`, 8) + `1` + strings.Repeat(`}`, 9), "application/json", 400},
			"a tail":           {`{` + good + `} {}`, "application/json", 400},
			"nothing":          {``, "application/json", 400},
			"another charset":  {`{` + good + `}`, "application/json; charset=utf-16", 415},
			"another kind":     {`{` + good + `}`, "text/plain", 415},
			"no kind":          {`{` + good + `}`, "", 415},
			"too large":        {`{` + good + `,"x":"` + strings.Repeat("x", 65<<10) + `"}`, "application/json", 413},
		} {
			got := call(t, s, "POST", path, c.body, append(bearer(login), "Content-Type", c.kind)...)
			want := c.status
			if strings.Contains(path, "/auth/") {
				got.wantOAuth(t, "invalid_request")
				want = 400
			}
			if got.status != want {
				t.Errorf("%s with %s = %d %s, want %d", path, name, got.status, got.body, want)
			}
		}
	}
	for _, body := range []string{`{"client_id":["cl_pageflare_cli"]}`, `{"client_id":{}}`, `{"client_id":1}`, `{"client_id":null}`, `{"Client_ID":"cl_pageflare_cli"}`} {
		asCLI(t, s, "/_api/auth/device/code", body).wantOAuth(t, "invalid_request")
	}
}

func TestTelemetryIsCountedAndForgotten(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := servicetest.Start(t, servicetest.Options{Log: &log})
	before, err := s.Store.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const uid = "0b6f1c2e-uid-of-a-person"
	for range 3 {
		asCLI(t, s, "/_api/cli/telemetry", `{"uid":"`+uid+`","command":"optimize","data":{"total_files":1,"features":["x"]}}`).want(t, 200, `{"status":"counted"}`)
	}
	call(t, s, "GET", "/_api/cli/check-version", "", "X-Pageflare-UID", uid).want(t, 200, `{"current_version":"0.9.2"}`)
	if got := s.Server.TelemetryReports(); got != 3 {
		t.Errorf("TelemetryReports() = %d, want 3", got)
	}
	if after, _ := s.Store.AuditHead(t.Context()); after != before || strings.Contains(log.String(), uid) {
		t.Errorf("who reported was kept, or logged:\n%s", log.String())
	}
}

// A forged X-Forwarded-For changes neither what is counted nor what the person is shown.
func TestLoginsAreBoundedByAddress(t *testing.T) {
	t.Parallel()
	var clock clock
	s := servicetest.Start(t, servicetest.Options{Now: clock.now})
	begin := func(from string) answer {
		return asCLI(t, s, "/_api/auth/device/code", `{"client_id":"cl_pageflare_cli"}`, "X-Forwarded-For", from)
	}
	for i := range 30 {
		if got := begin("203.0.113." + string(rune('0'+i%10))); got.status != 200 {
			t.Fatalf("login %d = %d %s", i, got.status, got.body)
		}
	}
	got := begin("198.51.100.1")
	got.wantOAuth(t, "slow_down")
	wantMetrics(t, s, `rate_limited_total{by="login"} 1`, `refusals_total{reason="slow_down"} 1`)
	if got.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After = %q, want 2", got.header.Get("Retry-After"))
	}
	clock.add(2 * time.Second)
	d, err := s.FindDevice(t.Context(), unmarshal[api.DeviceCode](t, begin("198.51.100.1")).UserCode)
	if err != nil || d.Address != "127.0.0.1" {
		t.Errorf("address of the login = %q, %v, want the one of the connection", d.Address, err)
	}

	behind := servicetest.Start(t, servicetest.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	codes := unmarshal[api.DeviceCode](t, asCLI(t, behind, "/_api/auth/device/code", `{"client_id":"cl_pageflare_cli"}`, "X-Forwarded-For", "6.6.6.6, 203.0.113.9"))
	if d, err := behind.FindDevice(t.Context(), codes.UserCode); err != nil || d.Address != "203.0.113.9" {
		t.Errorf("address of the login = %q, %v, want the one that the proxy saw", d.Address, err)
	}
}

func TestTheMetadataNamesThePublicURL(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{PublicURL: "https://license.example.com"})
	got := unmarshal[api.AuthorizationServer](t, call(t, s, "GET", "/.well-known/oauth-authorization-server", "", "X-Forwarded-Host", "evil.example"))
	if got.Issuer != "https://license.example.com" || got.DeviceAuthorizationEndpoint != "https://license.example.com/_api/auth/device/code" {
		t.Errorf("metadata = %+v", got)
	}
	for _, o := range []string{got.TokenEndpoint, got.DeviceAuthorizationEndpoint, got.IntrospectionEndpoint, got.RevocationEndpoint} {
		if call(t, s, "POST", strings.TrimPrefix(o, got.Issuer), "").status == http.StatusNotFound {
			t.Errorf("there is no %s", o)
		}
	}
}

// While the database cannot answer, a login that waits must not end: the CLI gives up on any status
// but 200 and 400.
func TestDeviceRoutesWithoutADatabase(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	codes := beginLogin(t, s)
	s.Break(t)
	for _, got := range []answer{
		poll(t, s, codes.DeviceCode), asCLI(t, s, "/_api/auth/device/code", `{"client_id":"cl_pageflare_cli"}`),
		asCLI(t, s, "/_api/license/activate", `{}`, bearer("pf_lt_0000000000000000000000000000001OwHEt")...),
	} {
		if got.status < 400 || strings.Contains(got.body, "sql") {
			t.Errorf("without a database = %d %s", got.status, got.body)
		}
	}
	call(t, s, "GET", "/_api/cli/check-version", "").want(t, 200, `{"current_version":"0.9.2"}`)
}

// busyStore is a database that another process has locked, from now on.
type busyStore struct {
	auth.DeviceStore
	now atomic.Bool
}

func (b *busyStore) ChangeDeviceLogin(ctx context.Context, hash string, change func(*auth.DeviceLogin) ([]audit.Act, error)) (auth.DeviceLogin, error) {
	if b.now.Load() {
		return auth.DeviceLogin{}, failure.ErrUnavailable
	}
	return b.DeviceStore.ChangeDeviceLogin(ctx, hash, change)
}

func (b *busyStore) AddDeviceLogin(ctx context.Context, d auth.DeviceLogin) error {
	if b.now.Load() {
		return failure.ErrUnavailable
	}
	return b.DeviceStore.AddDeviceLogin(ctx, d)
}

func TestAPollOfABusyDatabaseIsSlowedDown(t *testing.T) {
	t.Parallel()
	busy := &busyStore{}
	s := servicetest.Start(t, servicetest.Options{Between: func(s *parts.Stores) { busy.DeviceStore, s.Devices = s.Devices, busy }})
	s.MayFail()
	codes, err := s.BeginDevice(t.Context(), "cl_pageflare_cli", "192.0.2.7")
	if err != nil {
		t.Fatal(err)
	}
	busy.now.Store(true)
	for _, c := range []struct{ path, code, want string }{
		{"token", codes.DeviceCode.Reveal(), `400 {"error":"slow_down"`},
		{"code", "", `503 {"error":"server_error"`},
		{"token", "x", `400 {"error":"invalid_grant"`}, // what changes nothing does not wait for the writer
		{"token", strings.ToLower(codes.DeviceCode.Reveal()), `400 {"error":"invalid_grant"`},
	} {
		body := `{"client_id":"cl_pageflare_cli","grant_type":"` + grant + `","device_code":"` + c.code + `"}`
		a := asCLI(t, s, "/_api/auth/device/"+c.path, body)
		if got := fmt.Sprintf("%d %s", a.status, a.body); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s of a busy database = %s, want %s", c.path, got, c.want)
		}
	}
}

func TestAnAdminMakesASignInLink(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{PublicURL: "https://license.example.com"})
	a, _ := s.Account(t, "dev@example.com")
	admin := bearer(s.AdminToken(t, auth.ScopeTokensWrite))
	rest := slices.DeleteFunc(slices.Clone(auth.Scopes), func(s auth.Scope) bool { return s == auth.ScopeTokensWrite })
	call(t, s, "POST", "/_api/admin/accounts/"+a.ID+"/sign-in", "", bearer(s.AdminToken(t, rest...))...). // who is signed in gets license tokens
														wantCode(t, 403, api.CodeInsufficientScope)
	got := unmarshal[api.SignInLink](t, call(t, s, "POST", "/_api/admin/accounts/"+a.ID+"/sign-in", "", admin...))
	_, secret, ok := strings.Cut(got.URL, "https://license.example.com/sign-in?link=")
	if who, err := s.SignInAccount(t.Context(), secret); !ok || err != nil || who.ID != a.ID {
		t.Errorf("link = %s, of %s, %v", got.URL, who.ID, err)
	}
	call(t, s, "POST", "/_api/admin/accounts/user_none/sign-in", "", admin...).wantCode(t, 404, api.CodeNotFound)
	if _, err := s.DeleteAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	call(t, s, "POST", "/_api/admin/accounts/"+a.ID+"/sign-in", "", admin...).wantCode(t, 403, api.CodeLicenseRevoked)
}

// clock is a clock that a test moves.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Date(2026, 3, 12, 9, 30, 0, 0, time.UTC).Add(c.ahead)
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// Those who run the service find the machines of an account and end them, also when anyone who
// logged in is gone.
func TestMachinesThroughTheAdminAPI(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	owner, _ := a.Account(t, "dev@example.com")
	stranger, _ := a.Account(t, "other@example.com")
	login := bearer(approved(t, a.Service, owner.ID))
	tokens := map[string]string{} // by the id of their machine
	for _, label := range []string{"build-7", "build-8", ""} {
		made := unmarshal[api.Activated](t, asCLI(t, a.Service, "/_api/license/activate", `{"machine_id":"0f3a5c","label":"`+label+`"}`, login...))
		tokens[made.Machine] = made.Token
	}
	list := "accounts/" + owner.ID + "/machines"
	wantTwoPages(t, a, list)
	if got := a.do("GET", "accounts/"+stranger.ID+"/machines", ""); got.body != `{"items":[]}` {
		t.Errorf("machines of another account = %s", got.body)
	}
	machines := into[api.MachinePage](t, a.do("GET", list, "")).Items
	m := machines[1]
	if m.Account != owner.ID || m.MachineID != "0f3a5c" || m.Status != "active" || m.EndedAt != nil || m.Family != opaque.TokenID(jtiOf(t, tokens[m.ID])).Family() {
		t.Errorf("machine = %+v", m)
	}
	for range 2 { // twice is no error
		if got := into[api.Machine](t, a.do("DELETE", "machines/"+m.ID, "")); got.ID != m.ID || got.Status != "ended" || got.EndedAt == nil {
			t.Errorf("ended = %+v", got)
		}
	}
	for machine, token := range tokens {
		got := call(t, a.Service, "GET", "/_api/license/refresh", "", bearer(token)...)
		if machine == m.ID {
			got.wantCode(t, http.StatusForbidden, api.CodeTokenRevoked)
			continue
		}
		got.token(t)
	}
	lines := into[api.AuditPage](t, a.do("GET", "audit?action=machine.end&account="+owner.ID, "")).Items
	if len(lines) != 1 || lines[0].Object != m.ID || lines[0].Actor.Kind != "admin" {
		t.Errorf("lines = %+v, want one by the admin", lines)
	}
	a.do("GET", list+"?cursor=zzz", "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	a.token = a.AdminToken(t, auth.ScopeTokensRead)
	a.do("DELETE", "machines/"+m.ID, "").wantCode(t, http.StatusForbidden, api.CodeInsufficientScope)
	a.token = a.AdminToken(t, auth.ScopeTokensWrite)
	a.do("GET", list, "").wantCode(t, http.StatusForbidden, api.CodeInsufficientScope)
}

// jtiOf is the id in a license token.
func jtiOf(t *testing.T, text string) string {
	t.Helper()
	c, err := token.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return c.ID
}
