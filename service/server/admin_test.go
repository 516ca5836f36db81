package server_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/servicetest"
)

// into reads the body of a good answer.
func into[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if a.status != http.StatusOK {
		t.Fatalf("answer = %d %s, want 200", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("answer %s: %v", a.body, err)
	}
	return v
}

// admin is a service with an admin token that may do everything.
type admin struct {
	t *testing.T
	*servicetest.Service
	token string
}

func newAdmin(t *testing.T) *admin {
	t.Helper()
	s := servicetest.Start(t, servicetest.Options{})
	return &admin{t, s, s.AdminToken(t, auth.Scopes...)}
}

// do calls a route of the Admin API with a JSON body, or none.
func (a *admin) do(method, path, body string) answer {
	a.t.Helper()
	headers := bearer(a.token)
	if body != "" {
		headers = append(headers, "Content-Type", "application/json")
	}
	return call(a.t, a.Service, method, "/_api/admin/"+path, body, headers...)
}

func TestAnAccountLivesThroughTheAdminAPI(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	made := into[api.Account](t, a.do("POST", "accounts", `{"email":"Dev@example.com","features":["b","a","b"],"valid_until":"2099-03-12"}`))
	if made.Email != "dev@example.com" || made.Tier != "pro" || made.ValidUntil != "2099-03-12T00:00:00.000Z" || made.Status != "active" || !opaque.APIToken.Fits(made.APIToken) {
		t.Errorf("made %+v", made)
	}
	call(t, a.Service, "POST", "/_api/license/issue", "", bearer(made.APIToken)...).token(t)
	path := "accounts/" + made.ID
	changed := into[api.Account](t, a.do("PATCH", path, `{"tier":"team","features":[],"valid_until":"2098-01-02T03:04:05Z"}`))
	if changed.Tier != "team" || len(changed.Features) != 0 || changed.ValidUntil != "2098-01-02T03:04:05.000Z" || changed.APIToken != "" {
		t.Errorf("changed to %+v", changed)
	}
	for act, want := range map[string]string{"suspend": "suspended", "restore": "active"} {
		if got := into[api.Account](t, a.do("POST", path+"/"+act, "")); got.Status != want {
			t.Errorf("%s = %s, want %s", act, got.Status, want)
		}
	}
	if got := into[api.Account](t, a.do("DELETE", path, "")); got.Status != "deleted" || got.Email != "" {
		t.Errorf("deleted = %+v", got)
	}
	call(t, a.Service, "POST", "/_api/license/issue", "", bearer(made.APIToken)...).wantUnauthorized(t)
	a.do("POST", path+"/restore", "").wantCode(t, http.StatusForbidden, api.CodeLicenseRevoked)
}

func TestListsComeInPages(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	want := map[string]bool{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		owner, _ := a.Account(t, name+"@example.com")
		want[owner.ID] = true
	}
	var got []string
	pages := 0
	for cursor := ""; ; pages++ {
		page := into[api.AccountPage](t, a.do("GET", "accounts?limit=2&cursor="+cursor, ""))
		for _, x := range page.Items {
			got = append(got, x.ID)
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if len(got) != 5 || pages != 2 || !slices.IsSorted(got) {
		t.Errorf("got %q in %d pages and one", got, pages)
	}
	owner := got[0]
	for range 3 {
		a.IssueToken(t, owner, 0)
	}
	first := into[api.TokenPage](t, a.do("GET", "accounts/"+owner+"/tokens?limit=2", ""))
	rest := into[api.TokenPage](t, a.do("GET", "accounts/"+owner+"/tokens?limit=2&cursor="+first.NextCursor, ""))
	if len(first.Items) != 2 || len(rest.Items) != 1 || rest.NextCursor != "" || rest.Items[0].Jti == first.Items[1].Jti {
		t.Errorf("tokens = %+v, then %+v", first, rest)
	}
	for range 2 {
		into[api.APIToken](t, a.do("POST", "accounts/"+owner+"/api-tokens", `{"name":"more"}`))
		a.AdminToken(t, auth.ScopeAuditRead)
	}
	wantTwoPages(t, a, "accounts/"+owner+"/api-tokens")
	wantTwoPages(t, a, "admin-tokens")
	lines := into[api.AuditPage](t, a.do("GET", "audit?limit=3&action=account.create", ""))
	more := into[api.AuditPage](t, a.do("GET", "audit?limit=3&action=account.create&cursor="+lines.NextCursor, ""))
	if len(lines.Items) != 3 || len(more.Items) != 2 || more.Items[0].Seq >= lines.Items[2].Seq || more.NextCursor != "" {
		t.Errorf("audit = %+v, then %+v", lines, more)
	}
}

// wantTwoPages fails unless a list of three is the same in pages of two, in its order.
func wantTwoPages(t *testing.T, a *admin, path string) {
	t.Helper()
	type list struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
		NextCursor string `json:"next_cursor"`
	}
	whole := into[list](t, a.do("GET", path, ""))
	first := into[list](t, a.do("GET", path+"?limit=2", ""))
	rest := into[list](t, a.do("GET", path+"?limit=2&cursor="+first.NextCursor, ""))
	if len(whole.Items) != 3 || whole.NextCursor != "" || len(first.Items) != 2 || first.NextCursor != first.Items[1].ID || rest.NextCursor != "" ||
		!slices.Equal(whole.Items, append(first.Items, rest.Items...)) {
		t.Errorf("%s = %+v, in pages %+v and %+v", path, whole, first, rest)
	}
}

func TestTokensOfAllAccountsAreFoundByKeyAndAccount(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	one, _ := a.Account(t, "one@example.com")
	two, _ := a.Account(t, "two@example.com")
	a.IssueToken(t, one.ID, 0)
	a.IssueToken(t, two.ID, 0)
	issued := into[api.TokenPage](t, a.do("GET", "tokens", "")).Items
	if len(issued) != 2 || issued[0].Account == issued[1].Account {
		t.Fatalf("tokens = %+v, want one of each account", issued)
	}
	for query, want := range map[string]int{"?limit=1": 1, "?account=" + one.ID: 1, "?kid=" + issued[0].Kid: 2, "?kid=k_0000000000000000": 0} {
		if got := into[api.TokenPage](t, a.do("GET", "tokens"+query, "")); len(got.Items) != want || (got.NextCursor != "") != (query == "?limit=1") {
			t.Errorf("tokens%s = %+v, want %d", query, got, want)
		}
	}
}

// A filter leaves out what is not asked for.
func TestFiltersOfLists(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	one, _ := a.Account(t, "one@example.com")
	two, _ := a.Account(t, "two@example.com")
	var mine []string
	for n := range 3 {
		mine = append(mine, a.Trust(t, one.ID, "https://token.actions.githubusercontent.com", strconv.Itoa(n+1), "1"))
		a.Trust(t, two.ID, "https://token.actions.githubusercontent.com", strconv.Itoa(n+1), "2")
	}
	second := mine[1] // of repository 2
	slices.Sort(mine)
	first := into[api.PolicyPage](t, a.do("GET", "policies?limit=2&account="+one.ID, ""))
	rest := into[api.PolicyPage](t, a.do("GET", "policies?limit=2&account="+one.ID+"&cursor="+first.NextCursor, ""))
	var got []string
	for _, p := range append(first.Items, rest.Items...) {
		got = append(got, p.ID)
	}
	if diff := cmp.Diff(mine, got); diff != "" || first.NextCursor != mine[1] || rest.NextCursor != "" {
		t.Errorf("policies of one account, in pages with cursors %q and %q (-want +got)\n%s", first.NextCursor, rest.NextCursor, diff)
	}
	for _, c := range []struct {
		path string
		want []string
	}{
		{"accounts?email=Two@example.com", []string{two.ID}},
		{"accounts?email=none@example.com", nil},
		{"accounts?email=two@example.com&cursor=" + two.ID, nil},
		{"policies?repository=2&account=" + one.ID, []string{second}},
		{"policies?repository=acme/none", nil},
	} {
		var ids []string
		for _, x := range into[struct{ Items []struct{ ID string } }](t, a.do("GET", c.path, "")).Items {
			ids = append(ids, x.ID)
		}
		if diff := cmp.Diff(c.want, ids); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.path, diff)
		}
	}
	for query, want := range map[string]int{"since=2020-01-01": 1, "until=2020-01-01T12:00:00Z": 0, "since=2999-01-01": 0, "until=2999-01-01": 1, "repository=2": 0} {
		if got := into[api.AuditPage](t, a.do("GET", "audit?action=account.create&account="+one.ID+"&"+query, "")).Items; len(got) != want {
			t.Errorf("audit?%s = %d lines, want %d", query, len(got), want)
		}
	}
	if got := into[api.AuditPage](t, a.do("GET", "audit?repository=2", "")).Items; len(got) != 2 || got[0].Action != "policy.add" || got[1].Action != "policy.add" {
		t.Errorf("audit?repository=2 = %+v, want the policies of both accounts", got)
	}
	lines := into[api.AuditPage](t, a.do("GET", "audit?account="+one.ID, "")).Items
	for _, l := range lines {
		if l.Account != one.ID {
			t.Errorf("a line of account %q among those of %s", l.Account, one.ID)
		}
	}
	if len(lines) != 5 { // the account, its API token, three policies
		t.Errorf("%d lines of an account, want 5", len(lines))
	}
	all := a.token
	a.token = a.AdminToken(t, auth.Scopes...)
	into[api.RevokedAPIToken](t, a.do("DELETE", "api-tokens/"+lines[3].Object+"?with_tokens=true", ""))
	by := into[api.AuditPage](t, a.do("GET", "audit?limit=1", "")).Items[0].Actor.ID
	a.token = all
	if got := into[api.AuditPage](t, a.do("GET", "audit?actor="+by, "")).Items; len(got) != 1 || got[0].Actor.ID != by || got[0].Action != "api-token.revoke" {
		t.Errorf("what an admin token did = %+v, want the one act", got)
	}
	into[api.RemovedPolicy](t, a.do("DELETE", "policies/"+mine[0], ""))
	var actions []string
	for _, l := range into[api.AuditPage](t, a.do("GET", "audit?limit=2&account="+one.ID, "")).Items {
		actions = append(actions, l.Action)
	}
	if diff := cmp.Diff([]string{"policy.remove", "api-token.revoke"}, actions); diff != "" {
		t.Errorf("what was done last to an account (-want +got)\n%s", diff)
	}
}

func TestTokensAndKeysThroughTheAdminAPI(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	owner, _ := a.Account(t, "a@example.com")
	key := into[api.APIToken](t, a.do("POST", "accounts/"+owner.ID+"/api-tokens", `{"name":"ci"}`))
	issued := call(t, a.Service, "POST", "/_api/license/issue", "", bearer(key.APIToken)...).token(t)
	refreshed := call(t, a.Service, "GET", "/_api/license/refresh", "", bearer(issued)...).token(t)
	if got := into[api.RevokedAPIToken](t, a.do("DELETE", "api-tokens/"+key.ID+"?with_tokens=true", "")); got.FamiliesRevoked != 1 {
		t.Errorf("revoked = %+v", got)
	}
	call(t, a.Service, "GET", "/_api/license/refresh", "", bearer(refreshed)...).wantCode(t, http.StatusForbidden, api.CodeTokenRevoked)

	short := into[api.IssuedToken](t, a.do("POST", "accounts/"+owner.ID+"/tokens", `{"ttl":"90s"}`))
	if left := time.Until(short.ExpiresAt.Time); left > 90*time.Second || left < time.Minute {
		t.Errorf("the token lives for %s", left)
	}
	record := into[api.TokenRecord](t, a.do("POST", "tokens/revoke", `{"token":"`+short.Token+`"}`))
	if record.Status != "revoked" || record.Account != owner.ID {
		t.Errorf("record = %+v", record)
	}
	if got := into[api.TokenRecord](t, a.do("GET", "tokens/"+record.Jti, "")); got != record {
		t.Errorf("record = %+v, then %+v", record, got)
	}

}

// A path reaches logs, so a token that stands in one is refused and not repeated, and nothing is
// half done.
func TestNoTokenIsRevokedByItsTextInAPath(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	_, key := a.Account(t, "a@example.com")
	issued := call(t, a.Service, "POST", "/_api/license/issue", "", bearer(key)...).token(t)
	other := a.AdminToken(t, auth.ScopeAuditRead)
	for path, secret := range map[string]string{
		"api-tokens/" + key: key, "api-tokens/" + key + "?with_tokens=true": key, "api-tokens/" + key[:41]: key[:41],
		"admin-tokens/" + other: other, "admin-tokens/" + other[:42]: other[:42],
		"api-tokens/adm_0123456789abcdef": "adm_", "api-tokens/at_0123456789abcdeF": "abcdeF", "api-tokens/at_0123456789abcde%0A": `\n`,
	} {
		got := a.do("DELETE", path, "")
		got.wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
		if strings.Contains(got.body, secret) {
			t.Errorf("%s is repeated in %s", secret, got.body)
		}
	}
	call(t, a.Service, "GET", "/_api/license/refresh", "", bearer(issued)...).token(t)
	call(t, a.Service, "POST", "/_api/license/issue", "", bearer(key)...).token(t)
	call(t, a.Service, "GET", "/_api/admin/audit", "", bearer(other)...).wantStatus(t, http.StatusOK)
	a.do("DELETE", "api-tokens/at_0000000000000000", "").wantCode(t, http.StatusNotFound, api.CodeNotFound)
	a.do("DELETE", "admin-tokens/adm_0000000000000000", "").wantCode(t, http.StatusNotFound, api.CodeNotFound)
}

func TestKeysThroughTheAdminAPI(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	fresh := into[api.SigningKey](t, a.do("POST", "keys", ""))
	lease := into[api.SigningKey](t, a.do("POST", "keys?lease=true", ""))
	a.do("POST", "keys?lease=maybe", "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	keys := into[api.KeyPage](t, a.do("GET", "keys", "")).Items
	var got []string
	for _, k := range keys {
		got = append(got, k.Alg+" "+k.State)
	}
	if diff := cmp.Diff([]string{"HS256 signing", "HS256 waiting", "EdDSA signing", "EdDSA waiting"}, got); diff != "" {
		t.Fatalf("keys (-want +got)\n%s", diff)
	}
	if keys[1] != fresh || keys[3] != lease {
		t.Errorf("made %+v and %+v, listed %+v", fresh, lease, keys)
	}
	for _, k := range keys { // each signs, or waits to
		a.do("DELETE", "keys/"+k.Kid, "").wantCode(t, http.StatusConflict, api.CodeConflict)
		if k.State == "signing" {
			a.do("DELETE", "keys/"+k.Kid+"?force=true", "").wantCode(t, http.StatusConflict, api.CodeConflict)
		} else {
			a.do("DELETE", "keys/"+k.Kid+"?force=true", "").want(t, http.StatusOK, `{"kid":"`+k.Kid+`","state":"retired"}`)
		}
	}
	a.do("DELETE", "keys/k_none", "").wantCode(t, http.StatusNotFound, api.CodeNotFound)
}

func TestAnAdminTokenDoesWhatItsScopesSay(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	all := a.token
	a.token = a.AdminToken(t, auth.ScopeAdminWrite, auth.ScopeAccountsRead)
	a.do("GET", "accounts", "").want(t, 200, `{"items":[]}`)
	a.do("POST", "accounts", `{"email":"a@example.com","valid_until":"2099-01-01"}`).wantCode(t, http.StatusForbidden, api.CodeInsufficientScope)
	a.do("GET", "audit", "").wantCode(t, http.StatusForbidden, api.CodeInsufficientScope)

	// nobody gives away more than they have
	a.do("POST", "admin-tokens", `{"scopes":["accounts:write"]}`).wantCode(t, http.StatusForbidden, api.CodeInsufficientScope)
	short := into[api.AdminToken](t, a.do("POST", "admin-tokens", `{"scopes":["accounts:read","admin-tokens:write"],"ttl":"2m"}`))
	long := a.token
	a.token = short.AdminToken
	a.do("POST", "admin-tokens", `{"scopes":["accounts:read"]}`).wantCode(t, http.StatusForbidden, api.CodeInsufficientScope)
	a.do("POST", "admin-tokens", `{"scopes":["accounts:read"],"ttl":"1h"}`).wantCode(t, http.StatusForbidden, api.CodeInsufficientScope)

	a.token = long
	into[api.RevokedAdminToken](t, a.do("DELETE", "admin-tokens/"+short.ID, ""))
	a.token = short.AdminToken
	a.do("GET", "accounts", "").wantUnauthorized(t)

	// an admin token is nobody's license
	call(t, a.Service, "POST", "/_api/license/issue", "", bearer(all)...).wantUnauthorized(t)
	call(t, a.Service, "GET", "/_api/license/refresh", "", bearer(all)...).wantUnauthorized(t)
}

func TestAnAdminTokenEndsByItself(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	text, _, err := s.CreateAdminToken(t.Context(), auth.NewAdminToken{Scopes: auth.Scopes, Lifetime: time.Hour}, nil)
	if err != nil {
		t.Fatal(err)
	}
	call(t, s, "GET", "/_api/admin/accounts", "", bearer(text.Reveal())...).want(t, 200, `{"items":[]}`)
	now = now.Add(time.Hour)
	call(t, s, "GET", "/_api/admin/accounts", "", bearer(text.Reveal())...).wantUnauthorized(t)
}

func TestTheAuditLogSaysWhoAndFromWhere(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	got := a.do("POST", "accounts", `{"email":"a@example.com","valid_until":"2099-01-01"}`)
	made := into[api.Account](t, got)
	line := into[api.AuditPage](t, a.do("GET", "audit?limit=1&account="+made.ID, "")).Items[0]
	if line.Actor.Kind != "admin" || !strings.HasPrefix(line.Actor.ID, "adm_") || line.Address != "127.0.0.1" || line.RequestID != got.header.Get("X-Request-Id") {
		t.Errorf("line = %+v", line)
	}
	call(t, a.Service, "POST", "/_api/license/issue", "", bearer(made.APIToken)...).token(t)
	line = into[api.AuditPage](t, a.do("GET", "audit?action=token.issue", "")).Items[0]
	if line.Actor.Kind != "account" || !strings.HasPrefix(line.Actor.ID, "at_") || line.Account != made.ID {
		t.Errorf("line = %+v", line)
	}
	verdict := into[api.AuditVerdict](t, a.do("GET", "audit/verify", ""))
	if !verdict.Intact || verdict.Lines != line.Seq {
		t.Errorf("verdict = %+v, the last line is %d", verdict, line.Seq)
	}
	again := into[api.AuditVerdict](t, a.do("GET", "audit/verify?expected_head="+verdict.End, ""))
	other := into[api.AuditVerdict](t, a.do("GET", "audit/verify?expected_head=1:"+strings.Repeat("0", 64), ""))
	if !again.Intact || other.Intact || other.Fault == "" {
		t.Errorf("verdicts = %+v, %+v", again, other)
	}
}

// Each fault of a body or a query has its answer, and nothing was done.
func TestWrongRequestsOfTheAdminAPI(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	owner, _ := a.Account(t, "taken@example.com")
	before := into[api.AuditVerdict](t, a.do("GET", "audit/verify", ""))
	for name, test := range map[string]struct {
		method, path, body string
		kind               string // content type; JSON when empty
		status             int
		code               api.Code
		says               string
	}{
		"no body":               {body: "", status: 400, code: api.CodeInvalidRequest, says: "not JSON"},
		"not JSON":              {body: "email=a", status: 400, code: api.CodeInvalidRequest, says: "not JSON"},
		"no object":             {body: `["a"]`, status: 400, code: api.CodeInvalidRequest, says: "not a JSON object"},
		"cut off":               {body: `{"email":"a@example.com"`, status: 400, code: api.CodeInvalidRequest, says: "not JSON"},
		"two objects":           {body: `{"email":"a@example.com","valid_until":"2099-01-01"}{}`, status: 400, code: api.CodeInvalidRequest, says: "not JSON"},
		"an unknown member":     {body: `{"email":"a@example.com","valid_until":"2099-01-01","admin":true}`, status: 400, code: api.CodeInvalidRequest, says: `"/admin"`},
		"a wrongly cased one":   {body: `{"Email":"a@example.com","valid_until":"2099-01-01"}`, status: 400, code: api.CodeInvalidRequest, says: `"/Email"`},
		"a doubled member":      {body: `{"email":"a@example.com","email":"b@example.com","valid_until":"2099-01-01"}`, status: 400, code: api.CodeInvalidRequest, says: "twice"},
		"a wrong type":          {body: `{"email":7,"valid_until":"2099-01-01"}`, status: 400, code: api.CodeInvalidRequest, says: `"/email"`},
		"a list of wrong types": {body: `{"email":"a@example.com","features":[1],"valid_until":"2099-01-01"}`, status: 400, code: api.CodeInvalidRequest, says: `"/features/0"`},
		"deep nesting":          {body: `{"features":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, status: 400, code: api.CodeInvalidRequest, says: "deeper than 8"},
		"no UTF-8":              {body: "{\"email\":\"a\xff@example.com\"}", status: 400, code: api.CodeInvalidRequest, says: "not JSON in UTF-8"},
		"too large":             {body: `{"email":"` + strings.Repeat("a", 64<<10) + `"}`, status: 413, code: api.CodeRequestTooLarge, says: "larger than"},
		"another content type":  {body: `{}`, kind: "text/plain", status: 415, code: api.CodeUnsupportedMediaType, says: "application/json"},
		"no content type":       {body: `{}`, kind: "-", status: 415, code: api.CodeUnsupportedMediaType, says: "application/json"},
		"another charset":       {body: `{}`, kind: "application/json; charset=utf-16", status: 415, code: api.CodeUnsupportedMediaType, says: "UTF-8"},
		"a wrong address":       {body: `{"email":"nobody","valid_until":"2099-01-01"}`, status: 400, code: api.CodeInvalidRequest, says: `email "nobody"`},
		"a wrong tier":          {body: `{"email":"a@example.com","tier":"gold","valid_until":"2099-01-01"}`, status: 400, code: api.CodeInvalidRequest, says: `tier "gold"`},
		"a wrong date":          {body: `{"email":"a@example.com","valid_until":"tomorrow"}`, status: 400, code: api.CodeInvalidRequest, says: `"tomorrow" is not a date`},
		"no date":               {body: `{"email":"a@example.com"}`, status: 400, code: api.CodeInvalidRequest, says: "is not a date"},
		"an address taken":      {body: `{"email":"Taken@example.com","valid_until":"2099-01-01"}`, status: 409, code: api.CodeConflict, says: "exists already"},
		"nothing to change":     {method: "PATCH", path: "accounts/" + owner.ID, body: `{}`, status: 400, code: api.CodeInvalidRequest, says: "nothing to change"},
		"an unknown account":    {method: "PATCH", path: "accounts/user_0000000000000000", body: `{"tier":"pro"}`, status: 404, code: api.CodeNotFound, says: "user_0000000000000000"},
		"an id that is none":    {method: "GET", path: "accounts/%2e%2e", status: 404, code: api.CodeNotFound, says: "not found"},
		"an id with a quote":    {method: "GET", path: "accounts/'%20OR%201=1--", status: 404, code: api.CodeNotFound, says: "not found"},
		"a jti that is none":    {method: "GET", path: "tokens/x", status: 400, code: api.CodeInvalidRequest, says: "no id of a token"},
		"token and jti":         {path: "tokens/revoke", body: `{"token":"a","jti":"b"}`, status: 400, code: api.CodeInvalidRequest, says: "one of"},
		"neither":               {path: "tokens/revoke", body: `{}`, status: 400, code: api.CodeInvalidRequest, says: "one of"},
		"a token that is none":  {path: "tokens/revoke", body: `{"token":"a.b.c"}`, status: 400, code: api.CodeInvalidRequest, says: "neither a live token"},
		"a wrong ttl":           {path: "accounts/" + owner.ID + "/tokens", body: `{"ttl":"soon"}`, status: 400, code: api.CodeInvalidRequest, says: "not a duration"},
		"a negative ttl":        {path: "accounts/" + owner.ID + "/tokens", body: `{"ttl":"-1h"}`, status: 400, code: api.CodeInvalidRequest, says: "not a duration"},
		"a short ttl":           {path: "accounts/" + owner.ID + "/tokens", body: `{"ttl":"1ms"}`, status: 400, code: api.CodeInvalidRequest, says: "shorter than a second"},
		"a long name":           {path: "accounts/" + owner.ID + "/api-tokens", body: `{"name":"` + strings.Repeat("n", 101) + `"}`, status: 400, code: api.CodeInvalidRequest, says: "longer than 100"},
		"no scope":              {path: "admin-tokens", body: `{"scopes":[]}`, status: 400, code: api.CodeInvalidRequest, says: "no scope"},
		"an unknown scope":      {path: "admin-tokens", body: `{"scopes":["everything"]}`, status: 400, code: api.CodeInvalidRequest, says: `"everything"`},
		"a limit of nothing":    {method: "GET", path: "accounts?limit=0", status: 400, code: api.CodeInvalidRequest, says: "1 to 200"},
		"a limit too large":     {method: "GET", path: "accounts?limit=201", status: 400, code: api.CodeInvalidRequest, says: "1 to 200"},
		"two limits":            {method: "GET", path: "accounts?limit=1&limit=2", status: 400, code: api.CodeInvalidRequest, says: "twice"},
		"a mistyped filter":     {method: "GET", path: "audit?acount=x", status: 400, code: api.CodeInvalidRequest, says: `"acount"`},
		"a cursor of accounts":  {method: "GET", path: "accounts?cursor=zzz", status: 400, code: api.CodeInvalidRequest, says: "such as user_"},
		"one with capitals":     {method: "GET", path: "accounts?cursor=user_0123456789ABCDEF", status: 400, code: api.CodeInvalidRequest, says: "such as user_"},
		"one of another list":   {method: "GET", path: "policies?cursor=user_0123456789abcdef", status: 400, code: api.CodeInvalidRequest, says: "such as pol_"},
		"a cursor of tokens":    {method: "GET", path: "accounts/" + owner.ID + "/tokens?cursor=zzz", status: 400, code: api.CodeInvalidRequest, says: "jti"},
		"one with a quote":      {method: "GET", path: "accounts/" + owner.ID + "/tokens?cursor=" + strings.Repeat("'", 40), status: 400, code: api.CodeInvalidRequest, says: "jti"},
		"a cursor of API tokens": {method: "GET", path: "accounts/" + owner.ID + "/api-tokens?cursor=zzz", status: 400, code: api.CodeInvalidRequest,
			says: "such as at_"},
		"one of another account": {method: "GET", path: "accounts/" + owner.ID + "/api-tokens?cursor=at_0123456789abcdef", status: 400, code: api.CodeInvalidRequest,
			says: "nothing in this list"},
		"a cursor of admin tokens": {method: "GET", path: "admin-tokens?cursor=adm_0123456789abcdef", status: 400, code: api.CodeInvalidRequest,
			says: "nothing in this list"},
		"a parameter of none":    {method: "GET", path: "keys?limit=1", status: 400, code: api.CodeInvalidRequest, says: "takes none"},
		"an action that is none": {method: "GET", path: "audit?action=token.revok", status: 400, code: api.CodeInvalidRequest, says: `action "token.revok" is none of account.create, `},
		"policies of nobody":     {method: "GET", path: "policies?account=user_0000000000000000", status: 404, code: api.CodeNotFound, says: "not found"},
		"lines of nobody":        {method: "GET", path: "audit?account=user_none", status: 404, code: api.CodeNotFound, says: "account user_none: not found"},
		"tokens of no key":       {method: "GET", path: "tokens?kid=nothing", status: 400, code: api.CodeInvalidRequest, says: "such as k_"},
		"tokens of nobody":       {method: "GET", path: "tokens?account=user_0000000000000000", status: 404, code: api.CodeNotFound},
		"a part of a name":       {method: "GET", path: "policies?repository=site", status: 400, code: api.CodeInvalidRequest, says: "OWNER/NAME"},
		"a time in words":        {method: "GET", path: "audit?since=yesterday", status: 400, code: api.CodeInvalidRequest, says: "since: "},
		"a cursor of no list":    {method: "GET", path: "audit?cursor=x", status: 400, code: api.CodeInvalidRequest, says: "cursor"},
		"an unclear flag":        {method: "DELETE", path: "keys/k_0000000000000000?force=yes", status: 400, code: api.CodeInvalidRequest, says: "neither true nor false"},
		"another flag":           {method: "DELETE", path: "keys/k_0000000000000000?forse=true", status: 400, code: api.CodeInvalidRequest, says: "force"},
		"an end that is none":    {method: "GET", path: "audit/verify?expected_head=7", status: 400, code: api.CodeInvalidRequest, says: "NUMBER:HASH"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.method == "" {
				test.method = "POST"
			}
			if test.path == "" {
				test.path = "accounts"
			}
			headers := bearer(a.token)
			switch {
			case test.kind == "" && test.method != "GET" && test.method != "DELETE":
				headers = append(headers, "Content-Type", "application/json")
			case test.kind != "" && test.kind != "-":
				headers = append(headers, "Content-Type", test.kind)
			}
			got := call(t, a.Service, test.method, "/_api/admin/"+test.path, test.body, headers...)
			got.wantCode(t, test.status, test.code)
			if !strings.Contains(got.body, strings.ReplaceAll(test.says, `"`, `\"`)) {
				t.Errorf("answer %s does not say %s", got.body, test.says)
			}
		})
	}
	if after := into[api.AuditVerdict](t, a.do("GET", "audit/verify", "")); after != before {
		t.Errorf("something was done: the audit log ended at %+v, now at %+v", before, after)
	}
}

// A text that no database can hold is the caller's mistake, on both engines.
func TestParametersAreText(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	for _, query := range []string{"audit?account=%00", "audit?actor=user_1%00", "audit?account=%ff", "accounts?cursor=%c3%28", "repositories?account=%00"} {
		got := a.do("GET", query, "")
		got.wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
		if !strings.Contains(string(got.body), "is not text in UTF-8, or holds a NUL") {
			t.Errorf("GET %s: %s", query, got.body)
		}
	}
	got := a.do("POST", "accounts", `{"email":"a@example.com","features":["a\u0000"],"valid_until":"2099-03-12"}`)
	got.wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	if !strings.Contains(string(got.body), `the member \"/features/0\" of the body holds a NUL`) {
		t.Errorf("POST accounts: %s", got.body)
	}
}
