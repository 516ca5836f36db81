package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
)

// onlyReads fails when anything but GET was asked of GitHub.
func (j *job) onlyReads() {
	j.t.Helper()
	for _, q := range j.github.Requests() {
		if q.Method != http.MethodGet {
			j.t.Errorf("%s %s: a check must only read", q.Method, q.Path)
		}
	}
}

func TestACheckOfAKeylessJobProvesItsIdentityAndExchangesNothing(t *testing.T) {
	t.Parallel()
	for _, failOn := range []string{"", "any"} {
		t.Run("fail-on "+failOn, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			issuer := j.keyless()
			j.api(func(_ http.ResponseWriter, req *http.Request) {
				t.Errorf("a check calls the License API: %s %s", req.Method, req.URL)
			})
			r := j.input("mode", "check").input("fail-on", failOn).input("github-token", "").run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "missing"})
			r.wantLog(t, "a run would exchange the identity of this job")
			if issuer.Minted() != 1 || strings.Contains(r.log, "store one") || strings.Contains(r.log, "::warning::") {
				t.Errorf("want one identity, and nothing to store:\n%s", r.log)
			}
			if strings.Contains(masked(r.log), "eyJ") {
				t.Errorf("the identity is shown:\n%s", masked(r.log))
			}
			if !strings.Contains(r.summary, "would exchange") || !strings.Contains(r.report.Token.Reason, "would exchange") {
				t.Errorf("summary or report do not say so:\n%s\n%+v", r.summary, r.report.Token)
			}
			j.onlyReads()
		})
	}
}

func TestACheckOfAKeylessJobThatGetsNoIdentity(t *testing.T) {
	t.Parallel()
	for failOn, exit := range map[string]int{"": 0, "any": 1} {
		j := newJob(t)
		j.keyless().FailNext(githubtest.Fault{Status: http.StatusForbidden})
		r := j.input("mode", "check").input("fail-on", failOn).run()
		r.wantExit(t, exit)
		r.wantLog(t, "the runner gave no identity token")
	}
}

func TestACheckThatFindsNoRightFailsTheJobWhenAskedTo(t *testing.T) {
	t.Parallel()
	for name, pat := range map[string]string{"a token that GitHub forgot": "github_pat_revoked_long_ago", "no token for GitHub": ""} {
		for failOn, exit := range map[string]int{"": 0, "any": 1, "never": 0} {
			t.Run(name+", fail-on "+failOn, func(t *testing.T) {
				t.Parallel()
				j := newJob(t)
				j.licensed(30 * dayLong)
				r := j.input("mode", "check").input("github-token", pat).input("fail-on", failOn).run()
				r.wantExit(t, exit)
				r.wantLog(t, "a refreshed token could not be stored")
				if got := r.report.Check; got == nil || len(got.Targets) != 1 || got.Targets[0].Error == "" || got.Targets[0].Writable == nil || *got.Targets[0].Writable {
					t.Errorf("check = %+v, want one target that could not be written", got)
				}
				if !strings.Contains(r.summary, "could not be written") {
					t.Errorf("the summary does not say so:\n%s", r.summary)
				}
				j.onlyReads()
			})
		}
	}
}

func TestACheckLooksAtTheRightsWhateverTheTokenIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token  string
		failOn string
		exit   int
	}{
		"an expired token":      {foreignToken(t, "user_x", time.Now().Add(-dayLong)), "", 1},
		"no token":              {"", "", 0},
		"no token, fail-on any": {"", "any", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.env["PAGEFLARE_TOKEN"] = c.token
			r := j.input("mode", "check").input("fail-on", c.failOn).run()
			r.wantExit(t, c.exit)
			r.wantLog(t, "Secret PAGEFLARE_TOKEN, repository: may be read")
		})
	}
}

func TestTheFindingsOfACheckAreReported(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t).input("mode", "check").input("secret-targets", "repository,codespaces/repository,organization:acme,dependabot/organization:acme")
	j.licensed(2 * dayLong)
	j.github.SetSecret("orgs/acme/actions", "PAGEFLARE_TOKEN", "x", githubtest.Access{Visibility: "all"})
	r := j.run()
	r.wantExit(t, 0)
	if r.report.Check == nil || len(r.report.Check.Targets) != 4 {
		t.Fatalf("check = %+v, want four targets", r.report.Check)
	}
	got := r.report.Check.Targets
	if got[2].UpdatedAt == nil || !strings.Contains(got[3].Error, "organization_dependabot_secrets=write") {
		t.Errorf("check = %+v", got)
	}
	got[2].UpdatedAt, got[3].Error = nil, ""
	want := []jsonFinding{
		{Target: "repository", Exists: new(false)},
		{Target: "codespaces/repository", Writable: new(true), Exists: new(false)},
		{Target: "organization:acme", Exists: new(true), Access: "all"},
		{Target: "dependabot/organization:acme", Writable: new(false)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	for _, want := range []string{"may be written; is not there yet", "could not be written: ", "a run would refresh it now"} {
		if !strings.Contains(r.summary, want) {
			t.Errorf("the summary lacks %q:\n%s", want, r.summary)
		}
	}
	if r.report.Secret != nil {
		t.Errorf("secret = %+v, though nothing was to be written", r.report.Secret)
	}
}

func TestACheckOfARunThatWritesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ event, payload, actor, token, want string }{
		"a fork":              {"pull_request", `{"pull_request":{"head":{"repo":{"full_name":"mallory/site"}}}}`, "mallory", "", "from the fork mallory/site"},
		"Dependabot":          {"push", `{}`, "dependabot[bot]", "", "triggered by Dependabot"},
		"pull_request_target": {"pull_request_target", `{"pull_request":{"head":{"repo":{"full_name":"acme/site"}}}}`, "octocat", weakPAT, "triggered by pull_request_target"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(30 * dayLong)
			j.env["GITHUB_EVENT_NAME"], j.env["GITHUB_EVENT_PATH"], j.env["GITHUB_ACTOR"] = c.event, j.write("event.json", c.payload), c.actor
			r := j.input("mode", "check").input("fail-on", "any").input("github-token", c.token).run()
			r.wantExit(t, 0)
			r.wantLog(t, "::notice::The rights to write the secret are not checked", c.want)
		})
	}
}
