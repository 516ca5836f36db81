package server_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store/postgrestest"
)

// named is the headers of a request with a name.
func named(token, name string) []string {
	return append(bearer(token), "Idempotency-Key", name, "Content-Type", "application/json")
}

func TestARequestThatIsSentAgainUnderItsNameDoesNothingTwice(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	replica := s.Replica(t, nil)
	a, key := s.Account(t, "a@example.com")
	admin, other := s.AdminToken(t, auth.Scopes...), s.AdminToken(t, auth.Scopes...)
	of := "/_api/admin/accounts/" + a.ID
	const account = `{"email":"b@example.com","tier":"pro","valid_until":"2099-01-01"}`
	for _, test := range []struct {
		path, token, body string
		did               audit.Action
	}{
		{"/_api/license/issue", key, "", audit.TokenIssued},
		{"/_api/license/issue", s.IssueToken(t, a.ID, 0), "", audit.TokenIssued},
		{of + "/tokens", admin, `{"ttl":"72h"}`, audit.TokenIssued},
		{"/_api/admin/accounts", admin, account, audit.AccountCreated},
		{of + "/api-tokens", admin, `{"name":"x"}`, audit.APITokenCreated},
		{"/_api/admin/keys", admin, "", audit.KeyAdded},
		{"/_api/admin/webhooks", admin, `{"url":"https://example.com"}`, audit.EndpointAdded},
		{"/_api/admin/admin-tokens", admin, `{"name":"x","scopes":["keys:read"]}`, audit.AdminTokenCreated},
	} {
		before := s.Acts(t, test.did)
		first := call(t, s, "POST", test.path, test.body, named(test.token, "n-1")...)
		again := call(t, replica, "POST", test.path, test.body, named(test.token, "n-1")...)
		if first.status != 200 {
			t.Fatalf("POST %s = %d %s", test.path, first.status, first.body)
		}
		again.want(t, 200, first.body)
		if n := s.Acts(t, test.did) - before; n != 1 {
			t.Errorf("POST %s twice under one name did it %d times", test.path, n)
		}
		if test.path == "/_api/admin/accounts" {
			continue // its address is taken
		}
		if another := call(t, s, "POST", test.path, test.body, named(test.token, "n-2")...); another.status != 200 || another.body == first.body && strings.HasSuffix(test.path, "tokens") {
			t.Errorf("POST %s under another name = %d %s, want something new", test.path, another.status, another.body)
		}
	}
	// a name is that of a credential
	call(t, s, "POST", "/_api/admin/accounts", account, named(other, "n-1")...).wantCode(t, 409, api.CodeConflict)
}

// issuedBy is the token of an answer.
func issuedBy(t *testing.T, a answer) string {
	t.Helper()
	var issued api.IssuedToken
	if err := json.Unmarshal([]byte(a.body), &issued); err != nil || issued.Token == "" {
		t.Fatalf("answer = %d %s, want a token", a.status, a.body)
	}
	return issued.Token
}

func TestANameStandsForOneRequest(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, key := s.Account(t, "a@example.com")
	admin := s.AdminToken(t, auth.Scopes...)
	const body = `{"email":"b@example.com","tier":"pro","valid_until":"2099-01-01"}`
	call(t, s, "POST", "/_api/admin/accounts", body, named(admin, "n")...)
	call(t, s, "POST", "/_api/admin/accounts", strings.Replace(body, "b@", "c@", 1), named(admin, "n")...).wantCode(t, 409, api.CodeConflict)
	call(t, s, "POST", "/_api/admin/accounts/"+a.ID+"/api-tokens", `{"name":"x"}`, named(admin, "n")...)
	call(t, s, "POST", "/_api/admin/accounts/"+a.ID+"/api-tokens", `{"name":"y"}`, named(admin, "n")...).wantCode(t, 409, api.CodeConflict)

	issue := func(name string) answer { return call(t, s, "POST", "/_api/license/issue", "", named(key, name)...) }
	issue("changed")
	if _, err := s.UpdateAccount(t.Context(), a.ID, account.Change{Tier: new(account.Team)}); err != nil {
		t.Fatal(err)
	}
	issue("changed").wantCode(t, 409, api.CodeConflict)
	token := issuedBy(t, issue("revoked"))
	if got := call(t, s, "POST", "/_api/oauth/revoke", "token="+token, append(bearer(key), "Content-Type", "application/x-www-form-urlencoded")...); got.status != 200 {
		t.Fatalf("revoke = %d %s", got.status, got.body)
	}
	issue("revoked").wantCode(t, 403, api.CodeTokenRevoked)

	tokens := func() answer {
		return call(t, s, "POST", "/_api/admin/accounts/"+a.ID+"/tokens", `{}`, named(admin, "n")...)
	}
	tokens()
	if _, err := s.UpdateAccount(t.Context(), a.ID, account.Change{Tier: new(account.Pro)}); err != nil {
		t.Fatal(err)
	}
	tokens().wantCode(t, 409, api.CodeConflict)
	key1 := func() answer { return call(t, s, "POST", "/_api/admin/keys", "", named(admin, "n")...) }
	rotated := into[api.SigningKey](t, key1())
	if got := call(t, s, "DELETE", "/_api/admin/keys/"+rotated.Kid+"?force=true", "", bearer(admin)...); got.status != 200 {
		t.Fatalf("retire = %d %s", got.status, got.body)
	}
	key1().wantCode(t, 409, api.CodeConflict)
	call(t, s, "POST", "/_api/admin/admin-tokens", `{"name":"x","scopes":["keys:read"]}`, named(admin, "n")...)
	call(t, s, "POST", "/_api/admin/admin-tokens", `{"name":"y","scopes":["keys:read"]}`, named(admin, "n")...).wantCode(t, 409, api.CodeConflict)

	for _, bad := range []string{" ", "a b", "ä", strings.Repeat("x", 256)} {
		issue(bad).wantCode(t, 400, api.CodeInvalidRequest)
	}
	call(t, s, "POST", "/_api/license/issue", "", append(named(key, "a"), "Idempotency-Key", "b")...).wantCode(t, 400, api.CodeInvalidRequest)
}

func TestRoutesThatTakeANameAreInTheDocument(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	s := servicetest.Start(t, servicetest.Options{})
	n := 0
	for _, r := range s.Server.Routes() {
		op := doc.Paths.Find(documentPath(r.Path)).GetOperation(r.Method)
		told := slices.ContainsFunc(op.Parameters, func(p *openapi3.ParameterRef) bool { return p.Value.Name == "Idempotency-Key" })
		if told != r.Named {
			t.Errorf("%s %s takes an Idempotency-Key: %t, openapi.yaml says %t", r.Method, r.Path, r.Named, told)
		}
		if r.Named {
			n++
		}
	}
	if n == 0 {
		t.Error("no route takes an Idempotency-Key")
	}
}

// What a request under a name is asked for again with is what it was asked for, and what it made is
// as it was: else it is a conflict, and not something that looks like the answer.
func TestANameIsOfWhatWasAskedForAndIsStillThere(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "a@example.com")
	admin := s.AdminToken(t, auth.Scopes...)
	do := func(path, body string) answer {
		return call(t, s, "POST", "/_api/admin/"+path, body, named(admin, "n")...)
	}
	conflict := func(path, body string) {
		t.Helper()
		do(path, body).wantCode(t, 409, api.CodeConflict)
	}

	tokens := "accounts/" + a.ID + "/tokens"
	issuedBy(t, do(tokens, `{"ttl":"72h"}`))
	conflict(tokens, `{"ttl":"24h"}`)
	conflict(tokens, `{}`)

	made := into[api.AdminToken](t, do("admin-tokens", `{"name":"x","scopes":["keys:read"],"ttl":"72h"}`))
	conflict("admin-tokens", `{"name":"x","scopes":["keys:read"],"ttl":"24h"}`)
	conflict("admin-tokens", `{"name":"x","scopes":["keys:read"]}`)
	into[api.RevokedAdminToken](t, call(t, s, "DELETE", "/_api/admin/admin-tokens/"+made.ID, "", bearer(admin)...))
	conflict("admin-tokens", `{"name":"x","scopes":["keys:read"],"ttl":"72h"}`)

	into[api.SigningKey](t, do("keys", ""))
	conflict("keys?lease=true", "")

	const account = `{"email":"b@example.com","tier":"pro","valid_until":"2099-01-01"}`
	b := into[api.Account](t, do("accounts", account))
	if _, _, err := s.RevokeAPIToken(t.Context(), b.APIToken, false); err != nil {
		t.Fatal(err)
	}
	conflict("accounts", account)

	hook := into[api.Webhook](t, do("webhooks", `{"url":"https://example.com"}`))
	into[api.Webhook](t, call(t, s, "POST", "/_api/admin/webhooks/"+hook.ID+"/rotate-secret", `{}`, append(bearer(admin), "Content-Type", "application/json")...))
	conflict("webhooks", `{"url":"https://example.com"}`)
}

// A name that is used again when it was forgotten makes something else, not what it made before.
func TestANameThatWasForgottenMakesSomethingNew(t *testing.T) {
	t.Parallel()
	clock := &atomic.Int64{}
	begin := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return begin.Add(time.Duration(clock.Load())) }})
	_, key := s.Account(t, "a@example.com")
	issue := func() string {
		return issuedBy(t, call(t, s, "POST", "/_api/license/issue", "", named(key, "n")...))
	}
	first := issue()
	if again := issue(); again != first {
		t.Fatal("the name gave two tokens within a day")
	}
	if _, err := s.RevokeToken(t.Context(), first, true); err != nil {
		t.Fatal(err)
	}
	clock.Store(int64(license.RequestRetry + time.Second))
	later := issue()
	if got := call(t, s, "GET", "/_api/license/refresh", "", bearer(later)...); got.status != 200 {
		t.Errorf("refresh of the token that the name gave a day later = %d %s, want one that nobody revoked", got.status, got.body)
	}
}

// Requests under one name that are in flight at once, on two replicas, are one request.
func TestANameInFlightSeveralTimesIsDoneOnce(t *testing.T) {
	t.Parallel()
	for engine, database := range map[string]func(t *testing.T) string{
		"SQLite": func(*testing.T) string { return "" }, "PostgreSQL": func(t *testing.T) string { return postgrestest.New(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s := servicetest.Start(t, servicetest.Options{DatabaseURL: database(t)})
			replica := s.Replica(t, nil)
			a, key := s.Account(t, "a@example.com")
			admin := s.AdminToken(t, auth.Scopes...)
			for path, c := range map[string]struct {
				token, body string
				did         audit.Action
			}{
				"/_api/license/issue":                          {key, "", audit.TokenIssued},
				"/_api/admin/accounts/" + a.ID + "/api-tokens": {admin, `{"name":"x"}`, audit.APITokenCreated},
				"/_api/admin/webhooks":                         {admin, `{"url":"https://example.com"}`, audit.EndpointAdded},
			} {
				before := s.Acts(t, c.did)
				answers := make([]answer, 16)
				var wg sync.WaitGroup
				for i := range answers {
					on := []*servicetest.Service{s, replica}[i%2]
					wg.Go(func() { answers[i] = call(t, on, "POST", path, c.body, named(c.token, "n")...) })
				}
				wg.Wait()
				for _, got := range answers {
					got.want(t, 200, answers[0].body)
				}
				if n := s.Acts(t, c.did) - before; n != 1 {
					t.Errorf("POST %s at once under one name did it %d times", path, n)
				}
			}
		})
	}
}
