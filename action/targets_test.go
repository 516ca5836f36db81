package main

import (
	"encoding/base64"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
)

// appPEM is the key of the GitHub App.
func appPEM() string { return githubtest.PEM(githubtest.AppKey()) }

const orgPAT = "github_pat_for_everything"

// newOrgJob is a job whose GitHub has environments, an organization and a GitHub App.
func newOrgJob(t *testing.T) *job {
	t.Helper()
	j := newJob(t)
	permissions := map[string]string{
		"actions": "read", "secrets": "write", "environments": "write", "organization_secrets": "write", "dependabot_secrets": "write", "codespaces_secrets": "write",
	}
	j.github = githubtest.Start(t, githubtest.Config{
		Repositories:  []githubtest.Repository{{ID: 1296269, Owner: "acme", Name: "site", Environments: []string{"prod/eu #1"}}},
		Organizations: []string{"acme"},
		Tokens:        []githubtest.Token{{Value: orgPAT, Permissions: permissions}, {Value: weakApp, GitHubToken: true}},
		Apps: []githubtest.App{{ID: 12345, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: 99, Account: "acme", Permissions: permissions},
		}}},
	})
	j.env["GITHUB_API_URL"], j.env["GITHUB_REPOSITORY_ID"] = j.github.URL(), "1296269"
	return j.input("github-token", orgPAT).input("mode", "refresh-only")
}

// withApp takes the App instead of the token.
func (j *job) withApp(key string) *job {
	return j.input("github-token", "").input("app-id", "12345").input("app-private-key", key)
}

func (j *job) holds(place string) string {
	j.t.Helper()
	text, _, _ := j.github.SecretAt(place, "PAGEFLARE_TOKEN")
	return text
}

func TestATokenGoesToSeveralTargetsInOneStep(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t)
	old := j.licensed(2 * dayLong)
	access := githubtest.Access{Visibility: "selected", Selected: []int64{1296269}}
	j.github.SetSecret("orgs/acme/actions", "PAGEFLARE_TOKEN", old, access)
	j.input("secret-targets", "repository\nenvironment:prod/eu #1, organization:acme\ndependabot/repository\ncodespaces/repository\n")
	r := j.run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"secret-updated": "true"})
	fresh := j.stored()
	for _, place := range []string{"repos/acme/site/environments/prod/eu #1", "orgs/acme/actions", "repos/acme/site/dependabot", "repos/acme/site/codespaces"} {
		if got := j.holds(place); got != fresh || got == old || got == "" {
			t.Errorf("%s does not hold the new token", place)
		}
	}
	if got := j.github.AccessAt("orgs/acme/actions", "PAGEFLARE_TOKEN"); len(got.Selected) != 1 || got.Visibility != "selected" {
		t.Errorf("access = %+v, want it as it was", got)
	}
	if strings.Contains(r.log, "::warning::") {
		t.Errorf("a good run warns:\n%s", r.log)
	}
}

func TestOneTargetThatFailsDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t)
	j.licensed(2 * dayLong)
	r := j.input("secret-targets", "environment:nowhere, dependabot/organization:acme, repository").run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"secret-updated": "false", "token-state": "refreshed"})
	r.wantLog(t, "was not stored everywhere", `environment "nowhere" of acme/site`, "organization_dependabot_secrets=write", "; and write secret")
	if j.stored() == "" || countOf(r.log, "::warning::") != 1 {
		t.Errorf("want the third target written, and one warning:\n%s", r.log)
	}
	r = j.input("fail-on", "any").run()
	r.wantExit(t, 1)
}

// The look of the first target is held until the second is written.
func TestATargetThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t)
	j.licensed(2 * dayLong)
	written := make(chan struct{})
	j.github.FailNext("GET /codespaces/secrets/PAGEFLARE_TOKEN", githubtest.Fault{Hold: written, Times: -1})
	j.github.FailNext("PUT /actions/secrets/PAGEFLARE_TOKEN", githubtest.Fault{OnArrive: func() { close(written) }})
	r := j.input("secret-targets", "codespaces/repository,repository").run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"secret-updated": "true"})
	if j.stored() == "" || j.holds("repos/acme/site/codespaces") != j.stored() {
		t.Errorf("want both targets written:\n%s", r.log)
	}
	if got := r.report.Secret.Targets; len(got) != 2 || got[0].Target != "codespaces/repository" || got[1].Target != "repository" {
		t.Errorf("report = %+v, want the targets in their order", got)
	}
}

func TestManyNearerSecretsAreOneWarning(t *testing.T) {
	t.Parallel()
	for about, mode := range map[string]string{"a run": "refresh-only", "a check": "check"} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			j := newOrgJob(t)
			j.licensed(2 * dayLong)
			var names []string
			for i := range 15 {
				names = append(names, fmt.Sprintf("env-%d", i))
			}
			j.github = githubtest.Start(t, githubtest.Config{
				Repositories: []githubtest.Repository{{ID: 1296269, Owner: "acme", Name: "site", Environments: names}}, Organizations: []string{"acme"},
				Tokens: []githubtest.Token{{Value: orgPAT, Permissions: map[string]string{
					"actions": "read", "secrets": "write", "environments": "read", "organization_secrets": "write",
				}}},
			})
			j.env["GITHUB_API_URL"] = j.github.URL()
			for _, name := range names {
				j.github.SetSecret("repos/acme/site/environments/"+name, "PAGEFLARE_TOKEN", "nearer", githubtest.Access{})
			}
			j.github.SetSecret("repos/acme/site/actions", "PAGEFLARE_TOKEN", "nearer", githubtest.Access{})
			r := j.input("secret-targets", "organization:acme").input("mode", mode).run()
			r.wantExit(t, 0)
			r.wantLog(t, "since the one of repository acme/site takes precedence; the secret PAGEFLARE_TOKEN of organization:acme is not what jobs see that name one of "+
				`these environments, since it has its own: "env-0", "env-1", `, `"env-14"; remove the one that takes precedence`)
			if n := countOf(r.log, "::warning::"); n != 1 {
				t.Errorf("%d warnings, want one:\n%s", n, r.log)
			}
		})
	}
}

func TestACheckWarnsOnceOfAllTargetsThatFail(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t).input("mode", "check").input("secret-targets", "environment:nowhere,dependabot/organization:acme,repository")
	j.licensed(2 * dayLong)
	r := j.run()
	r.wantExit(t, 0)
	r.wantLog(t, "a refreshed token could not be stored everywhere: read secret PAGEFLARE_TOKEN of environment \"nowhere\"", "; and read secret PAGEFLARE_TOKEN of organization acme")
	if n := countOf(r.log, "::warning::"); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, r.log)
	}
}

func TestATargetThatFailedIsNotCalledNearer(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t)
	j.licensed(2 * dayLong)
	j.github.SetSecret("repos/acme/site/actions", "PAGEFLARE_TOKEN", "old", githubtest.Access{})
	j.github.FailNext("PUT /repos/acme/site/actions/secrets/PAGEFLARE_TOKEN", githubtest.Fault{Status: 422})
	r := j.input("secret-targets", "organization:acme,repository").run()
	r.wantExit(t, 0)
	if strings.Contains(r.log, "name it in secret-targets") || countOf(r.log, "::warning::") != 1 {
		t.Errorf("want the failure told, and no nearer secret:\n%s", r.log)
	}
}

// What may be found out depends on the token; a run never complains that it may not look.
func TestARunWithATokenForSecretsAloneSaysNothingOfEnvironments(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	r := j.input("mode", "refresh-only").run()
	r.wantExit(t, 0)
	if strings.Contains(r.log, "::warning::") || j.stored() == "" {
		t.Errorf("want the token stored and no warning:\n%s", r.log)
	}
}

func TestANearerSecretIsWarnedAbout(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t)
	j.licensed(2 * dayLong)
	j.github.SetSecret("repos/acme/site/actions", "PAGEFLARE_TOKEN", "nearer", githubtest.Access{})
	r := j.input("secret-targets", "organization:acme").run()
	r.wantExit(t, 0)
	r.wantLog(t, "::warning::the secret PAGEFLARE_TOKEN of organization:acme is not what jobs of this repository see, since the one of repository acme/site takes precedence")
}

func TestAGitHubAppWritesAndItsTokensEndWithTheRun(t *testing.T) {
	t.Parallel()
	for about, key := range map[string]string{
		"PEM": appPEM(), "literal line breaks": strings.ReplaceAll(appPEM(), "\n", `\n`), "base64": base64.StdEncoding.EncodeToString([]byte(appPEM())),
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			j := newOrgJob(t).withApp(key).input("mode", "optimize").input("secret-targets", "repository,environment:prod/eu #1,dependabot/organization:acme")
			j.licensed(2 * dayLong)
			r := j.run()
			r.wantExit(t, 0)
			r.wantLog(t, "does not have organization_dependabot_secrets=write") // which stops that target alone
			if j.stored() == "" || j.holds("repos/acme/site/environments/prod/eu #1") == "" {
				t.Errorf("the token was not stored:\n%s", r.log)
			}
			j.github.WantRevoked(t, 3) // the third reads, for what may hide the secrets
			for _, s := range []string{j.github.Mints()[0].Token, j.github.Mints()[1].Token, "eyJ0eXAi", strings.Split(appPEM(), "\n")[3], key[len(key)/2:]} {
				if strings.Contains(masked(r.log), s) || strings.Contains(r.summary, s) {
					t.Errorf("a secret of the App is shown (%.12s…):\n%s", s, r.log)
				}
			}
		})
	}
}

func TestACancelledRunRevokesItsTokens(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t).withApp(appPEM())
	j.licensed(2 * dayLong)
	arrived, hold := make(chan struct{}), make(chan struct{})
	j.github.FailNext("PUT /PAGEFLARE_TOKEN", githubtest.Fault{OnArrive: func() { close(arrived) }, Hold: hold})
	r := j.cancelAt(func() { <-arrived }, func() { close(hold) })
	r.wantExit(t, 128+int(syscall.SIGINT))
	j.github.WantRevoked(t, 1)
	if j.stored() == "" {
		t.Error("the issued token is lost")
	}
}

func TestACheckProvesEveryTargetByReadingAlone(t *testing.T) {
	t.Parallel()
	for about, c := range map[string]struct {
		set  func(j *job)
		want []string
	}{
		"a fine-grained token": {func(*job) {}, []string{
			"Secret PAGEFLARE_TOKEN, repository: may be read; whether it may be written shows only when it is; is not there yet.",
			"Secret PAGEFLARE_TOKEN, codespaces/repository: may be written; is not there yet.",
			"organization:acme: may be read; whether it may be written shows only when it is; was last written on", "who may read it: all",
			"dependabot_secrets=write",
			`the secret PAGEFLARE_TOKEN of repository is not what jobs see that name one of these environments, since it has its own: "prod/eu #1"`,
		}},
		"a GitHub App": {func(j *job) { j.withApp(appPEM()) }, []string{
			"Secret PAGEFLARE_TOKEN, repository: may be written.", "does not have organization_dependabot_secrets=write",
		}},
		"an App's token": {func(j *job) { j.input("github-token", weakApp) }, []string{"the token of a GitHub App needs secrets=write"}},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			j := newOrgJob(t).input("mode", "check").input("secret-targets", "repository,codespaces/repository,organization:acme,dependabot/organization:acme")
			j.licensed(2 * dayLong)
			j.github.SetSecret("orgs/acme/actions", "PAGEFLARE_TOKEN", "x", githubtest.Access{Visibility: "all"})
			j.github.SetSecret("repos/acme/site/environments/prod/eu #1", "PAGEFLARE_TOKEN", "x", githubtest.Access{})
			c.set(j)
			r := j.run()
			r.wantExit(t, 0)
			r.wantLog(t, c.want...)
			for _, q := range j.github.Requests() {
				if q.Method != "GET" {
					t.Errorf("%s %s: a check must only read", q.Method, q.Path)
				}
			}
		})
	}
}

func TestFaultyAppInputsStopBeforeAnyCall(t *testing.T) {
	t.Parallel()
	for about, c := range map[string]struct {
		set  func(j *job)
		want []string
	}{
		"an App and a token":  {func(j *job) { j.withApp(appPEM()).input("github-token", orgPAT) }, []string{"input github-token: a GitHub App is given as well"}},
		"an id without a key": {func(j *job) { j.withApp("") }, []string{"input app-private-key: empty"}},
		"a key without an id": {func(j *job) { j.withApp(appPEM()).input("app-id", "") }, []string{"input app-id: want"}},
		"a key that is none":  {func(j *job) { j.withApp("hunter2-hunter2") }, []string{"input app-private-key: not a private key of a GitHub App", "from -----BEGIN to the last -----"}},
		"an id that is none":  {func(j *job) { j.withApp(appPEM()).input("app-id", "my app") }, []string{"input app-id: want the app id"}},
		"a store of nothing":  {func(j *job) { j.input("secret-targets", "dependabot/environment:x") }, []string{"environments keep Actions secrets only"}},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			j := newOrgJob(t)
			c.set(j)
			r := j.run()
			r.wantExit(t, 2)
			r.wantLog(t, c.want...)
			if strings.Contains(masked(r.log), "hunter2") || strings.Contains(masked(r.log), "BEGIN RSA") || len(j.github.Requests()) != 0 {
				t.Errorf("want no key shown and no call:\n%s", r.log)
			}
		})
	}
}

func TestAGuestWhoGetsTheIDOfAnAppButNotItsKeyIsNoFault(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t).withApp("").input("mode", "optimize")
	j.env["GITHUB_ACTOR"] = "dependabot[bot]"
	r := j.run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "missing"})
	r.wantLog(t, "triggered by Dependabot")
}

// The fake GitHub stands for the proxy: it answers for a host that does not exist.
func TestGitHubIsReachedThroughTheProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t)
	j.licensed(2 * dayLong)
	j.env["GITHUB_API_URL"], j.env["HTTP_PROXY"] = "http://api.github.test", j.github.URL()
	r := j.run()
	r.wantExit(t, 0)
	if j.stored() == "" {
		t.Errorf("the token was not stored:\n%s", r.log)
	}
}
