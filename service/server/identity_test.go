package server_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	adminapi "github.com/pageflare/ci/service/server/admin"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/token"
)

// keyless is a service, a fake issuer that it trusts, and an account.
type keyless struct {
	t *testing.T
	*servicetest.Service
	jobs    *githubtest.Issuer
	account account.Account
	now     time.Time
	log     syncBuffer
}

func newKeyless(t *testing.T) *keyless {
	t.Helper()
	return newKeylessWith(t, servicetest.Options{})
}

// newKeylessWith sets clock, issuer and log of the options.
func newKeylessWith(t *testing.T, o servicetest.Options) *keyless {
	t.Helper()
	k := &keyless{t: t, now: time.Now().Truncate(time.Second)}
	clock := func() time.Time { return k.now }
	var err error
	if k.jobs, err = githubtest.NewIssuer(githubtest.IssuerConfig{Now: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.jobs.Close)
	o.Now, o.Issuers, o.Log = clock, []string{k.jobs.URL()}, &k.log
	k.Service = servicetest.Start(t, o)
	k.account, _ = k.Account(t, "a@example.com")
	return k
}

func (k *keyless) policy(change func(*oidc.Policy)) license.TrustPolicy {
	k.t.Helper()
	p := oidc.Policy{Issuer: k.jobs.URL(), RepositoryID: "1296269", OwnerID: "1"}
	if change != nil {
		change(&p)
	}
	made, err := k.AddPolicy(k.t.Context(), license.TrustPolicy{AccountID: k.account.ID, Repository: "acme/site", Policy: p})
	if err != nil {
		k.t.Fatal(err)
	}
	return made
}

// identity is a token for our audience, with the claims given in the place of the usual ones.
func (k *keyless) identity(claims map[string]any) string {
	k.t.Helper()
	all := map[string]any{"aud": k.Origin}
	maps.Copy(all, claims)
	raw, err := k.jobs.Sign(all)
	if err != nil {
		k.t.Fatal(err)
	}
	return raw
}

func (k *keyless) exchange(identity string) answer {
	k.t.Helper()
	return call(k.t, k.Service, "POST", "/_api/license/issue", "", bearer(identity)...)
}

func TestAJobExchangesItsIdentity(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	made := k.policy(nil)
	identity := k.identity(nil)
	issued := k.exchange(identity).token(t)
	claims, err := token.Decode(issued)
	if err != nil {
		t.Fatal(err)
	}
	if claims.Subject != k.account.ID || claims.Lifetime() != time.Hour {
		t.Errorf("claims = %+v, want an hour for %s", claims, k.account.ID)
	}
	record, err := k.Token(t.Context(), claims.ID)
	if err != nil || record.IssuedBy != made.ID {
		t.Errorf("record = %+v, %v, want it issued by %s", record, err, made.ID)
	}
	line, err := k.Lines(t.Context(), audit.Query{Action: audit.TokenExchanged, Limit: 1})
	if err != nil || len(line) != 1 || line[0].Actor.Kind != audit.ActorJob || line[0].Actor.ID != "repository 1296269 run 42" ||
		!strings.Contains(line[0].Details, fmt.Sprintf(`"policy":"%s","policy_version":1`, made.ID)) {
		t.Errorf("audit = %+v, %v", line, err)
	}

	// a lost answer: the same again, a minute long, then no more
	k.now = k.now.Add(60 * time.Second)
	if again := k.exchange(identity).token(t); again != issued {
		t.Error("the same identity token got another license token")
	}
	k.now = k.now.Add(time.Second)
	k.exchange(identity).wantCode(t, http.StatusForbidden, api.CodeIdentityUsed)
	wantMetrics(t, k.Service, `refusals_total{reason="identity_used"} 1`, `tokens_total{act="issue",outcome="identity_used"} 1`)
	if other := k.exchange(k.identity(nil)).token(t); other == issued {
		t.Error("another identity token got the same license token")
	}
	if head, err := k.Verify(t.Context(), audit.Check{}); err != nil || head.Seq == 0 {
		t.Errorf("VerifyAudit = %v, %v", head, err)
	}
}

// What is made of an exchanged token ends with it: a job's right does not outlive the job.
func TestAnExchangedTokenCannotBeProlonged(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	k.policy(nil)
	issued := k.exchange(k.identity(nil)).token(t)
	first, err := token.Decode(issued)
	if err != nil {
		t.Fatal(err)
	}
	k.now = k.now.Add(59 * time.Minute)
	for name, got := range map[string]answer{
		"refreshed": call(t, k.Service, "GET", "/_api/license/refresh", "", bearer(issued)...),
		"issued":    call(t, k.Service, "POST", "/_api/license/issue", "", bearer(issued)...),
	} {
		child, err := token.Decode(got.token(t))
		if err != nil || child.ExpiresAt.After(first.ExpiresAt) {
			t.Errorf("%s: it ends at %s, %v, and its parent at %s", name, child.ExpiresAt, err, first.ExpiresAt)
		}
	}
	// a usual token is prolonged
	usual := k.IssueToken(t, k.account.ID, time.Hour)
	child, err := token.Decode(call(t, k.Service, "GET", "/_api/license/refresh", "", bearer(usual)...).token(t))
	if err != nil || child.Lifetime() < 1000*time.Hour {
		t.Errorf("a usual token was refreshed to a lifetime of %s, %v", child.Lifetime(), err)
	}
}

// Each way in which an identity token is wrong: not proven is 401, proven and not allowed is 403.
// Nothing is issued.
func TestWrongIdentities(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	k.policy(func(p *oidc.Policy) { p.Refs = []string{"refs/heads/main"} })
	stranger, err := githubtest.NewIssuer(githubtest.IssuerConfig{Now: func() time.Time { return k.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stranger.Close)
	foreign := func(claims map[string]any) string { // signed with a key that our issuer has not published
		raw, err := stranger.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := k.identity(nil)
	parts := strings.Split(good, ".")
	unix := func(d time.Duration) int64 { return k.now.Add(d).Unix() }
	for name, test := range map[string]struct {
		raw  string
		code api.Code // of a 403; empty: 401
	}{
		"another audience":                 {raw: k.identity(map[string]any{"aud": "https://github.com/acme"})},
		"no audience":                      {raw: k.identity(map[string]any{"aud": nil})},
		"two audiences":                    {raw: k.identity(map[string]any{"aud": []string{k.Origin, "https://example.com"}})},
		"our audience with a slash":        {raw: k.identity(map[string]any{"aud": k.Origin + "/"})},
		"another issuer":                   {raw: foreign(map[string]any{"aud": k.Origin})},
		"an issuer with a slash":           {raw: k.identity(map[string]any{"iss": k.jobs.URL() + "/"})},
		"an issuer in capitals":            {raw: k.identity(map[string]any{"iss": strings.ToUpper(k.jobs.URL())})},
		"signed by somebody else":          {raw: foreign(map[string]any{"aud": k.Origin, "iss": k.jobs.URL()})},
		"expired":                          {raw: k.identity(map[string]any{"exp": unix(-time.Minute)})},
		"not yet valid":                    {raw: k.identity(map[string]any{"nbf": unix(2 * time.Minute)})},
		"issued in the future":             {raw: k.identity(map[string]any{"iat": unix(2 * time.Minute)})},
		"issued long ago":                  {raw: k.identity(map[string]any{"iat": unix(-11 * time.Minute), "exp": unix(time.Hour)})},
		"no jti":                           {raw: k.identity(map[string]any{"jti": nil})},
		"an empty repository_id":           {raw: k.identity(map[string]any{"repository_id": ""})},
		"a repository_id that is a number": {raw: k.identity(map[string]any{"repository_id": 1296269})},
		"no repository_owner_id":           {raw: k.identity(map[string]any{"repository_owner_id": nil})},
		"changed claims":                   {raw: parts[0] + "." + strings.Split(k.identity(map[string]any{"ref": "x"}), ".")[1] + "." + parts[2]},
		"no signature":                     {raw: parts[0] + "." + parts[1] + "."},
		"alg none":                         {raw: resign(t, good, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType)},
		"HS256 over the public key":        {raw: resign(t, good, jwt.SigningMethodHS256, publicPEM(t, k.jobs.PublicKey()))},
		"RS512 of the right key's name":    {raw: resign(t, good, jwt.SigningMethodRS512, freshKey(t))},
		"too large":                        {raw: k.identity(map[string]any{"workflow": strings.Repeat("w", 17000)})},
		"another repository":               {raw: k.identity(map[string]any{"repository_id": "7"}), code: api.CodePolicyDenied},
		"another owner":                    {raw: k.identity(map[string]any{"repository_owner_id": "7"}), code: api.CodePolicyDenied},
		"another ref":                      {raw: k.identity(map[string]any{"ref": "refs/heads/dev"}), code: api.CodePolicyDenied},
		"a ref that begins right":          {raw: k.identity(map[string]any{"ref": "refs/heads/main2"}), code: api.CodePolicyDenied},
		"no ref":                           {raw: k.identity(map[string]any{"ref": nil}), code: api.CodePolicyDenied},
		"pull_request_target":              {raw: k.identity(map[string]any{"event_name": "pull_request_target"}), code: api.CodePolicyDenied},
		"issue_comment":                    {raw: k.identity(map[string]any{"event_name": "issue_comment"}), code: api.CodePolicyDenied},
		"workflow_run":                     {raw: k.identity(map[string]any{"event_name": "workflow_run"}), code: api.CodePolicyDenied},
		"an event of tomorrow":             {raw: k.identity(map[string]any{"event_name": "something_new"}), code: api.CodePolicyDenied},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, k.Service, "POST", "/_api/license/issue", "", bearer(test.raw)...)
			if test.code == "" {
				if len(test.raw) > 16<<10 { // net/http refuses the header on its own
					if got.status < 400 || got.status >= 500 {
						t.Errorf("answer = %d", got.status)
					}
					return
				}
				got.wantUnauthorized(t)
				return
			}
			got.wantCode(t, http.StatusForbidden, test.code)
		})
	}
	if lines, err := k.Lines(t.Context(), audit.Query{Action: audit.TokenExchanged, Limit: 1}); err != nil || len(lines) != 0 {
		t.Errorf("audit = %v, %v, want no exchange", lines, err)
	}
	for _, secret := range parts {
		if log := k.log.String(); strings.Contains(log, secret) || strings.Contains(log, secret[len(secret)-20:]) || strings.Contains(log, "panic") {
			t.Errorf("a part of an identity token is in the log, or a panic:\n%s", log)
		}
	}
	// an identity token is good on one route alone
	call(t, k.Service, "GET", "/_api/license/refresh", "", bearer(good)...).wantUnauthorized(t)
	form(t, k.Service, "/_api/oauth/introspect", good, "token", "x").wantUnauthorized(t)
	// both forms of sub, and any other, are allowed: it is never read for authority
	for _, sub := range []string{"repo:acme/site:ref:refs/heads/main", "repo:acme@1/site@1296269:ref:refs/heads/main", "repository_owner:acme"} {
		k.exchange(k.identity(map[string]any{"sub": sub})).token(t)
	}
}

// resign signs the claims of a token by another method, under the same kid.
func resign(t *testing.T, raw string, method jwt.SigningMethod, key any) string {
	t.Helper()
	old, _, err := jwt.NewParser().ParseUnverified(raw, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	made := jwt.NewWithClaims(method, old.Claims)
	made.Header["kid"] = old.Header["kid"]
	out, err := made.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func publicPEM(t *testing.T, key *rsa.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func freshKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestPoliciesDecide(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	k.exchange(k.identity(nil)).wantCode(t, http.StatusForbidden, api.CodePolicyDenied) // no policy, no token
	made := k.policy(func(p *oidc.Policy) {
		p.Environments, p.Events = []string{"production"}, []string{"pull_request_target"}
		p.JobWorkflowRefs, p.Visibilities = []string{"acme/site/.github/workflows/site.yml@refs/heads/main"}, []string{"private"}
	})
	k.exchange(k.identity(nil)).wantCode(t, http.StatusForbidden, api.CodePolicyDenied)
	allowed := map[string]any{"environment": "production", "event_name": "pull_request_target"}
	k.exchange(k.identity(allowed)).token(t)
	if made.Version != 1 {
		t.Errorf("version = %d", made.Version)
	}
	if _, err := k.SuspendAccount(t.Context(), k.account.ID); err != nil {
		t.Fatal(err)
	}
	k.exchange(k.identity(allowed)).wantCode(t, http.StatusForbidden, api.CodeLicenseInactive)
	if _, err := k.RestoreAccount(t.Context(), k.account.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := k.RemovePolicy(t.Context(), made.ID, false); err != nil {
		t.Fatal(err)
	}
	k.exchange(k.identity(allowed)).wantCode(t, http.StatusForbidden, api.CodePolicyDenied)
	if again := k.policy(nil); again.Version != 2 {
		t.Errorf("version = %d, want 2: a removed policy keeps its number", again.Version)
	}
}

// Anyone who removes a policy first and thinks of its tokens later can still end them.
func TestTheTokensOfARemovedPolicyCanStillBeEnded(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	removed := k.policy(nil)
	issued := k.exchange(k.identity(nil)).token(t)
	admin := bearer(k.AdminToken(t, auth.ScopePoliciesWrite))
	path := "/_api/admin/policies/" + removed.ID
	into[api.RemovedPolicy](t, call(t, k.Service, "DELETE", path, "", admin...))
	call(t, k.Service, "GET", "/_api/license/refresh", "", bearer(issued)...).token(t)
	for _, want := range []int64{1, 0} {
		if out := into[api.RemovedPolicy](t, call(t, k.Service, "DELETE", path+"?with_tokens=true", "", admin...)); out.FamiliesRevoked != want {
			t.Errorf("removed = %+v, want %d families to end", out, want)
		}
	}
	call(t, k.Service, "GET", "/_api/license/refresh", "", bearer(issued)...).wantCode(t, http.StatusForbidden, api.CodeTokenRevoked)
	lines, err := k.Lines(t.Context(), audit.Query{Action: audit.PolicyRemoved, Limit: 9})
	if err != nil || len(lines) != 1 {
		t.Errorf("audit = %+v, %v, want the one removal", lines, err)
	}
}

func TestAPolicyIsRemovedWithItsTokens(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	removed := k.policy(nil)
	k.policy(func(p *oidc.Policy) { p.RepositoryID = "7" })
	ended := k.exchange(k.identity(nil)).token(t)
	alive := k.exchange(k.identity(map[string]any{"repository_id": "7"})).token(t)
	admin := bearer(k.AdminToken(t, auth.ScopePoliciesWrite))
	call(t, k.Service, "DELETE", "/_api/admin/policies/"+removed.ID+"?with_tokens=yes", "", admin...).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	if out := into[api.RemovedPolicy](t, call(t, k.Service, "DELETE", "/_api/admin/policies/"+removed.ID+"?with_tokens=true", "", admin...)); out.FamiliesRevoked != 1 {
		t.Errorf("removed = %+v, want the one token to end", out)
	}
	call(t, k.Service, "GET", "/_api/license/refresh", "", bearer(ended)...).wantCode(t, http.StatusForbidden, api.CodeTokenRevoked)
	call(t, k.Service, "GET", "/_api/license/refresh", "", bearer(alive)...).token(t)
}

// Anybody who has a repository at GitHub can make jobs that prove who they are: those that no
// policy allows count like bad credentials.
func TestJobsThatNobodyLetInAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	k := newKeylessWith(t, servicetest.Options{BadCredentials: 2})
	k.policy(nil)
	stranger := func() answer { return k.exchange(k.identity(map[string]any{"repository_id": "7"})) }
	stranger().wantCode(t, http.StatusForbidden, api.CodePolicyDenied)
	stranger().wantCode(t, http.StatusForbidden, api.CodePolicyDenied)
	got := stranger()
	got.wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
	if after := got.header.Get("Retry-After"); after != "30" {
		t.Errorf("Retry-After = %q, want 30", after)
	}
	wantMetrics(t, k.Service, `refusals_total{reason="policy_denied"} 2`, `tokens_total{act="issue",outcome="policy_denied"} 2`, `rate_limited_total{by="address"} 1`)
	k.exchange(k.identity(nil)).token(t) // one that is allowed is not held up
}

// Whatever an identity is refused for, it is counted: the account of its policy is not good, or its
// issuer cannot be asked.
func TestEveryRefusalOfAnIdentityIsLimitedByAddress(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil  func(k *keyless) error
		status int
	}{
		"a suspended account": {func(k *keyless) error { _, err := k.SuspendAccount(k.t.Context(), k.account.ID); return err }, http.StatusForbidden},
		"a deleted account":   {func(k *keyless) error { _, err := k.DeleteAccount(k.t.Context(), k.account.ID); return err }, http.StatusForbidden},
		"an expired license": {func(k *keyless) error {
			_, err := k.UpdateAccount(k.t.Context(), k.account.ID, account.Change{ValidUntil: new(k.now)})
			return err
		}, http.StatusForbidden},
		"an issuer that does not answer": {func(k *keyless) error {
			k.MayFail()
			k.jobs.Close()
			return nil
		}, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeylessWith(t, servicetest.Options{BadCredentials: 2})
			k.policy(nil)
			if err := test.spoil(k); err != nil {
				t.Fatal(err)
			}
			k.exchange(k.identity(nil)).wantStatus(t, test.status)
			k.exchange(k.identity(nil)).wantStatus(t, test.status)
			k.exchange(k.identity(nil)).wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
			wantMetrics(t, k.Service, `rate_limited_total{by="address"} 1`)
		})
	}
}

func TestJobsOfOneRepositoryShareALimit(t *testing.T) {
	t.Parallel()
	k := newKeylessWith(t, servicetest.Options{RateLimits: map[account.Tier]int{account.Pro: 2}})
	k.policy(nil)
	k.policy(func(p *oidc.Policy) { p.RepositoryID = "7" })
	k.exchange(k.identity(nil)).token(t)
	k.exchange(k.identity(map[string]any{"run_id": "43"})).token(t)
	k.exchange(k.identity(map[string]any{"run_id": "44"})).wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
	wantMetrics(t, k.Service, `rate_limited_total{by="repository"} 1`)
	k.exchange(k.identity(map[string]any{"repository_id": "7"})).token(t)
}

// Explain must say no to whatever the exchange would say no to.
func TestExplainKnowsUseAndLicense(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	k.policy(nil)
	a := &admin{t, k.Service, k.AdminToken(t, auth.ScopePoliciesRead)}
	identity := k.identity(nil)
	wrong := func(want ...string) {
		t.Helper()
		got := into[api.Explanation](t, a.do("POST", "policies/explain", `{"token":"`+identity+`"}`))
		var failed []string
		for _, c := range append(got.Identity, got.Policies[0].Clauses...) {
			if c.Outcome != "ok" {
				failed = append(failed, c.Name)
			}
		}
		if got.Allowed != (len(want) == 0) || !slices.Equal(failed, want) {
			t.Errorf("allowed %t, failed %q, want %q", got.Allowed, failed, want)
		}
	}
	wrong()
	k.exchange(identity).token(t)
	wrong() // the same once more would be answered
	k.now = k.now.Add(61 * time.Second)
	wrong("not used before")
	k.exchange(identity).wantCode(t, http.StatusForbidden, api.CodeIdentityUsed)
	identity = k.identity(nil)
	wrong()
	if _, err := k.SuspendAccount(t.Context(), k.account.ID); err != nil {
		t.Fatal(err)
	}
	wrong("license")
	k.exchange(identity).wantCode(t, http.StatusForbidden, api.CodeLicenseInactive)
}

// The ids of one GitHub mean nothing to another: with several issuers a policy must name its own.
func TestAPolicyNamesItsIssuerWhenThereAreSeveral(t *testing.T) {
	t.Parallel()
	const ours, theirs = "https://github.example.com/_services/token", "https://token.actions.githubusercontent.com"
	s := servicetest.Start(t, servicetest.Options{Issuers: []string{theirs, ours}})
	a := &admin{t, s, s.AdminToken(t, auth.ScopePoliciesWrite)}
	owner, _ := s.Account(t, "a@example.com")
	ids := `"account":"` + owner.ID + `","repository_id":"1","repository_owner_id":"1"`
	a.do("POST", "policies", `{`+ids+`}`).wantCode(t, 400, api.CodeInvalidRequest)
	if made := into[api.Policy](t, a.do("POST", "policies", `{`+ids+`,"issuer":"`+ours+`"}`)); made.Issuer != ours {
		t.Errorf("made = %+v", made)
	}
}

func TestAnIssuerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	k.policy(nil)
	before := k.identity(nil)
	after := k.identity(nil)
	k.exchange(before).token(t)
	k.jobs.Close()
	k.exchange(after).token(t) // its keys are known
	k.now = k.now.Add(9 * time.Minute)
	k.exchange(k.identity(nil)).token(t)
	k.now = k.now.Add(time.Hour)
	k.exchange(k.identity(nil)).token(t) // the last good keys are used for as long as it does not answer

	// a process that starts meanwhile finds them in the database
	replica := &keyless{t: t, Service: k.Replica(t, nil), jobs: k.jobs}
	replica.exchange(k.identity(nil)).token(t)
	if !strings.Contains(k.log.String(), `"msg":"issuer does not answer"`) {
		t.Errorf("the log does not warn: %s", k.log.String())
	}

	other := newKeyless(t)
	other.policy(nil)
	identity := other.identity(nil)
	other.jobs.Close()
	other.MayFail()
	got := other.exchange(identity)
	got.wantCode(t, http.StatusServiceUnavailable, api.CodeUnavailable) // nothing is said about the job
}

func TestPoliciesThroughTheAdminAPI(t *testing.T) {
	t.Parallel()
	jobs, err := githubtest.NewIssuer(githubtest.IssuerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(jobs.Close)
	s := servicetest.Start(t, servicetest.Options{Issuers: []string{jobs.URL()}, Repository: func(_ context.Context, name string) (string, string, error) {
		if name == "acme/slow" {
			return "", "", adminapi.ErrNoAnswer
		}
		if name != "acme/site" {
			return "", "", fmt.Errorf("%w: no repository %s", failure.ErrInvalid, name)
		}
		return "1296269", "1", nil
	}})
	a := &admin{t, s, s.AdminToken(t, auth.Scopes...)}
	owner, _ := a.Account(t, "a@example.com")
	explain := func() api.Explanation {
		t.Helper()
		raw, err := jobs.Sign(map[string]any{"aud": s.Origin})
		if err != nil {
			t.Fatal(err)
		}
		return into[api.Explanation](t, a.do("POST", "policies/explain", `{"token":"`+raw+`"}`))
	}
	if got := explain(); got.Allowed || len(got.Policies) != 0 {
		t.Errorf("explained = %+v", got)
	}
	made := into[api.Policy](t, a.do("POST", "policies", `{"account":"`+owner.ID+`","repository":"acme/site","ref":["refs/heads/main"]}`))
	if made.RepositoryID != "1296269" || made.RepositoryOwnerID != "1" || made.Issuer != jobs.URL() || made.Version != 1 {
		t.Errorf("made = %+v", made)
	}
	if got := explain(); !got.Allowed || got.Outcome != "allowed" || len(got.Policies) != 1 || !got.Policies[0].Allowed {
		t.Errorf("explained = %+v", got)
	}
	dev := into[api.Explanation](t, a.do("POST", "policies/explain", `{"claims":{"iss":"`+jobs.URL()+`","aud":"x","sub":"s","jti":"j","exp":1,"iat":1,"nbf":1,
		"repository_id":"1296269","repository_owner_id":"1","event_name":"push","ref":"refs/heads/dev"}}`))
	wrong := map[string]bool{}
	for _, c := range append(dev.Identity, dev.Policies[0].Clauses...) {
		if c.Outcome == "no" {
			wrong[c.Name] = c.Hint != ""
		}
	}
	if dev.Allowed || dev.Outcome != "refused" || !wrong["audience"] || !wrong["not expired"] || !wrong["recent"] || !wrong["ref"] || len(wrong) != 4 {
		t.Errorf("explained = %+v", dev)
	}
	a.do("POST", "policies", `{"account":"`+owner.ID+`","repository":"acme/none"}`).wantCode(t, 400, api.CodeInvalidRequest)
	a.do("POST", "policies", `{"account":"`+owner.ID+`","repository":"acme/site","issuer":"https://typo.example"}`).wantCode(t, 400, api.CodeInvalidRequest)
	a.do("POST", "policies", `{"account":"`+owner.ID+`","repository":"acme/site","event":["pushh"]}`).wantCode(t, 400, api.CodeInvalidRequest)
	a.do("POST", "policies", `{"account":"`+owner.ID+`","repository_id":"7"}`).wantCode(t, 400, api.CodeInvalidRequest)
	a.do("POST", "policies", `{"account":"`+owner.ID+`","repository":"acme/site","ref":["refs/heads/*"]}`).wantCode(t, 400, api.CodeInvalidRequest)
	a.do("POST", "policies", `{"account":"user_none","repository":"acme/site"}`).wantCode(t, 404, api.CodeNotFound)
	a.do("POST", "policies", `{"account":"user_0000000000000000","repository":"acme/site"}`).wantCode(t, 404, api.CodeNotFound)
	for _, name := range []string{
		`acme/\u001b]0;x\u0007`, "acme", "acme/", "/site", "acme/..", "acme/site/x", "acme/site?x", "acme/s ite", "acme/" + strings.Repeat("s", 60000),
	} { // it is printed for people, also when the ids are given
		for _, ids := range []string{"", `,"repository_id":"7","repository_owner_id":"1"`} {
			got := a.do("POST", "policies", `{"account":"`+owner.ID+`","repository":"`+name+`"`+ids+`}`)
			if got.wantCode(t, 400, api.CodeInvalidRequest); len(got.body) > 1000 {
				t.Errorf("the answer has %d bytes", len(got.body))
			}
		}
	}
	a.do("POST", "policies/explain", `{"token":"x"}`).wantCode(t, 400, api.CodeInvalidRequest)
	a.do("POST", "policies/explain", `{}`).wantCode(t, 400, api.CodeInvalidRequest)
	if got := into[api.PolicyPage](t, a.do("GET", "policies?account="+owner.ID, "")); len(got.Items) != 1 || got.Items[0].ID != made.ID {
		t.Errorf("policies = %+v", got)
	}
	into[api.RemovedPolicy](t, a.do("DELETE", "policies/"+made.ID, ""))
	into[api.RemovedPolicy](t, a.do("DELETE", "policies/"+made.ID, "")) // twice is no error
	a.do("DELETE", "policies/pol_0000000000000000", "").wantCode(t, 404, api.CodeNotFound)
	a.MayFail() // GitHub does
	a.do("POST", "policies", `{"account":"`+owner.ID+`","repository":"acme/slow"}`).wantCode(t, 503, api.CodeUnavailable)
}
