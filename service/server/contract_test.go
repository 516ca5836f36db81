package server_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store/postgrestest"
)

// unseen are the answers that the document promises and that no test of this package gets, with the
// reason. A line ends with a status that stands for all operations, or names one.
var unseen = map[string]string{
	"500": "a route that cannot reach its database is tested by TestEveryRouteRefusesAlike; the others have no fault of their own to show",
	"503": "a busy database is tested in service/store; a route that waits for it gives the same answer by the same table (errors.go)",
}

// TestMain runs all tests and then holds that each answer which the document promises was given to
// one of them.
func TestMain(m *testing.M) {
	flag.Parse()
	code := postgrestest.Run(m)
	if all := flag.Lookup("test.run").Value.String() + flag.Lookup("test.skip").Value.String() + flag.Lookup("test.list").Value.String(); code == 0 && all == "" {
		code = checkSeen()
	}
	os.Exit(code)
}

func checkSeen() int {
	left, err := servicetest.Unseen()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	code := 0
	for _, name := range left {
		if unseen[name] == "" && unseen[name[strings.LastIndexByte(name, ' ')+1:]] == "" {
			fmt.Printf("openapi.yaml promises the answer %s, and no test gets it: test it, or say in contract_test.go why not\n", name)
			code = 1
		}
	}
	return code
}

// TestEveryRouteRefusesAlike walks the routes: whatever can be wrong with a request is answered as
// the document says, on each of them.
func TestEveryRouteRefusesAlike(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	limited := servicetest.Start(t, servicetest.Options{BadCredentials: 1, Now: frozen()})
	whole, broken, slow := newRefused(t, nil), newRefused(t, nil), newRefused(t, nil)
	broken.Break(t)
	addr := serveShortened(t, slow.Service, long, short)
	call(t, limited, "POST", "/_api/license/issue", "").wantUnauthorized(t)
	for _, r := range whole.Server.Routes() {
		op := doc.Paths.Find(documentPath(r.Path)).GetOperation(r.Method)
		if r.Guard.Signed() { // by its body: see github_test.go
			continue
		}
		if op.Security == nil && op.RequestBody == nil || !strings.HasPrefix(r.Path, "/_api/") {
			continue // pages are for people, not for tokens
		}
		t.Run(r.Method+" "+r.Path, func(t *testing.T) {
			t.Parallel()
			if !r.Guard.Open() {
				call(t, limited, r.Method, r.Path, "").wantStatus(t, http.StatusTooManyRequests)
				call(t, broken.Service, r.Method, examplePath(r, op), "", bearer(broken.credential(r.Guard))...).wantStatus(t, http.StatusInternalServerError)
			}
			whole.wantExampleNotFound(t, r, op)
			whole.wantParametersRead(t, r, op)
			whole.wantUnknownParameterRefused(t, r, op)
			if op.RequestBody == nil && op.Responses.Value("413") != nil { // a body that is ignored
				call(t, whole.Service, r.Method, examplePath(r, op), strings.Repeat(" ", 64<<10+1), bearer(whole.credential(r.Guard))...).wantStatus(t, http.StatusRequestEntityTooLarge)
				slow.wantTimeout(t, addr, r, op, "text/plain")
			}
			if op.RequestBody == nil {
				return
			}
			media := slices.Sorted(maps.Keys(op.RequestBody.Value.Content))[0]
			send := func(body, media string, status int) {
				t.Helper()
				headers := append(bearer(whole.credential(r.Guard)), "Content-Type", media)
				call(t, whole.Service, r.Method, examplePath(r, op), body, headers...).wantStatus(t, refusal(r, status))
			}
			send("\xff%", media, http.StatusBadRequest)
			send(strings.Repeat(" ", int(r.Body)+1), media, http.StatusRequestEntityTooLarge)
			send("x", "text/plain", http.StatusUnsupportedMediaType)
			slow.wantTimeout(t, addr, r, op, media)
		})
	}
}

// refusal is the status that a route refuses with. RFC 8628 knows no other than 400, and telemetry
// is never refused for what it says.
func refusal(r route.Route, status int) int {
	if strings.HasPrefix(r.Path, "/_api/auth/device/") {
		return http.StatusBadRequest
	}
	return status
}

func (a answer) wantStatus(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("answer = %d %s, want %d", a.status, a.body, status)
	}
}

// refused is a service with a credential for each guard.
type refused struct {
	*servicetest.Service
	admin, apiToken, login, license string
}

func newRefused(t *testing.T, log io.Writer) refused {
	t.Helper()
	s := servicetest.Start(t, servicetest.Options{
		Issuers:    []string{"https://token.actions.githubusercontent.com"},
		Repository: func(context.Context, string) (string, string, error) { return "1296269", "583231", nil },
		Log:        log,
	})
	a, key := s.Account(t, "a@example.com")
	return refused{s, s.AdminToken(t, auth.Scopes...), key, approved(t, s, a.ID), s.IssueToken(t, a.ID, 0)}
}

func (s refused) credential(g route.Guard) string {
	switch {
	case strings.Contains(g.String(), "admin token"):
		return s.admin
	case strings.Contains(g.String(), "API token"):
		return s.apiToken
	case strings.Contains(g.String(), "login token"):
		return s.login
	}
	return s.license
}

// wantExampleNotFound sends the example of the document, which speaks of things that are not there.
func (s refused) wantExampleNotFound(t *testing.T, r route.Route, op *openapi3.Operation) {
	t.Helper()
	if op.Responses.Value("404") == nil || !strings.Contains(r.Path, ":") && op.RequestBody == nil {
		return // it names nothing
	}
	body := ""
	headers := bearer(s.credential(r.Guard))
	if op.RequestBody != nil {
		example, err := json.Marshal(op.RequestBody.Value.Content.Get("application/json").Example)
		if err != nil {
			t.Fatal(err)
		}
		body, headers = string(example), append(headers, "Content-Type", "application/json")
	}
	call(t, s.Service, r.Method, examplePath(r, op), body, headers...).wantStatus(t, http.StatusNotFound)
}

// examplePath is the path of a route with the ids of the document's examples.
func examplePath(r route.Route, op *openapi3.Operation) string {
	path := documentPath(r.Path)
	for _, p := range op.Parameters {
		if p.Value.In == openapi3.ParameterInPath {
			path = strings.ReplaceAll(path, "{"+p.Value.Name+"}", fmt.Sprint(p.Value.Example))
		}
	}
	return path
}

// wantParametersRead gives each parameter that is a number or a switch another value.
func (s refused) wantParametersRead(t *testing.T, r route.Route, op *openapi3.Operation) {
	t.Helper()
	for _, p := range op.Parameters {
		if p.Value.In == openapi3.ParameterInQuery && !p.Value.Schema.Value.Type.Is("string") {
			call(t, s.Service, r.Method, examplePath(r, op)+"?"+p.Value.Name+"=x", "", bearer(s.credential(r.Guard))...).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
		}
	}
}

// wantUnknownParameterRefused gives a parameter that no route has: one that is mistyped must not be
// as good as none.
func (s refused) wantUnknownParameterRefused(t *testing.T, r route.Route, op *openapi3.Operation) {
	t.Helper()
	if strings.HasPrefix(r.Path, "/_api/admin/") {
		call(t, s.Service, r.Method, examplePath(r, op)+"?acount=x", "{}", append(bearer(s.credential(r.Guard)), "Content-Type", "application/json")...).
			wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	}
}

// Whatever stands in the path of a route of the Admin API is looked at before it goes anywhere: a
// token in the wrong place must not.
func TestEveryIDInAPathIsLookedAt(t *testing.T) {
	t.Parallel()
	s := newRefused(t, nil)
	for _, r := range s.Server.Routes() {
		if !strings.HasPrefix(r.Path, "/_api/admin/") || !strings.Contains(r.Path, ":") {
			continue
		}
		path := regexp.MustCompile(`:[a-z]+`).ReplaceAllString(r.Path, "what-nobody-should-see")
		got := call(t, s.Service, r.Method, path, "{}", append(bearer(s.credential(r.Guard)), "Content-Type", "application/json")...)
		if got.status != http.StatusNotFound && got.status != http.StatusBadRequest || strings.Contains(got.body, "what-nobody-should-see") {
			t.Errorf("%s %s = %d %s, want a refusal that does not repeat it", r.Method, r.Path, got.status, got.body)
		}
	}
}

// wantTimeout sends the beginning of a body and waits.
func (s refused) wantTimeout(t *testing.T, addr string, r route.Route, op *openapi3.Operation, media string) {
	t.Helper()
	header := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nAuthorization: Bearer %s\r\nContent-Length: 9\r\n\r\n", r.Method, examplePath(r, op), media, s.credential(r.Guard))
	sendHalf(t, addr, header, "{").wantStatus(t, refusal(r, http.StatusRequestTimeout))
}

// TestAnswersThatNoScenarioGets are those left over by the others.
func TestAnswersThatNoScenarioGets(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	a := &admin{t, s, s.AdminToken(t, auth.Scopes...)}
	one, _ := s.Account(t, "one@example.com")
	s.Account(t, "two@example.com")
	if got := into[api.APITokenPage](t, a.do("GET", "accounts/"+one.ID+"/api-tokens", "")); len(got.Items) != 1 {
		t.Errorf("API tokens = %+v, want the one of the account", got.Items)
	}
	if got := into[api.AdminTokenPage](t, a.do("GET", "admin-tokens", "")); len(got.Items) != 1 {
		t.Errorf("admin tokens = %+v, want ours", got.Items)
	}
	a.do("PATCH", "accounts/"+one.ID, `{"email":"two@example.com"}`).wantCode(t, http.StatusConflict, api.CodeConflict)
	old := into[api.KeyPage](t, a.do("GET", "keys", "")).Items[0].Kid
	into[api.SigningKey](t, a.do("POST", "keys", ""))
	now = now.Add(time.Minute) // the new one signs
	if got := into[api.RetiredKey](t, a.do("DELETE", "keys/"+old, "")); got.Kid != old {
		t.Errorf("retired %+v, want %s", got, old)
	}
}
