package main

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
)

// onGitHub gives the job another GitHub, with the usual repository and one token that may do
// everything.
func (j *job) onGitHub(spoil func(*githubtest.Config, *githubtest.Token)) *job {
	j.t.Helper()
	token := githubtest.Token{Value: orgPAT, Permissions: map[string]string{"secrets": "write", "dependabot_secrets": "write"}}
	cfg := githubtest.Config{Repositories: []githubtest.Repository{{ID: 1296269, Owner: "acme", Name: "site"}}}
	spoil(&cfg, &token)
	cfg.Tokens = []githubtest.Token{token}
	j.github = githubtest.Start(j.t, cfg)
	j.env["GITHUB_API_URL"], j.env["GITHUB_REPOSITORY_ID"] = j.github.URL(), "1296269"
	return j.input("github-token", orgPAT)
}

// wantSaid fails unless a text is in one warning in the log, in the summary and in the report.
func (r result) wantSaid(t *testing.T, want string) {
	t.Helper()
	if countOf(r.log, "::warning::") != 1 || !strings.Contains(r.log, want) {
		t.Errorf("want one warning with %q:\n%s", want, r.log)
	}
	if !strings.Contains(html.UnescapeString(r.summary), want) {
		t.Errorf("the summary lacks %q:\n%s", want, html.UnescapeString(r.summary))
	}
	if len(r.report.Problems) != 1 || !strings.Contains(r.report.Problems[0].Text, want) {
		t.Errorf("the report lacks %q: %+v", want, r.report.Problems)
	}
}

func TestWhatGitHubRefusesNamesTheRemedyForItsCause(t *testing.T) {
	t.Parallel()
	classic := func(_ *githubtest.Config, t *githubtest.Token) { t.Scopes = []string{"repo"} }
	for name, c := range map[string]struct {
		spoil  func(*githubtest.Config, *githubtest.Token)
		writes bool // shows only when the secret is written
		want   string
	}{
		"single sign-on": {func(c *githubtest.Config, t *githubtest.Token) { classic(c, t); t.NoSignOn = []string{"acme"} }, false,
			"authorize the token in github-token for the organization at " + githubtest.SignOnPage("acme") + " within an hour"},
		"no classic tokens": {func(c *githubtest.Config, t *githubtest.Token) {
			classic(c, t)
			c.Policies = []githubtest.Policy{{Account: "acme", NoClassic: true}}
		}, false, `fine-grained permissions.; give github-token a fine-grained token with the repository permission "Secrets: read and write", or set app-id`},
		"a token that lives too long": {func(c *githubtest.Config, _ *githubtest.Token) {
			c.Policies = []githubtest.Policy{{Account: "acme", MaxDays: 90}}
		}, false,
			githubtest.LifetimePage + "; give github-token a token with a shorter lifetime"},
		"an archive": {func(c *githubtest.Config, _ *githubtest.Token) { c.Repositories[0].Archived = true }, true,
			"the repository is archived, so its secrets cannot change: unarchive it"},
	} {
		for _, mode := range []string{"refresh-only", "check"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				t.Parallel()
				j := newJob(t).onGitHub(c.spoil).input("mode", mode)
				j.licensed(2 * dayLong)
				r := j.run()
				r.wantExit(t, 0)
				if c.writes && mode == "check" {
					return
				}
				r.wantSaid(t, c.want)
				if strings.Contains(r.log, "may administer") || strings.Contains(r.log, `the scope "repo"`) {
					t.Errorf("the advice is for another problem:\n%s", r.log)
				}
			})
		}
	}
}

func TestAServerWithoutDependabotSecretsIsNamedAsThat(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"refresh-only", "check"} {
		j := newJob(t).onGitHub(func(c *githubtest.Config, _ *githubtest.Token) {
			c.Enterprise, c.BasePath, c.NoDependabot = "3.14.2", "/api/v3", true
		}).input("mode", mode).input("secret-targets", "repository,dependabot/repository")
		j.licensed(2 * dayLong)
		r := j.run()
		r.wantExit(t, 0)
		r.wantSaid(t, "this server has no Dependabot secrets (404); remove this entry from secret-targets")
		if strings.Contains(r.log, "cannot see it") || mode == "refresh-only" && j.stored() == "" {
			t.Errorf("want the other target written, and no other cause:\n%s", r.log)
		}
	}
}

func TestAProxyThatRefusesIsNotTakenForGitHub(t *testing.T) {
	t.Parallel()
	for mode, known := range map[string]string{"refresh-only": "the new token was not stored: ", "check": "whether a refreshed token could be stored is not known, since GitHub did not answer: "} {
		j := newJob(t).input("mode", mode)
		j.licensed(2 * dayLong)
		j.github.FailNext("GET /secrets/public-key", githubtest.Fault{Status: 403, Body: "<html>Blocked by policy", Proxy: true})
		r := j.run()
		r.wantExit(t, 0)
		r.wantSaid(t, "a proxy between here and GitHub refused (403): Forbidden; let its operator allow requests to "+strings.TrimPrefix(j.github.URL(), "http://"))
		r.wantLog(t, known)
	}
}

// GitHub's words are missing where its answer is a page.
func TestALimitWithoutWordsReadsWell(t *testing.T) {
	t.Parallel()
	j := newJob(t).input("mode", "refresh-only")
	j.licensed(2 * dayLong)
	j.github.FailNext("GET /secrets/public-key", githubtest.Fault{Status: 403, Header: map[string]string{"Retry-After": "7200"}, Body: "<html>"})
	r := j.run()
	r.wantExit(t, 0)
	r.wantSaid(t, "GitHub's rate limit is used up (403); try again after ")
}

func TestATokenForGitHubThatEndsSoonIsWarnedAbout(t *testing.T) {
	t.Parallel()
	for left, warned := range map[time.Duration]bool{20 * time.Hour: true, 13 * dayLong: true, 15 * dayLong: false, 0: false} {
		for _, mode := range []string{"optimize", "refresh-only", "check"} {
			t.Run(fmt.Sprint(left, mode), func(t *testing.T) {
				t.Parallel()
				ends := time.Now().Add(left)
				j := newJob(t).onGitHub(func(_ *githubtest.Config, t *githubtest.Token) {
					if left > 0 {
						t.Expires = ends
					}
				}).input("mode", mode)
				j.licensed(2 * dayLong)
				r := j.run()
				r.wantExit(t, 0)
				if warned {
					r.wantSaid(t, "the token in github-token ends on "+day(ends)+": replace it before then")
				} else if strings.Contains(r.log, "::warning::") {
					t.Errorf("want no warning:\n%s", r.log)
				}
				if mode != "check" && j.stored() == "" {
					t.Error("the token was not stored")
				}
			})
		}
	}
}

// A token that ends soon and may not write either is worth both warnings.
func TestATokenThatEndsSoonAndMayNotWrite(t *testing.T) {
	t.Parallel()
	j := newJob(t).onGitHub(func(_ *githubtest.Config, t *githubtest.Token) {
		t.Expires, t.Permissions = time.Now().Add(time.Hour), nil
	}).input("mode", "check")
	j.licensed(2 * dayLong)
	r := j.run()
	r.wantLog(t, "the token needs secrets=write", "the token in github-token ends on ")
}

// The workflow of a rerun names the repository as it was called then.
func TestARenamedRepositoryIsReachedByAnAppToo(t *testing.T) {
	t.Parallel()
	for name, withApp := range map[string]bool{"an App": true, "a token": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t).onGitHub(func(c *githubtest.Config, _ *githubtest.Token) {
				c.Repositories[0].FormerNames = []string{"acme/old-site"}
				c.Apps = []githubtest.App{{ID: 12345, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
					{ID: 99, Account: "acme", Repositories: []string{"acme/site"}, Permissions: map[string]string{"secrets": "write"}},
				}}}
			}).input("mode", "refresh-only")
			j.env["GITHUB_REPOSITORY"] = "acme/old-site"
			if withApp {
				j.withApp(appPEM())
			}
			j.licensed(2 * dayLong)
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"secret-updated": "true"})
			if j.stored() == "" {
				t.Errorf("the token was not stored:\n%s", r.log)
			}
		})
	}
}

func TestACheckDuringAnOutageOfGitHubKnowsNothingOfRights(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	for name, c := range map[string]struct {
		set  func(*job)
		want string
	}{
		"503": {func(j *job) {
			j.github.FailNext("GET /secrets/public-key", githubtest.Fault{Status: 503, Header: map[string]string{"Retry-After": "3600"}})
		}, "GitHub has trouble (503)"},
		"a page of a portal": {func(j *job) {
			j.github.FailNext("GET /secrets/public-key", githubtest.Fault{Status: 200, Body: "<html>Sign in", Proxy: true})
		}, "no usable answer from GitHub"},
		"a certificate that is not trusted": {func(j *job) { j.env["GITHUB_API_URL"] = secure.URL },
			"give the authority that signed the certificate, of your GitHub server or of a proxy that opens TLS, in input ca-certificates"},
	} {
		for failOn, exit := range map[string]int{"": 0, "any": 1} {
			t.Run(name+", fail-on "+failOn, func(t *testing.T) {
				t.Parallel()
				j := newJob(t).input("mode", "check").input("fail-on", failOn)
				j.licensed(2 * dayLong)
				c.set(j)
				r := j.run()
				r.wantExit(t, exit)
				r.wantLog(t, "whether a refreshed token could be stored is not known, since GitHub did not answer: read secret", c.want)
				if strings.Contains(r.log, "could not be stored") || strings.Contains(r.summary, "could not be written") {
					t.Errorf("want no claim about the right:\n%s\n%s", r.log, r.summary)
				}
				if !strings.Contains(r.summary, "| not known whether it could be written: ") {
					t.Errorf("the summary does not say so:\n%s", r.summary)
				}
				if got := r.report.Check; got == nil || got.Targets[0].Writable != nil || got.Targets[0].Error == "" {
					t.Errorf("check = %+v, want an error and writable null", got)
				}
			})
		}
	}
}

// One target of which nothing is known takes nothing from what is known of the other.
func TestACheckTellsWhatIsKnownFromWhatIsNot(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t).input("mode", "check").input("secret-targets", "repository,dependabot/organization:acme,codespaces/repository")
	j.licensed(2 * dayLong)
	j.github.FailNext("GET /actions/secrets/public-key", githubtest.Fault{Status: 503, Header: map[string]string{"Retry-After": "3600"}})
	r := j.run()
	r.wantExit(t, 0)
	r.wantLog(t, "::warning::a refreshed token could not be stored everywhere: read secret PAGEFLARE_TOKEN of organization acme",
		"::warning::whether a refreshed token could be stored is not known, since GitHub did not answer: read secret PAGEFLARE_TOKEN of repository acme/site: GitHub has trouble",
		"Secret PAGEFLARE_TOKEN, codespaces/repository: may be written")
}
