package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/token"
)

// form posts parameters to a route.
func form(t *testing.T, s *servicetest.Service, path, by string, params ...string) answer {
	t.Helper()
	values := url.Values{}
	for i := 0; i < len(params); i += 2 {
		values.Add(params[i], params[i+1])
	}
	return call(t, s, "POST", path, values.Encode(), append(bearer(by), "Content-Type", "application/x-www-form-urlencoded")...)
}

// wantOAuthCode checks a refusal of introspection or revocation: the words of OAuth and of this
// API.
func (a answer) wantOAuthCode(t *testing.T, status int, oauth string, code api.Code) {
	t.Helper()
	var e api.OAuthAPIError
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("answer = %d %s: %v", a.status, a.body, err)
	}
	if a.status != status || e.Error != oauth || e.Code != code || e.Message == "" || e.ErrorDescription != e.Message {
		t.Errorf("answer = %d %s, want %d with %s and %s", a.status, a.body, status, oauth, code)
	}
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	a, key := s.Account(t, "a@example.com")
	other, otherKey := s.Account(t, "b@example.com")
	admin, narrow := s.AdminToken(t, auth.ScopeTokensRead), s.AdminToken(t, auth.ScopeAuditRead)
	const path, inactive = "/_api/oauth/introspect", `{"active":false}`
	live, foreign, short := s.IssueToken(t, a.ID, 0), s.IssueToken(t, other.ID, 0), s.IssueToken(t, a.ID, time.Minute)
	revoked, leaked := s.IssueToken(t, a.ID, 0), s.IssueToken(t, a.ID, 0)
	for text, family := range map[string]bool{revoked: false, leaked: true} {
		if _, err := s.RevokeToken(t.Context(), text, family); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)

	claims, err := token.Decode(live)
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{key, admin} {
		got := into[api.Introspection](t, form(t, s, path, by, "token", live))
		if !got.Active || got.TokenType != "Bearer" || got.Kind != "license_token" || got.Sub != a.ID || got.Jti != claims.ID || got.Exp != claims.ExpiresAt.Unix() || got.Iss != s.Origin || got.Tier != "pro" {
			t.Errorf("introspect = %+v", got)
		}
		if got := into[api.Introspection](t, form(t, s, path, by, "token", key, "token_type_hint", "license_token")); !got.Active || got.TokenType != "Bearer" || got.Kind != "api_token" || got.Exp != 0 {
			t.Errorf("introspect an API token = %+v", got)
		}
		for name, text := range map[string]string{
			"expired": short, "revoked": revoked, "of a revoked family": leaked, "forged": live[:len(live)-2] + "xx", "no token": "hello", "an admin token": admin,
		} {
			if got := form(t, s, path, by, "token", text); got.status != 200 || got.body != inactive {
				t.Errorf("introspect %s = %d %s, want 200 %s", name, got.status, got.body, inactive)
			}
		}
	}
	// what is another account's is not active, whatever it is
	form(t, s, path, key, "token", foreign).want(t, 200, inactive)
	form(t, s, path, key, "token", otherKey).want(t, 200, inactive)
	if got := into[api.Introspection](t, form(t, s, path, admin, "token", foreign)); !got.Active {
		t.Error("an admin token does not see a token of an account")
	}
	// a license that is over has no good tokens
	if _, err := s.SuspendAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	form(t, s, path, admin, "token", live).want(t, 200, inactive)

	// who may not ask learns nothing
	form(t, s, path, live, "token", foreign).wantUnauthorized(t)
	form(t, s, path, narrow, "token", foreign).wantOAuthCode(t, 403, "insufficient_scope", api.CodeInsufficientScope)
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	a, key := s.Account(t, "a@example.com")
	other, otherKey := s.Account(t, "b@example.com")
	admin := s.AdminToken(t, auth.ScopeTokensWrite)
	const path, refresh = "/_api/oauth/revoke", "/_api/license/refresh"

	stolen := s.IssueToken(t, a.ID, 0)
	child := call(t, s, "GET", refresh, "", bearer(stolen)...).token(t)
	sibling := s.IssueToken(t, a.ID, 0)
	form(t, s, path, key, "token", stolen, "token_type_hint", "nonsense").want(t, 200, `{}`)
	for _, text := range []string{stolen, child} {
		call(t, s, "GET", refresh, "", bearer(text)...).wantCode(t, http.StatusForbidden, api.CodeTokenRevoked)
	}
	call(t, s, "GET", refresh, "", bearer(sibling)...).token(t)
	form(t, s, path, key, "token", stolen).want(t, 200, `{}`)

	// an expired one still takes what was made of it along
	short := s.IssueToken(t, a.ID, time.Minute)
	grown := call(t, s, "GET", refresh, "", bearer(short)...).token(t)
	now = now.Add(time.Minute)
	form(t, s, path, key, "token", short).want(t, 200, `{}`)
	call(t, s, "GET", refresh, "", bearer(grown)...).wantCode(t, http.StatusForbidden, api.CodeTokenRevoked)

	// what is unknown is no good already; what is another's is not touched
	for _, text := range []string{"hello", sibling[:len(sibling)-2] + "xx", otherKey[:40] + key[40:]} {
		form(t, s, path, key, "token", text).want(t, 200, `{}`)
	}
	foreign := s.IssueToken(t, other.ID, 0)
	form(t, s, path, key, "token", foreign).wantOAuthCode(t, 403, "insufficient_scope", api.CodeInsufficientScope)
	form(t, s, path, key, "token", otherKey).wantOAuthCode(t, 403, "insufficient_scope", api.CodeInsufficientScope)
	call(t, s, "GET", refresh, "", bearer(foreign)...).token(t)
	form(t, s, path, admin, "token", otherKey).want(t, 200, `{}`)
	call(t, s, "POST", "/_api/license/issue", "", bearer(otherKey)...).wantUnauthorized(t)
	form(t, s, path, admin, "token", foreign).want(t, 200, `{}`)
	call(t, s, "GET", refresh, "", bearer(foreign)...).wantCode(t, http.StatusForbidden, api.CodeTokenRevoked)
	form(t, s, path, key, "token", key).want(t, 200, `{}`) // itself
	call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).wantUnauthorized(t)
}

// RFC 7009, 2.1: a public client shows its id and the token, for it has nothing else.
func TestAPublicClientEndsItsOwnLoginToken(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{BadCredentials: 4, Now: frozen()})
	a, key := s.Account(t, "dev@example.com")
	login := approved(t, s, a.ID)
	revoke := func(params ...string) answer {
		values := url.Values{}
		for i := 0; i < len(params); i += 2 {
			values.Add(params[i], params[i+1])
		}
		return call(t, s, "POST", "/_api/oauth/revoke", values.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	const cli = "cl_pageflare_cli"
	revoke("client_id", "cl_unknown", "token", login).wantOAuthCode(t, 400, "invalid_client", api.CodeInvalidRequest)
	revoke("client_id", "cl_pageflare_action", "token", login).wantOAuthCode(t, 400, "invalid_grant", api.CodeInvalidRequest)
	revoke("client_id", cli).wantOAuthCode(t, 400, "invalid_request", api.CodeInvalidRequest)
	call(t, s, "POST", "/_api/license/issue", "", bearer(login)...).token(t)
	revoke("client_id", cli, "token", login).want(t, 200, `{}`)
	call(t, s, "POST", "/_api/license/issue", "", bearer(login)...).wantUnauthorized(t) // counts: 1
	revoke("client_id", cli, "token", login).want(t, 200, `{}`)

	// what it does not hold stays as it is, and each guess counts as a bad credential of the
	// address
	revoke("client_id", cli, "token", key).wantOAuthCode(t, 400, "unsupported_token_type", api.CodeInvalidRequest)
	revoke("client_id", cli, "token", approved(t, s, a.ID)[:30]+"000000").wantStatus(t, 400)
	revoke("token", login).wantUnauthorized(t)
	revoke("client_id", cli, "token", key).wantOAuthCode(t, 429, "temporarily_unavailable", api.CodeRateLimited)
	call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).token(t)
}

// RFC 8414, 2: what is left out would mean client_secret_basic.
func TestTheMetadataNamesTheMethodsOfEachEndpoint(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	got := into[api.AuthorizationServer](t, call(t, s, "GET", "/.well-known/oauth-authorization-server", ""))
	for name, methods := range map[string][]string{
		"token": got.TokenEndpointAuthMethodsSupported, "introspection": got.IntrospectionEndpointAuthMethodsSupported,
		"revocation": got.RevocationEndpointAuthMethodsSupported,
	} {
		if len(methods) != 1 {
			t.Errorf("methods of %s = %q, want one", name, methods)
		}
	}
	// the registry of RFC 8414, 7.3, has no Bearer, which introspection alone may name
	if r, i := got.RevocationEndpointAuthMethodsSupported[0], got.IntrospectionEndpointAuthMethodsSupported[0]; r != "none" || i != "Bearer" {
		t.Errorf("methods of revocation = %s, of introspection = %s, want none and Bearer", r, i)
	}
}

// Another grant has other parameters, so that ours cannot be asked for first (RFC 6749, 5.2).
func TestAnUnknownGrantTypeIsNamedWhateverElseIsThere(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	got := call(t, s, "POST", "/_api/auth/device/token", "grant_type=client_credentials", "Content-Type", "application/x-www-form-urlencoded")
	if got.status != http.StatusBadRequest || !strings.Contains(got.body, `"error":"unsupported_grant_type"`) {
		t.Errorf("an unknown grant type = %d %s", got.status, got.body)
	}
}

func TestABaseURLMayEndWithASlash(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	_, key := s.Account(t, "a@example.com")
	call(t, s, "POST", "/_api//license/issue", "", bearer(key)...).token(t)
	if got := call(t, s, "GET", "/_api/license//refresh", ""); got.status != http.StatusNotFound {
		t.Errorf("slashes elsewhere = %d, want 404", got.status)
	}
}

func TestWrongForms(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	_, key := s.Account(t, "a@example.com")
	for _, path := range []string{"/_api/oauth/introspect", "/_api/oauth/revoke"} {
		form(t, s, path, key).wantOAuthCode(t, 400, "invalid_request", api.CodeInvalidRequest)
		form(t, s, path, key, "token", "").wantOAuthCode(t, 400, "invalid_request", api.CodeInvalidRequest)
		form(t, s, path, key, "token", "a", "token", "b").wantOAuthCode(t, 400, "invalid_request", api.CodeInvalidRequest)
		form(t, s, path, key, "token", "\xff").wantOAuthCode(t, 400, "invalid_request", api.CodeInvalidRequest)
		form(t, s, path+"?token=x", key).wantOAuthCode(t, 400, "invalid_request", api.CodeInvalidRequest) // a token in an address reaches logs
		post := func(body, kind string) answer {
			return call(t, s, "POST", path, body, append(bearer(key), "Content-Type", kind)...)
		}
		post("%zz", "application/x-www-form-urlencoded").wantOAuthCode(t, 400, "invalid_request", api.CodeInvalidRequest)
		post(`{"token":"x"}`, "application/json").wantOAuthCode(t, 415, "invalid_request", api.CodeUnsupportedMediaType)
		post("token=x", "application/x-www-form-urlencoded; charset=latin1").wantOAuthCode(t, 415, "invalid_request", api.CodeUnsupportedMediaType)
		post("token="+string(make([]byte, 70000)), "application/x-www-form-urlencoded").wantOAuthCode(t, 413, "invalid_request", api.CodeRequestTooLarge)
	}
}

func TestIntrospectionNamesTheFeaturesAlsoWhenThereAreNone(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, key := s.Account(t, "a@example.com")
	if _, err := s.UpdateAccount(t.Context(), a.ID, account.Change{Features: new([]string{})}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{s.IssueToken(t, a.ID, 0), key} {
		got := form(t, s, "/_api/oauth/introspect", key, "token", text)
		if got.status != 200 || !strings.Contains(got.body, `"features":[]`) {
			t.Errorf("introspect without features = %d %s, want \"features\":[]", got.status, got.body)
		}
	}
}
