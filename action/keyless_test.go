package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pageflare/ci/action/githubtest"
)

// keyless gives the job `id-token: write`, and a License API that exchanges identity tokens as strictly as the real one.
func (j *job) keyless() *githubtest.Issuer {
	j.t.Helper()
	issuer, err := githubtest.NewIssuer(githubtest.IssuerConfig{})
	must(j.t, err)
	j.t.Cleanup(issuer.Close)
	for name, v := range issuer.Environment() {
		j.env[name] = v
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	j.api(func(w http.ResponseWriter, req *http.Request) {
		raw := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
		t, err := jwt.Parse(raw, func(*jwt.Token) (any, error) { return issuer.PublicKey(), nil }, jwt.WithValidMethods([]string{"RS256"}),
			jwt.WithIssuer(issuer.URL()), jwt.WithAudience("http://"+req.Host), jwt.WithExpirationRequired())
		if err != nil || req.Method != http.MethodPost || req.URL.Path != "/_api/license/issue" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"Unauthorized"}`)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		id, _ := t.Claims.(jwt.MapClaims)["jti"].(string)
		if seen[id] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		seen[id] = true
		answerToken(w, foreignToken(j.t, j.account, time.Now().Add(time.Hour)))
	})
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

func TestAnExchangeThatFails(t *testing.T) {
	t.Parallel()
	forbidden := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":"Forbidden","code":"no_policy","message":"no trust policy names repository 1296269"}`)
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
