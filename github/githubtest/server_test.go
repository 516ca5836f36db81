package githubtest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/nacl/box"

	"github.com/pageflare/ci/github/githubtest"
)

const secrets = "/repos/acme/site/actions/secrets/"

var _ githubtest.TB = testing.TB(nil)

func config() githubtest.Config {
	return githubtest.Config{
		Now: func() time.Time { return time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC) },
		Repositories: []githubtest.Repository{
			{ID: 7, OwnerID: 1, Owner: "acme", Name: "site"},
			{ID: 8, Owner: "acme", Name: "open", Public: true},
		},
		Tokens: []githubtest.Token{
			{Value: "writer", Permissions: map[string]string{"secrets": "write"}},
			{Value: "reader", Permissions: map[string]string{"secrets": "read"}},
			{Value: "nobody"},
			{Value: "job", GitHubToken: true},
			{Value: "stranger", Permissions: map[string]string{"secrets": "write"}, Repositories: []string{"other/site"}},
		},
	}
}

// call is one request by hand; its zero fields are what a good client sends.
type call struct {
	method, path string
	base         string            // the server's URL when empty
	token        string            // "writer" when empty
	header       map[string]string // replaces; "" removes
	body         string
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (c call) do(t *testing.T, s *githubtest.Server) reply {
	t.Helper()
	r, err := c.try(t.Context(), s)
	if err != nil {
		t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	return r
}

func (c call) try(ctx context.Context, s *githubtest.Server) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, or(c.base, s.URL())+c.path, strings.NewReader(c.body))
	if err != nil {
		return reply{}, err
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + or(c.token, "writer"), "Accept": "application/vnd.github+json",
		"X-GitHub-Api-Version": "2022-11-28", "User-Agent": "test", "Content-Type": "application/json",
	} {
		req.Header.Set(name, value)
	}
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body)}, err
}

func or(s, preset string) string {
	if s == "" {
		return preset
	}
	return s
}

// key asks for the public key.
func key(t *testing.T, s *githubtest.Server) (id string, public *[32]byte) {
	t.Helper()
	r := call{method: "GET", path: secrets + "public-key"}.do(t, s)
	var answer struct {
		KeyID string `json:"key_id"`
		Key   []byte `json:"key"`
	}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil || len(answer.Key) != 32 {
		t.Fatalf("public key = %s, %v", r.body, err)
	}
	return answer.KeyID, (*[32]byte)(answer.Key)
}

func seal(t *testing.T, public *[32]byte, value string) string {
	t.Helper()
	sealed, err := box.SealAnonymous(nil, []byte(value), public, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sealed)
}

func putBody(keyID, encrypted string) string {
	return fmt.Sprintf(`{"key_id":%q,"encrypted_value":%q}`, keyID, encrypted)
}

func TestAGoodClientWritesAndReads(t *testing.T) {
	t.Parallel()
	cfg := config()
	now := cfg.Now()
	cfg.Now = func() time.Time { return now }
	s := githubtest.Start(t, cfg)
	id, public := key(t, s)
	now = now.Add(time.Minute)
	put := call{method: "PUT", path: secrets + "Page_Token", body: putBody(id, seal(t, public, "first"))}
	if got := put.do(t, s); got.status != 201 || got.body != "{}" {
		t.Errorf("the first PUT = %d %q, want 201", got.status, got.body)
	}
	now = now.Add(time.Minute)
	put.body = putBody(id, seal(t, public, "second"))
	if got := put.do(t, s); got.status != 204 || got.body != "" {
		t.Errorf("the second PUT = %d %q, want 204", got.status, got.body)
	}
	if value, updated, ok := s.Secret("ACME/site", "PAGE_TOKEN"); value != "second" || !ok || !updated.Equal(now) {
		t.Errorf("Secret = %q, %v, %v, want second", value, updated, ok)
	}
	got := call{method: "GET", path: secrets + "PAGE_TOKEN", token: "reader"}.do(t, s)
	want := `{"name":"PAGE_TOKEN","created_at":"2026-08-01T10:01:00Z","updated_at":"2026-08-01T10:02:00Z"}`
	if got.status != 200 || got.body != want {
		t.Errorf("GET secret = %d %s, want %s", got.status, got.body, want)
	}
	if date := got.header.Get("Date"); date != "Sat, 01 Aug 2026 10:02:00 GMT" {
		t.Errorf("Date = %s, want the time of the fake", date)
	}
	if _, _, ok := s.Secret("acme/site", "OTHER"); ok {
		t.Error("Secret(OTHER) is there, want none")
	}
	if _, _, ok := s.Secret("acme/open", "PAGE_TOKEN"); ok {
		t.Error("the secret is in another repository too")
	}
}

func TestARepositoryIsDescribed(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	got := call{method: "GET", path: "/repos/Acme/SITE", token: "nobody"}.do(t, s)
	want := `{"id":7,"name":"site","full_name":"acme/site","private":true,"owner":{"login":"acme","id":1}}`
	if got.status != 200 || got.body != want {
		t.Errorf("GET repository = %d %s, want %s", got.status, got.body, want)
	}
}

func TestCarelessRequestsAreRefused(t *testing.T) {
	t.Parallel()
	keyPath := secrets + "public-key"
	for about, tc := range map[string]struct {
		call   call
		status int
		want   string
	}{
		"an unknown token":            {call{method: "GET", path: keyPath, token: "x"}, 401, `"message":"Bad credentials"`},
		"no token":                    {call{method: "GET", path: keyPath, header: map[string]string{"Authorization": ""}}, 401, `"status":"401"`},
		"a token of another scheme":   {call{method: "GET", path: keyPath, header: map[string]string{"Authorization": "Basic writer"}}, 401, "Bad credentials"},
		"an empty token":              {call{method: "GET", path: keyPath, header: map[string]string{"Authorization": "Bearer "}}, 401, "Bad credentials"},
		"no User-Agent":               {call{method: "GET", path: keyPath, header: map[string]string{"User-Agent": ""}}, 403, "User-Agent"},
		"no Accept":                   {call{method: "GET", path: keyPath, header: map[string]string{"Accept": ""}}, 415, "Accept"},
		"an Accept of anything":       {call{method: "GET", path: keyPath, header: map[string]string{"Accept": "*/*"}}, 415, "Accept"},
		"no API version":              {call{method: "GET", path: keyPath, header: map[string]string{"X-GitHub-Api-Version": ""}}, 400, "X-GitHub-Api-Version"},
		"a token without permission":  {call{method: "GET", path: keyPath, token: "nobody"}, 403, "by personal access token"},
		"the token of the job":        {call{method: "GET", path: keyPath, token: "job"}, 403, "by integration"},
		"reading a secret without":    {call{method: "GET", path: secrets + "X", token: "nobody"}, 403, "by personal access token"},
		"writing with a reader":       {call{method: "PUT", path: secrets + "X", token: "reader", body: "{}"}, 403, "by personal access token"},
		"a repository out of sight":   {call{method: "GET", path: keyPath, token: "stranger"}, 404, "Not Found"},
		"a repository that is none":   {call{method: "GET", path: "/repos/acme/none/actions/secrets/public-key"}, 404, "Not Found"},
		"a secret that is none":       {call{method: "GET", path: secrets + "NONE"}, 404, "Not Found"},
		"a body that is a form":       {call{method: "PUT", path: secrets + "X", body: "a=b", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}, 415, "Content-Type"},
		"an escaped name of a secret": {call{method: "GET", path: secrets + "A%2FB"}, 404, "Not Found"},
		"an escaped way out":          {call{method: "GET", path: "/repos/acme/%2E%2E/actions/secrets/public-key"}, 404, "Not Found"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			s := githubtest.Start(t, config())
			if got := tc.call.do(t, s); got.status != tc.status || !strings.Contains(got.body, tc.want) {
				t.Errorf("%s = %d %s, want %d with %s", about, got.status, got.body, tc.status, tc.want)
			}
		})
	}
}

func TestThePermissionThatACallNeedsIsNamed(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	for _, tc := range []struct{ method, path, want string }{
		{"GET", secrets + "public-key", "secrets=read"},
		{"GET", secrets + "X", "secrets=read"},
		{"PUT", secrets + "X", "secrets=write"},
	} {
		got := call{method: tc.method, path: tc.path, token: "nobody"}.do(t, s).header.Get("X-Accepted-GitHub-Permissions")
		if got != tc.want {
			t.Errorf("%s %s needs %q, want %q", tc.method, tc.path, got, tc.want)
		}
	}
}

func TestAPublicRepositoryIsSeenByAllButKeepsItsSecrets(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	if got := (call{method: "GET", path: "/repos/acme/open", token: "stranger"}).do(t, s); got.status != 200 {
		t.Errorf("GET a public repository = %d, want 200", got.status)
	}
	if got := (call{method: "GET", path: "/repos/acme/open/actions/secrets/public-key", token: "nobody"}).do(t, s); got.status != 403 {
		t.Errorf("GET its public key without permission = %d, want 403", got.status)
	}
}

func TestValuesThatWereNotSealedForTheStoreAreRefused(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	id, public := key(t, s)
	other, _, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := seal(t, public, "v")
	for about, tc := range map[string]struct{ name, body string }{
		"a value in plain":             {"X", putBody(id, "v")},
		"a value in base64 only":       {"X", putBody(id, base64.StdEncoding.EncodeToString([]byte("v")))},
		"a value sealed for another":   {"X", putBody(id, seal(t, other, "v"))},
		"a value beyond 48 KB":         {"X", putBody(id, seal(t, public, strings.Repeat("v", 49153)))},
		"another key id":               {"X", putBody(id+"1", good)},
		"no key id":                    {"X", `{"encrypted_value":"` + good + `"}`},
		"no value":                     {"X", `{"key_id":"` + id + `"}`},
		"a member that is not known":   {"X", strings.Replace(putBody(id, good), "{", `{"visibility":"all",`, 1)},
		"a key id that is a number":    {"X", `{"key_id":` + id + `,"encrypted_value":"` + good + `"}`},
		"more than one JSON value":     {"X", putBody(id, good) + "{}"},
		"no body":                      {"X", ""},
		"a name that is GitHub's":      {"GITHUB_X", putBody(id, good)},
		"a name that starts with 1":    {"1X", putBody(id, good)},
		"a name with a hyphen":         {"X-Y", putBody(id, good)},
		"a name with an escaped slash": {"X%2FY", putBody(id, good)},
	} {
		got := call{method: "PUT", path: secrets + tc.name, body: tc.body}.do(t, s)
		if got.status != 422 || !strings.Contains(got.body, `"status":"422"`) {
			t.Errorf("PUT with %s = %d %s, want 422", about, got.status, got.body)
		}
	}
	if _, _, ok := s.Secret("acme/site", "X"); ok {
		t.Error("a refused value was stored")
	}
}

func TestAfterARotationOnlyTheNewKeyCounts(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	id, public := key(t, s)
	old := call{method: "PUT", path: secrets + "X", body: putBody(id, seal(t, public, "v"))}
	if got := old.do(t, s); got.status != 201 {
		t.Fatalf("PUT = %d, want 201", got.status)
	}
	s.RotateKey("acme/site")
	newID, newPublic := key(t, s)
	if newID == id || bytes.Equal(newPublic[:], public[:]) {
		t.Errorf("the key after the rotation = %s, want a new one", newID)
	}
	if got := old.do(t, s); got.status != 422 {
		t.Errorf("PUT with the old key = %d, want 422", got.status)
	}
	if got := (call{method: "PUT", path: secrets + "X", body: putBody(newID, seal(t, public, "v"))}).do(t, s); got.status != 422 {
		t.Errorf("PUT with the new id and the old key = %d, want 422", got.status)
	}
	if value, _, ok := s.Secret("acme/site", "X"); value != "v" || !ok {
		t.Errorf("Secret = %q, %v, want the value from before the rotation", value, ok)
	}
}

func TestUnknownRoutesAreFaults(t *testing.T) {
	t.Parallel()
	for about, c := range map[string]call{
		"a path that is not known":      {method: "GET", path: "/users"},
		"a method that is not known":    {method: "DELETE", path: secrets + "X"},
		"an unescaped slash":            {method: "GET", path: secrets + "A/B"},
		"an unescaped question mark":    {method: "GET", path: secrets + "A?B"},
		"an unescaped way out":          {method: "GET", path: "/repos/acme/../site/actions/secrets/public-key"},
		"a doubled slash":               {method: "GET", path: "/" + secrets + "public-key"},
		"a trailing slash":              {method: "GET", path: secrets},
		"a bare question mark":          {method: "GET", path: secrets + "A?"},
		"a path with a doubled base":    {method: "GET", path: "/api/v3/repos/acme/site"},
		"an owner that is left out":     {method: "GET", path: "/repos//site"},
		"a literal that is escaped too": {method: "GET", path: "/repos/acme/site/%61ctions/secrets/X"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			tb := &recorder{}
			s := githubtest.Start(tb, config())
			got := c.do(t, s)
			faults := s.Faults()
			tb.cleanup()
			if got.status != 404 || len(faults) != 1 || !strings.Contains(faults[0], "unknown route: "+c.method) {
				t.Errorf("%s = %d, faults %q, want 404 and a fault", about, got.status, faults)
			}
			if len(tb.errors) != 1 {
				t.Errorf("the test got the errors %q, want one", tb.errors)
			}
		})
	}
}

func TestAPathOutsideTheBaseIsAFault(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.BasePath = "/api/v3"
	s, err := githubtest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := (call{method: "GET", path: "/repos/acme/site"}).do(t, s); got.status != 200 || len(s.Faults()) > 0 {
		t.Errorf("GET below the base = %d, faults %q, want 200", got.status, s.Faults())
	}
	resp, err := call{method: "GET", path: "/repos/acme/site", base: strings.TrimSuffix(s.URL(), "/api/v3")}.try(t.Context(), s)
	if err != nil || resp.status != 404 || len(s.Faults()) != 1 {
		t.Errorf("GET outside the base = %d, %v, faults %q, want 404 and a fault", resp.status, err, s.Faults())
	}
}

func TestRequestsAreKeptWithoutTheirSecrets(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, config())
	call{method: "GET", path: secrets + "public-key"}.do(t, s)
	call{method: "PUT", path: secrets + "X", body: "{}"}.do(t, s)
	want := []githubtest.Request{
		{Method: "GET", Path: secrets + "public-key", Status: 200},
		{Method: "PUT", Path: secrets + "X", Status: 422},
	}
	if diff := cmp.Diff(want, s.Requests()); diff != "" {
		t.Errorf("Requests (-want +got):\n%s", diff)
	}
}

// recorder is a testing.TB whose end the test decides.
type recorder struct {
	cleanups []func()
	errors   []string
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
func (r *recorder) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (r *recorder) cleanup() {
	for _, f := range r.cleanups {
		f()
	}
}
