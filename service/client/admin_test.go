package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/servicetest"
)

const actionsIssuer = "https://token.actions.githubusercontent.com"

// recorder notes the method and path of each request.
type recorder struct {
	mu    sync.Mutex
	asked []string
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.asked = append(r.asked, req.Method+" "+req.URL.Path)
	r.mu.Unlock()
	return http.DefaultTransport.RoundTrip(req)
}

// all collects what is yielded.
func all[T any](t testing.TB, items iter.Seq2[T, error]) (got []T) {
	t.Helper()
	for item, err := range items {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, item)
	}
	return got
}

// must is the answer of a call that must work.
func must[T any](t testing.TB) func(T, error) T {
	return func(got T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
}

// Every operation of the Admin API does through the client what it does without.
func TestAdminOfTheRealService(t *testing.T) {
	t.Parallel()
	gh := githubtest.Start(t, githubtest.Config{
		Repositories: []githubtest.Repository{{ID: 7, Owner: "acme", OwnerID: 8, Name: "site"}},
		Apps: []githubtest.App{{ID: 1, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: 1, Account: "acme", Permissions: map[string]string{"secrets": "write"}},
		}}},
	})
	s := servicetest.Start(t, servicetest.Options{
		Issuers: []string{actionsIssuer}, LeaseGrace: 24 * time.Hour,
		GitHub: gh.URL(), App: servicetest.GivenApp("1", githubtest.PEM(githubtest.AppKey())),
	})
	seen := &recorder{}
	c := newClient(t, client.Config{BaseURL: s.URL, HTTP: &http.Client{Transport: seen}})
	a, ctx := c.Admin(s.AdminToken(t, auth.Scopes...)), t.Context()

	account := must[api.Account](t)(a.CreateAccount(ctx, api.NewAccount{Email: "a@example.com", Tier: "pro", ValidUntil: "2099-01-01"}))
	for i := range 4 {
		must[api.Account](t)(a.CreateAccount(ctx, api.NewAccount{Email: fmt.Sprintf("b%d@example.com", i), ValidUntil: "2099-01-01"}))
	}
	if got := all(t, a.ListAccounts(ctx, api.ListAccountsParams{Limit: 2})); len(got) != 5 || !slices.IsSortedFunc(got, func(a, b api.Account) int { return strings.Compare(a.ID, b.ID) }) {
		t.Errorf("ListAccounts in pages of 2 = %d accounts, want 5 in the order of their ids", len(got))
	}
	for range a.ListAccounts(ctx, api.ListAccountsParams{Limit: 2}) {
		break // ends there, without a second page
	}
	if got := must[api.Account](t)(a.UpdateAccount(ctx, account.ID, api.AccountChange{Tier: new("team")})); got.Tier != "team" || got.Email != "a@example.com" {
		t.Errorf("UpdateAccount = %+v", got)
	}
	if got := must[api.Account](t)(a.SuspendAccount(ctx, account.ID)); got.Status != "suspended" {
		t.Errorf("SuspendAccount = %+v", got)
	}
	must[api.Account](t)(a.RestoreAccount(ctx, account.ID))
	if got := must[api.Account](t)(a.GetAccount(ctx, account.ID)); got.Status != "active" || got.Tier != "team" {
		t.Errorf("GetAccount = %+v", got)
	}
	if got := must[api.SignInLink](t)(a.CreateSignInLink(ctx, account.ID)); !strings.Contains(got.URL, "/sign-in?link=") {
		t.Error("CreateSignInLink has no link")
	}

	apiToken := must[api.APIToken](t)(a.CreateAPIToken(ctx, account.ID, api.NewAPIToken{Name: "build server"}))
	made := must[api.IssuedToken](t)(c.Issue(ctx, apiToken.APIToken))
	if got := all(t, a.ListAPITokens(ctx, account.ID, api.ListAPITokensParams{Limit: 1})); len(got) != 2 || got[1].Name != "build server" || got[1].APIToken != "" {
		t.Errorf("ListAPITokens = %+v", got)
	}
	issued := must[api.IssuedToken](t)(a.IssueToken(ctx, account.ID, api.NewToken{TTL: "72h"}))
	known := must[api.Introspection](t)(c.Introspect(ctx, apiToken.APIToken, issued.Token))
	if !known.Active || known.Sub != account.ID || known.Exp != issued.ExpiresAt.Unix() {
		t.Errorf("Introspect = %+v", known)
	}
	if got := must[api.TokenRecord](t)(a.GetToken(ctx, known.Jti)); got.Account != account.ID || got.Status != "live" {
		t.Errorf("GetToken = %+v", got)
	}
	keys := must[[]api.SigningKey](t)(a.ListKeys(ctx))
	if got := all(t, a.FindTokens(ctx, api.FindTokensParams{Account: account.ID, Kid: keys[0].Kid, Limit: 1})); len(got) != 2 || got[0].Kid != keys[0].Kid {
		t.Errorf("FindTokens() = %v, want two of key %s", got, keys[0].Kid)
	}
	if got := all(t, a.ListTokens(ctx, account.ID, api.ListTokensParams{Limit: 1})); len(got) != 2 || !slices.ContainsFunc(got, func(r api.TokenRecord) bool { return r.Jti == known.Jti }) {
		t.Errorf("ListTokens in pages of 1 = %+v, want both", got)
	}
	lease := must[api.Lease](t)(c.Lease(ctx, issued.Token))
	if set := must[api.PublicKeySet](t)(c.PublicKeys(ctx)); len(set.Keys) == 0 || lease.Lease == "" {
		t.Errorf("PublicKeys = %+v, Lease of %d bytes", set, len(lease.Lease))
	}
	if got := must[api.TokenRecord](t)(a.RevokeToken(ctx, api.TokenToRevoke{Token: issued.Token, Family: true})); got.Status != "revoked" {
		t.Errorf("RevokeToken = %+v", got)
	}
	if got := must[api.Introspection](t)(c.Introspect(ctx, apiToken.APIToken, issued.Token)); got.Active {
		t.Error("a revoked token is active")
	}
	if got := must[api.RevokedAPIToken](t)(a.RevokeAPIToken(ctx, apiToken.ID, api.RevokeAPITokenParams{WithTokens: true})); got.FamiliesRevoked != 1 {
		t.Errorf("RevokeAPIToken = %+v, want the family of the token that it issued to end too", got)
	}
	_, err := c.Refresh(ctx, made.Token)
	if e := wantFailure(t, err, client.ErrRefused); e.Code != api.CodeTokenRevoked {
		t.Errorf("refresh of its token: %v", err)
	}

	caller := must[auth.Caller](t)(s.Authenticate(ctx, s.IssueToken(t, account.ID, 0)))
	_, machine, err := s.Activate(ctx, caller, "0f3a5c", "build-7")
	if err != nil {
		t.Fatal(err)
	}
	if got := all(t, a.ListMachines(ctx, account.ID, api.ListMachinesParams{Limit: 1})); len(got) != 1 || got[0].ID != machine.ID || got[0].Label != "build-7" {
		t.Errorf("ListMachines = %+v", got)
	}
	if got := must[api.Machine](t)(a.EndMachine(ctx, machine.ID)); got.ID != machine.ID || got.Status != "ended" {
		t.Errorf("EndMachine = %+v", got)
	}

	policy := must[api.Policy](t)(a.AddPolicy(ctx, api.NewPolicy{Account: account.ID, RepositoryID: "1296269", RepositoryOwnerID: "583231", Ref: []string{"refs/heads/main"}}))
	if got := all(t, a.ListPolicies(ctx, api.ListPoliciesParams{Account: account.ID})); len(got) != 1 || got[0].ID != policy.ID {
		t.Errorf("ListPolicies = %+v", got)
	}
	batch := must[[]api.Policy](t)(a.AddPolicies(ctx, []api.NewPolicy{
		{Account: account.ID, RepositoryID: "7", RepositoryOwnerID: "583231"},
		{Account: account.ID, RepositoryID: "1296269", RepositoryOwnerID: "583231", Ref: []string{"refs/heads/main"}},
	}))
	if len(batch) != 2 || batch[0].RepositoryID != "7" || batch[1].ID != policy.ID {
		t.Errorf("AddPolicies = %+v, want a new one and %s", batch, policy.ID)
	}
	must[api.RemovedPolicy](t)(a.RemovePolicy(ctx, batch[0].ID, api.RemovePolicyParams{}))
	claims := json.RawMessage(`{"iss":"` + actionsIssuer + `","aud":"` + s.Origin + `","sub":"repo:acme/site:ref:refs/heads/other","exp":4070908800,"iat":1790000000,"nbf":1790000000,"jti":"1",
		"repository":"acme/site","repository_owner":"acme","repository_id":"1296269","repository_owner_id":"583231","event_name":"push",
		"ref":"refs/heads/other"}`)
	if got := must[api.Explanation](t)(a.ExplainPolicies(ctx, api.IdentityToExplain{Claims: claims})); got.Allowed || len(got.Policies) != 1 || got.Policies[0].ID != policy.ID {
		t.Errorf("ExplainPolicies = %+v", got)
	}
	if got := all(t, a.ListRepositories(ctx, api.ListRepositoriesParams{Account: account.ID, Limit: 1})); len(got) != 0 {
		t.Errorf("ListRepositories = %+v, and no job had a token", got)
	}
	must[api.RemovedPolicy](t)(a.RemovePolicy(ctx, policy.ID, api.RemovePolicyParams{}))

	kept := must[api.Rotation](t)(a.AddRotation(ctx, api.NewRotation{Account: account.ID, Repository: "acme/site"}))
	if kept.RepositoryID != "7" || len(kept.Targets) != 1 || kept.Targets[0].State != "due" {
		t.Errorf("AddRotation = %+v", kept)
	}
	s.WriteSecrets(t)
	if got := must[api.Rotation](t)(a.GetRotation(ctx, kept.ID)); got.Targets[0].State != "fresh" || got.Targets[0].Jti == "" || got.Targets[0].NextAt == nil {
		t.Errorf("GetRotation = %+v", got)
	}
	if got := must[api.Rotation](t)(a.RunRotation(ctx, kept.ID)); got.Targets[0].State != "due" {
		t.Errorf("RunRotation = %+v", got)
	}
	if got := all(t, a.ListRotations(ctx, api.ListRotationsParams{Account: account.ID, Limit: 1})); len(got) != 1 || got[0].ID != kept.ID {
		t.Errorf("ListRotations = %+v", got)
	}
	_, err = a.AddRotation(ctx, api.NewRotation{Account: account.ID, Repository: "acme/site", Targets: []string{"repository", "environment:prod"}})
	if e := wantFailure(t, err, client.ErrRejected); e.Code != api.CodeInvalidRequest || !strings.Contains(e.Message, `"Environments: read and write"`) {
		t.Errorf("AddRotation without a permission: %v", err)
	}
	if got := must[api.RemovedRotation](t)(a.RemoveRotation(ctx, kept.ID, api.RemoveRotationParams{WithTokens: true})); got.FamiliesRevoked != 1 {
		t.Errorf("RemoveRotation = %+v", got)
	}

	first := must[[]api.SigningKey](t)(a.ListKeys(ctx))
	if got := must[api.SigningKey](t)(a.RotateKey(ctx, api.RotateKeyParams{})); got.Alg != "HS256" || got.State != "waiting" {
		t.Errorf("RotateKey = %+v", got)
	}
	if got := must[api.SigningKey](t)(a.RotateKey(ctx, api.RotateKeyParams{Lease: true})); got.Alg != "EdDSA" {
		t.Errorf("RotateKey of leases = %+v", got)
	}
	_, err = a.RetireKey(ctx, first[0].Kid, api.RetireKeyParams{Force: true})
	if e := wantFailure(t, err, client.ErrRejected); e.Code != api.CodeConflict || e.Status != 409 {
		t.Errorf("RetireKey of the key that signs: %v", err)
	}

	webhook := must[api.Webhook](t)(a.AddWebhook(ctx, api.NewWebhook{Account: account.ID, URL: "https://example.com/hooks", Events: []string{"policy.added"}}))
	if got := all(t, a.ListWebhooks(ctx, api.ListWebhooksParams{Account: account.ID, Limit: 1})); len(got) != 1 || got[0].ID != webhook.ID || webhook.Secret == "" {
		t.Errorf("ListWebhooks = %+v", got)
	}
	if got := must[api.Webhook](t)(a.UpdateWebhook(ctx, webhook.ID, api.WebhookChange{Events: &[]string{}})); len(got.Events) != 0 || got.URL != webhook.URL {
		t.Errorf("UpdateWebhook = %+v", got)
	}
	if got := must[api.Webhook](t)(a.RotateWebhookSecret(ctx, webhook.ID, api.SecretRotation{Overlap: "1h"})); got.Secret == webhook.Secret || got.PreviousSecretUntil == "" {
		t.Errorf("RotateWebhookSecret = %+v", got)
	}
	if got := must[api.Webhook](t)(a.GetWebhook(ctx, webhook.ID)); got.Secret != "" || got.Account != account.ID {
		t.Errorf("GetWebhook = %+v", got)
	}
	test := must[api.Event](t)(a.TestWebhook(ctx, webhook.ID, api.WebhookTest{Type: "ping"}))
	events := must[api.EventPage](t)(a.ListEvents(ctx, api.ListEventsParams{Account: account.ID, Tests: true, Limit: 200}))
	if n := len(events.Events); n < 5 || string(events.Events[n-1]) != string(test) || events.Next != events.Latest {
		t.Errorf("ListEvents = %s, want the test event %s as the last one", events.Events, test)
	}
	if got := must[api.EventPage](t)(a.ListEvents(ctx, api.ListEventsParams{After: events.Next, Wait: 1})); len(got.Events) != 0 || got.Next != events.Next {
		t.Errorf("ListEvents behind the newest = %+v", got)
	}
	callsOfDeliveries(t, s, a, webhook.ID)
	if got := must[api.RemovedWebhook](t)(a.RemoveWebhook(ctx, webhook.ID)); got.Status != "removed" {
		t.Errorf("RemoveWebhook = %+v", got)
	}

	leaked := must[api.APIToken](t)(a.CreateAPIToken(ctx, account.ID, api.NewAPIToken{Name: "in the open"}))
	if got := must[api.Leak](t)(a.ReportLeak(ctx, api.LeakReport{Token: leaked.APIToken, Source: "gitleaks"})); got.Outcome != "ended" || got.Kind != "api_token" || got.ID != leaked.ID || got.Account != account.ID {
		t.Errorf("ReportLeak = %+v", got)
	}
	_, err = c.Issue(ctx, leaked.APIToken)
	wantFailure(t, err, client.ErrUnauthorized)
	if got := must[api.Leak](t)(a.ReportLeak(ctx, api.LeakReport{Token: "nothing of ours"})); got.Label != "false_positive" {
		t.Errorf("ReportLeak of another text = %+v", got)
	}

	small := must[api.AdminToken](t)(a.CreateAdminToken(ctx, api.NewAdminToken{Name: "billing", Scopes: []string{"accounts:read"}}))
	if got := all(t, a.ListAdminTokens(ctx, api.ListAdminTokensParams{Limit: 1})); len(got) != 2 {
		t.Errorf("ListAdminTokens = %+v", got)
	}
	_, err = c.Admin(small.AdminToken).DeleteAccount(ctx, account.ID)
	if e := wantFailure(t, err, client.ErrRefused); e.Code != api.CodeInsufficientScope {
		t.Errorf("DeleteAccount with accounts:read: %v", err)
	}
	must[api.RevokedAdminToken](t)(a.RevokeAdminToken(ctx, small.ID))
	_, err = c.Admin(small.AdminToken).GetAccount(ctx, account.ID)
	wantFailure(t, err, client.ErrUnauthorized)

	if got := must[api.Account](t)(a.DeleteAccount(ctx, account.ID)); got.Status != "deleted" || got.Email != "" {
		t.Errorf("DeleteAccount = %+v", got)
	}
	_, err = a.GetAccount(ctx, "user_0000000000000000")
	e := wantFailure(t, err, client.ErrRejected)
	wantText(t, err, "show the account: the License API at ", " rejects this (404 not_found): ", "(request id "+e.RequestID+")")

	if got := all(t, a.ListAudit(ctx, api.ListAuditParams{Account: account.ID, Action: "account.delete", Limit: 1})); len(got) != 1 || got[0].Object != account.ID {
		t.Errorf("ListAudit = %+v", got)
	}
	for line, err := range a.ListAudit(ctx, api.ListAuditParams{Actor: small.ID}) {
		t.Errorf("a line by a token that did nothing: %+v, %v", line, err)
	}
	verdict := must[api.AuditVerdict](t)(a.VerifyAudit(ctx, api.VerifyAuditParams{}))
	if !verdict.Intact || verdict.Lines < 20 {
		t.Errorf("VerifyAudit = %+v", verdict)
	}
	must[api.AuditVerdict](t)(a.VerifyAudit(ctx, api.VerifyAuditParams{From: verdict.End, ExpectedHead: verdict.End}))

	callsOfPurchases(t, s, a)
	wantEveryOperation(t, a, seen.asked)
}

// A long log takes longer than other calls may.
func TestVerifyAuditEndsWithItsContextAlone(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	for _, hurried := range []client.Config{{Attempt: time.Nanosecond}, {Budget: time.Nanosecond}} {
		hurried.BaseURL = s.URL
		a := newClient(t, hurried).Admin(s.AdminToken(t, auth.ScopeAuditRead))
		if got, err := a.VerifyAudit(t.Context(), api.VerifyAuditParams{}); err != nil || !got.Intact {
			t.Errorf("VerifyAudit = %+v, %v", got, err)
		}
		for _, err := range a.ListAudit(t.Context(), api.ListAuditParams{}) {
			wantFailure(t, err, client.ErrUnavailable)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.VerifyAudit(ctx, api.VerifyAuditParams{}); !errors.Is(err, context.Canceled) {
			t.Errorf("VerifyAudit = %v, want the error of its context", err)
		}
	}
}

// wantEveryOperation holds the methods and what was called against openapi.yaml.
func wantEveryOperation(t testing.TB, a *client.Admin, asked []string) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !slices.Contains(op.Tags, "admin") {
				continue
			}
			want = append(want, strings.ToUpper(op.OperationID[:1])+op.OperationID[1:])
			if !slices.ContainsFunc(asked, func(call string) bool { return isCallOf(call, method+" "+path) }) {
				t.Errorf("%s %s was not called", method, path)
			}
		}
	}
	var got []string
	for m := range reflect.TypeOf(a).Methods() {
		got = append(got, m.Name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations of openapi.yaml and methods of Admin (-want +got):\n%s", diff)
	}
}

func isCallOf(call, route string) bool {
	parts, of := strings.Split(call, "/"), strings.Split(route, "/")
	return slices.EqualFunc(parts, of, func(part, of string) bool { return part == of || strings.HasPrefix(of, "{") })
}

func TestRevokeOfTheRealService(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{LeaseGrace: -1})
	account, apiToken := s.Account(t, "a@example.com")
	license := s.IssueToken(t, account.ID, 72*time.Hour)
	c := newClient(t, client.Config{BaseURL: s.URL})
	for range 2 { // a token that is no good any more is no error
		if err := c.Revoke(t.Context(), apiToken, license); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Refresh(t.Context(), license)
	if e := wantFailure(t, err, client.ErrRefused); e.Code != api.CodeTokenRevoked {
		t.Errorf("refresh of a revoked token: %v", err)
	}
	wantFailure(t, c.Revoke(t.Context(), license, apiToken), client.ErrUnauthorized)
	wantFailure(t, c.Revoke(t.Context(), apiToken, ""), client.ErrRejected)
	_, err = c.Lease(t.Context(), s.IssueToken(t, account.ID, 72*time.Hour))
	if e := wantFailure(t, err, client.ErrRejected); e.Code != api.CodeNotFound {
		t.Errorf("lease of a service without: %v", err)
	}
}

// What makes something is sent again under the same name, by which the service does it once.
func TestWhatMakesSomethingIsSentAgainUnderItsName(t *testing.T) {
	t.Parallel()
	var names []string
	note := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			names = append(names, r.Header.Get("Idempotency-Key"))
			next(w, r)
		}
	}
	made := note(answer(200, "application/json", `{"id":"user_1","email":"a@example.com","status":"active"}`))
	w := newWorldWith(t, noKeepAlive, note(breakOff(200)), made, made)
	for range 2 {
		if _, err := w.client.Admin(bearer).CreateAccount(t.Context(), api.NewAccount{Email: "a@example.com"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(names) != 3 || names[0] == "" || names[0] != names[1] || names[1] == names[2] {
		t.Errorf("names of two calls, one of which was tried twice = %q, want the same for both tries, and another", names)
	}
}

// What changes something else is sent again only when it is sure that nothing was done.
func TestActsAreSentOnce(t *testing.T) {
	t.Parallel()
	made := answer(200, "application/json", `{"id":"user_1","email":"a@example.com","status":"active"}`)
	tests := map[string]struct {
		first http.HandlerFunc
		asked int
	}{
		"done":                         {made, 1},
		"too many":                     {refusal(429, api.CodeRateLimited), 2},
		"not now, says the service":    {refusal(503, api.CodeUnavailable), 2},
		"not now, says a proxy":        {answer(503, "text/html", "<html>"), 1},
		"502":                          {answer(502, "text/html", "<html>"), 1},
		"500 of the service":           {refusal(500, api.CodeInternal), 1},
		"an answer that breaks off":    {breakOff(200), 1},
		"an answer cut off by a proxy": {answer(200, "application/json", `{"id":`), 1},
		"a connection that is reset":   {reset(t), 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, noKeepAlive, test.first, made)
			account, err := w.client.Admin(bearer).SuspendAccount(t.Context(), "user_1")
			if w.requests() != test.asked {
				t.Errorf("%d requests, want %d", w.requests(), test.asked)
			}
			if test.asked == 2 || name == "done" {
				if err != nil || account.ID != "user_1" {
					t.Errorf("SuspendAccount = %+v, %v", account, err)
				}
				return
			}
			var e *client.Error
			if !errors.As(err, &e) {
				t.Fatalf("SuspendAccount = %v", err)
			}
			wantText(t, err, "it may have been done all the same: look before you call again")
			read := newWorldWith(t, noKeepAlive, test.first, made)
			if _, err := read.client.Admin(bearer).GetAccount(t.Context(), "user_1"); err != nil || read.requests() != 2 {
				t.Errorf("GetAccount = %v after %d requests, want the second to be good", err, read.requests())
			}
		})
	}
}

func TestActThatReachesNobodyIsSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, good())
	w.Server.Close()
	_, err := w.client.Admin(bearer).RotateKey(t.Context(), api.RotateKeyParams{})
	if e := wantFailure(t, err, client.ErrUnavailable); e.Tries != 5 {
		t.Errorf("%d tries, want 5: nothing was sent", e.Tries)
	}
}

func TestIDsStayOnePartOfTheAddress(t *testing.T) {
	t.Parallel()
	var paths []string
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.EscapedPath())
		refusal(404, api.CodeNotFound)(rw, r)
	})
	a := w.client.Admin(bearer)
	for _, id := range []string{"user/../keys", "a b", "ü?x=1#y", "%2e%2e"} {
		_, err := a.DeleteAccount(t.Context(), id)
		wantFailure(t, err, client.ErrRejected)
	}
	want := []string{"/_api/admin/accounts/user%2F..%2Fkeys", "/_api/admin/accounts/a%20b", "/_api/admin/accounts/%C3%BC%3Fx=1%23y", "/_api/admin/accounts/%252e%252e"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	for _, id := range []string{"", ".", ".."} {
		if _, err := a.DeleteAccount(t.Context(), id); err == nil || !strings.Contains(err.Error(), "is not an id") {
			t.Errorf("DeleteAccount(%q) = %v, want it not sent", id, err)
		}
	}
	if w.requests() != len(want) {
		t.Errorf("%d requests, want %d", w.requests(), len(want))
	}
}

// An answer without what was asked for is none, and a list that leads back to itself ends.
func TestAnswersOfTheAdminAPI(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `null`, `[]`, `{"other":1}`} {
		w := newWorld(t, answer(200, "application/json", body))
		_, err := w.client.Admin(bearer).GetAccount(t.Context(), "user_1")
		wantFailure(t, err, client.ErrAnswer)
		_, err = w.client.Introspect(t.Context(), bearer, fresh)
		wantFailure(t, err, client.ErrAnswer)
	}
	w := newWorld(t, answer(200, "application/json", `{"items":[{"id":"user_1"}],"next_cursor":"user_1"}`))
	if got := all(t, w.client.Admin(bearer).ListAccounts(t.Context(), api.ListAccountsParams{})); len(got) != 2 || w.requests() != 2 {
		t.Errorf("%d accounts in %d requests, want the list to end when its cursor stays", len(got), w.requests())
	}
	w = newWorld(t, answer(404, "text/html", "<html>"))
	_, err := w.client.Admin(bearer).GetAccount(t.Context(), "user_1")
	wantText(t, wantFailure(t, err, client.ErrAnswer), "check api-url")
}

func TestNeitherTokenOfACallIsShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		rw.Header().Set("X-Request-Id", r.PostForm.Get("token"))
		answer(400, "application/json", fmt.Sprintf(`{"code":"invalid_request","message":"Bearer %s may not ask for %s"}`, bearer, r.PostForm.Get("token")))(rw, r)
	})
	_, err := w.client.Introspect(t.Context(), bearer, fresh)
	wantText(t, wantFailure(t, err, client.ErrRejected), "Bearer [token] may not ask for [token]")
	wantFailure(t, w.client.Revoke(t.Context(), bearer, fresh), client.ErrRejected)
}
