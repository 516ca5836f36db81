package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/servicetest"
)

// keyless gives the job `id-token: write`, and a License service that trusts its issuer and its
// repository.
func (j *job) keyless() *githubtest.Issuer {
	j.t.Helper()
	issuer, err := githubtest.NewIssuer(githubtest.IssuerConfig{})
	must(j.t, err)
	j.t.Cleanup(issuer.Close)
	for name, v := range issuer.Environment() {
		j.env[name] = v
	}
	j.service = servicetest.Start(j.t, servicetest.Options{Issuers: []string{issuer.URL()}})
	a, _ := j.service.Account(j.t, "dev@example.com")
	j.account = a.ID
	j.service.Trust(j.t, a.ID, issuer.URL(), "1296269", "1")
	j.input("api-url", j.service.URL)
	return issuer
}

func TestAJobWithoutATokenExchangesItsIdentity(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	issuer := j.keyless()
	r := j.run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "exchanged", "refreshed": "false", "secret-updated": "false", "tier": "pro"})
	j.wantWhole(true)
	if issuer.Minted() != 1 || len(j.github.Requests()) != 0 {
		t.Errorf("%d identity tokens and %d calls to GitHub, want 1 and 0", issuer.Minted(), len(j.github.Requests()))
	}
	for _, s := range []string{"eyJ", "request-token-"} {
		if strings.Contains(masked(r.log), s) {
			t.Errorf("a token is in the log:\n%s", masked(r.log))
		}
	}
}

func TestATokenInHandWinsOverKeyless(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	issuer := j.keyless()
	j.licensed(30 * dayLong)
	r := j.run()
	r.wantOutputs(t, map[string]string{"token-state": "fresh"})
	if issuer.Requests() != 0 {
		t.Error("an identity token was asked for, with a good license token in hand")
	}
}

func TestTheRunnersTokenEndpointIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]githubtest.Fault{
		"503":               {Status: http.StatusServiceUnavailable},
		"broken connection": {CloseConnection: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			issuer := j.keyless()
			issuer.FailNext(f)
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "exchanged"})
			if issuer.Requests() != 2 {
				t.Errorf("%d requests, want 2", issuer.Requests())
			}
		})
	}
}

func TestARefusalOfTheRunnersTokenEndpointIsFinal(t *testing.T) {
	t.Parallel()
	for status, c := range map[int]struct {
		requests int
		state    string
	}{http.StatusForbidden: {1, "missing"}, http.StatusNotFound: {1, "missing"}, http.StatusTooManyRequests: {2, "exchanged"}} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			issuer := j.keyless()
			issuer.FailNext(githubtest.Fault{Status: status})
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": c.state})
			if issuer.Requests() != c.requests {
				t.Errorf("%d requests, want %d", issuer.Requests(), c.requests)
			}
			if c.state == "missing" {
				r.wantLog(t, "the runner gave no identity token", "the token service is busy")
			}
		})
	}
}

// Dependabot may have `id-token: write`. Its pull requests run unlicensed with a notice when no
// policy allows them, whatever fail-on says.
func TestAGuestWhoseIdentityIsRefusedRunsUnlicensed(t *testing.T) {
	t.Parallel()
	for _, failOn := range []string{"", "expired", "any", "never"} {
		t.Run("fail-on "+failOn, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			issuer := j.keyless()
			j.service = servicetest.Start(t, servicetest.Options{Issuers: []string{issuer.URL()}}) // it has no policy
			j.input("api-url", j.service.URL)
			j.env["GITHUB_EVENT_NAME"], j.env["GITHUB_ACTOR"] = "pull_request", "dependabot[bot]"
			j.env["GITHUB_EVENT_PATH"] = j.write("event.json", `{"pull_request":{"head":{"repo":{"full_name":"acme/site"}},"user":{"login":"dependabot[bot]"}}}`)
			r := j.input("fail-on", failOn).run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "missing", "tier": "free"})
			r.wantLog(t, "::notice::no license token", "403 policy_denied", "triggered by Dependabot", "runs unlicensed")
			if strings.Contains(r.log, "::warning::") || strings.Contains(r.log, "::error::") {
				t.Errorf("a guest is told of what only the owner can fix:\n%s", r.log)
			}
			j.wantWhole(true)
		})
	}
}

func TestAnExchangeThatFails(t *testing.T) {
	t.Parallel()
	forbidden := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":"Forbidden","code":"policy_denied","message":"no trust policy names repository 1296269"}`)
	}
	unauthorized := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"Unauthorized"}`)
	}
	nameless := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":"Forbidden"}`)
	}
	for name, c := range map[string]struct {
		api    http.HandlerFunc
		failOn string
		exit   int
		want   string
	}{
		"refused without a reason is a warning":             {nameless, "", 0, "::warning::no license token, and the identity of this job could not be exchanged"},
		"refused without a reason, fail-on any":             {nameless, "any", 1, "could not be exchanged"},
		"refused with a reason is an error":                 {forbidden, "", 1, "no trust policy names repository"},
		"refused with a reason, never fail":                 {forbidden, "never", 0, "no trust policy names repository"},
		"an API that knows no identity tokens":              {unauthorized, "", 0, "does not accept the identity of this job (401): check that oidc-audience (http://127.0.0.1:"},
		"an API that knows no identity tokens, fail-on any": {unauthorized, "any", 1, "could not be exchanged"},
		"an API without that route":                         {http.NotFound, "", 0, "could not be exchanged"},
		"an answer that is no token":                        {func(w http.ResponseWriter, _ *http.Request) { answerToken(w, "a.b.c") }, "", 0, "not a license token"},
		"an answer that has expired": {func(w http.ResponseWriter, _ *http.Request) {
			answerToken(w, foreignToken(t, "user_x", time.Now().Add(-time.Hour)))
		}, "", 0, "has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.keyless()
			j.api(c.api)
			r := j.input("fail-on", c.failOn).run()
			r.wantExit(t, c.exit)
			r.wantOutputs(t, map[string]string{"token-state": "missing", "tier": "free"})
			r.wantLog(t, c.want)
			j.wantWhole(c.exit == 0)
		})
	}
}

func TestTheAudienceCanBeChosen(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.keyless()
	r := j.input("oidc-audience", "https://elsewhere.example").run() // our API accepts its own origin alone
	r.wantOutputs(t, map[string]string{"token-state": "missing"})
	r.wantLog(t, "oidc-audience (https://elsewhere.example) is the public URL of the License service")
	if strings.Contains(r.log, "issue a new one") {
		t.Errorf("nobody can issue the identity of a job:\n%s", r.log)
	}
}

func TestAJobThatNoPolicyLetsInIsAnError(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	issuer := j.keyless()
	j.service = servicetest.Start(t, servicetest.Options{Issuers: []string{issuer.URL()}}) // it has no policy
	j.input("api-url", j.service.URL)
	r := j.run()
	r.wantExit(t, 1)
	r.wantOutputs(t, map[string]string{"token-state": "missing"})
	r.wantLog(t, "403 policy_denied")
	r.wantLog(t, "policy explain")
}

// The network eats the answer of the first exchange. The next try shows the same identity token and
// gets the same license token.
func TestAnExchangeWhoseAnswerWasLostIsAskedForAgain(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	issuer := j.keyless()
	var asked atomic.Int64
	j.api(func(w http.ResponseWriter, req *http.Request) {
		answer := httptest.NewRecorder()
		j.service.ServeHTTP(answer, req)
		if asked.Add(1) == 1 {
			if answer.Code != http.StatusOK {
				t.Errorf("the first exchange = %d", answer.Code)
			}
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
	r := j.input("oidc-audience", j.service.Origin).run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "exchanged", "tier": "pro"})
	if asked.Load() != 2 || issuer.Minted() != 1 {
		t.Errorf("asked %d times with %d identity tokens, want 2 and 1", asked.Load(), issuer.Minted())
	}
	if list, err := j.service.TokensOf(t.Context(), j.account, 10); err != nil || len(list) != 1 {
		t.Errorf("tokens = %d, %v, want 1", len(list), err)
	}
}

// The service spells its own address so, and compares character by character: see
// TestThePublicURLIsSpelledInOneWay in service.
func TestAudience(t *testing.T) {
	t.Parallel()
	for apiURL, want := range map[string]string{
		"https://pageflare.dev/_api": "https://pageflare.dev", "HTTPS://License.Example.COM:443/_api": "https://license.example.com",
		"http://h:80/_api": "http://h", "http://h:443/_api": "http://h:443", "https://h:8443/_api/": "https://h:8443", "http://[::1]:8080/_api": "http://[::1]:8080",
		"https://[FD00::1]/_api": "https://[fd00::1]", "https://lizenz.müller.example/_api": "https://lizenz.xn--mller-kva.example",
	} {
		if got := audience(apiURL); got != want {
			t.Errorf("audience(%s) = %q, want %q", apiURL, got, want)
		}
	}
}
