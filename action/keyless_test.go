package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/action/githubtest"
	"github.com/pageflare/ci/service/servicetest"
)

// keyless gives the job `id-token: write`, and a License service that trusts its issuer; a policy lets it in.
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
	j.account, j.env["INPUT_API-URL"] = a.ID, j.service.URL
	j.policy = j.service.Trust(j.t, a.ID, issuer.URL(), "1296269", "1")
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

// The service knows the job and no policy lets it in: an error that says where to look, unless the user never wants to fail.
func TestAJobThatNoPolicyLetsIn(t *testing.T) {
	t.Parallel()
	for failOn, exit := range map[string]int{"expired": 1, "never": 0} {
		t.Run(failOn, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.keyless()
			must(t, j.service.RemovePolicy(t.Context(), j.policy))
			r := j.input("fail-on", failOn).run()
			r.wantExit(t, exit)
			r.wantOutputs(t, map[string]string{"token-state": "missing"})
			r.wantLog(t, "policy explain")
			j.wantWhole(exit == 0)
		})
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
	for name, c := range map[string]struct {
		api    http.HandlerFunc
		failOn string
		exit   int
		want   string
	}{
		"refused with a reason is an error":                 {forbidden, "", 1, "no trust policy names repository"},
		"refused with a reason, never fail":                 {forbidden, "never", 0, "no trust policy names repository"},
		"an API that knows no identity tokens":              {unauthorized, "", 0, "could not be exchanged"},
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
	r.wantLog(t, "does not accept the token")
}
