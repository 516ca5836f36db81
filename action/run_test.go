package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/token"
)

const dayLong = 24 * time.Hour

// The table of design: token in hand, refresh, write -> result; a test for each row.

func TestAFreshTokenCostsNoCall(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(30 * dayLong)
	before := tokenCount(j)
	r := j.run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "fresh", "refreshed": "false", "secret-updated": "false", "tier": "pro", "report-path": "pageflare-report.json"})
	j.wantWhole(true)
	if n := len(j.github.Requests()); n != 0 || tokenCount(j) != before {
		t.Errorf("%d calls to GitHub and %d new tokens, want none", n, tokenCount(j)-before)
	}
}

func tokenCount(j *job) int {
	list, err := j.service.TokensOf(j.t.Context(), j.account, 100)
	must(j.t, err)
	return len(list)
}

func TestATokenNearItsExpiryIsRefreshedStoredAndUsed(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	old := j.licensed(2 * dayLong)
	r := j.run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "refreshed", "refreshed": "true", "secret-updated": "true", "tier": "pro"})
	j.wantWhole(true)
	if s := j.stored(); s == "" || s == old {
		t.Error("the secret does not hold a new token")
	}
	if _, err := j.service.Authenticate(t.Context(), j.stored()); err != nil {
		t.Errorf("the License service does not know the stored token: %v", err)
	}
	if exp, err := time.Parse(time.RFC3339, r.outputs["expires-at"]); err != nil || time.Until(exp) < 300*dayLong {
		t.Errorf("expires-at = %q, want a year ahead", r.outputs["expires-at"])
	}
	if r.report.Version != 1 || !r.report.Token.Refreshed || r.report.Secret.Targets[0] != (jsonTarget{Target: "repository", Outcome: "created"}) {
		t.Errorf("report = %+v", r.report)
	}
	for _, want := range []string{"| Token | refreshed |", "Secret <code>PAGEFLARE_TOKEN</code>, repository | created", "| html | 1 |"} {
		if !strings.Contains(r.summary, want) {
			t.Errorf("the summary lacks %q:\n%s", want, r.summary)
		}
	}
	if strings.Contains(r.log, "::warning::") || strings.Contains(r.log, "::error::") {
		t.Errorf("a good run warns:\n%s", r.log)
	}
}

// 0.0.0.0 reaches this machine, and is not said to be it.
func TestTokensThatTravelUnencryptedAreWarnedAbout(t *testing.T) {
	t.Parallel()
	for host, warned := range map[string]bool{"0.0.0.0": true, "127.0.0.1": false, "localhost": false} {
		j := newJob(t)
		j.licensed(2 * dayLong)
		r := j.input("api-url", strings.Replace(j.service.URL, "127.0.0.1", host, 1)).run()
		r.wantExit(t, 0)
		r.wantOutputs(t, map[string]string{"token-state": "refreshed"})
		if got := strings.Count(r.log, "tokens travel there unencrypted"); got > 0 != warned {
			t.Errorf("api-url at %s is warned about %d times, want %t:\n%s", host, got, warned, r.log)
		}
	}
}

func TestAFailedWriteKeepsTheOldSecretAndUsesTheNewToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ pat, want string }{
		"a token that may only read":  {weakPAT, "Secrets: read and write"},
		"an App's token, no right":    {weakApp, "the token of a GitHub App needs secrets=write"},
		"a token that GitHub forgot":  {"github_pat_revoked_long_ago", "github-token is"},
		"no token for GitHub":         {"", "there is no github-token"},
		"a repository that it cannot": {writerPAT, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(2 * dayLong)
			j.input("github-token", c.pat)
			if strings.Contains(name, "repository") {
				j.env["GITHUB_REPOSITORY"] = "acme/other"
			}
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "false"})
			j.wantWhole(true)
			if countOf(r.log, "::warning::") != 1 || !strings.Contains(strings.ToLower(r.log), strings.ToLower(c.want)) {
				t.Errorf("want one warning with %q:\n%s", c.want, r.log)
			}
			if j.stored() != "" {
				t.Error("something was stored")
			}
		})
	}
}

func TestADependabotRunThatCannotStoreSaysThatItIsOne(t *testing.T) {
	t.Parallel()
	j := newJob(t).input("github-token", "")
	j.licensed(2 * dayLong)
	j.env["GITHUB_ACTOR"] = "dependabot[bot]"
	r := j.run()
	r.wantExit(t, 0)
	r.wantLog(t, "::warning::", "there is no github-token: this run was triggered by Dependabot", "Dependabot secrets")
}

func TestTheTokenOfAGitHubAppMayWrite(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	j.input("github-token", appToken).run().wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "true"})
}

// A useless github-token must not fail the runs that have no secrets or must not write them: they
// do not need it.
func TestAUselessGitHubTokenIsANoticeWhereNothingIsWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ event, payload, actor, token string }{
		"a fork, the job's token":           {"pull_request", `{"pull_request":{"head":{"repo":{"full_name":"mallory/site"}}}}`, "mallory", jobToken},
		"Dependabot, the job's token":       {"push", `{}`, "dependabot[bot]", jobToken},
		"pull_request_target, two words":    {"pull_request_target", `{"pull_request":{"head":{"repo":{"full_name":"acme/site"}}}}`, "octocat", "two words"},
		"issue_comment, the job's token":    {"issue_comment", `{"issue":{"pull_request":{}}}`, "octocat", jobToken},
		"Dependabot, a token in two pieces": {"push", `{}`, "dependabot[bot]", "github_pat\nwith_break"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t).input("github-token", c.token)
			j.env["GITHUB_EVENT_NAME"], j.env["GITHUB_EVENT_PATH"], j.env["GITHUB_ACTOR"] = c.event, j.write("event.json", c.payload), c.actor
			r := j.run()
			r.wantExit(t, 0)
			r.wantLog(t, "::notice::input github-token: ")
			j.wantWhole(true)
		})
	}
}

func TestARefreshThatFailsGoesOnWithTheOldToken(t *testing.T) {
	t.Parallel()
	old := func(j *job) time.Time { return time.Now().Add(2 * dayLong) }
	for name, c := range map[string]struct {
		answer func(j *job, w http.ResponseWriter)
		want   string
	}{
		"429 that asks for too long a wait": {func(_ *job, w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}, "it asks to wait 1h0m0s"},
		"an HTML page": {func(_ *job, w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>Sign in</html>")
		}, "check api-url"},
		"a token of another account": {func(j *job, w http.ResponseWriter) {
			answerToken(w, foreignToken(j.t, "user_somebody_else", time.Now().AddDate(1, 0, 0)))
		}, "of another account"},
		"a token older than the one in hand": {func(j *job, w http.ResponseWriter) {
			answerToken(w, foreignToken(j.t, j.account, old(j).Add(-dayLong)))
		}, "expires before the old one"},
		"a token that has expired": {func(j *job, w http.ResponseWriter) {
			answerToken(w, foreignToken(j.t, j.account, time.Now().Add(-time.Hour)))
		}, "has expired already"},
		"something that is no token": {func(_ *job, w http.ResponseWriter) { answerToken(w, "not.a.token") }, "not a license token"},
		"401": {func(_ *job, w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"Unauthorized"}`)
		}, "could not be refreshed"},
		"404": {func(_ *job, w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, "api-url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(2 * dayLong)
			j.api(func(w http.ResponseWriter, _ *http.Request) { c.answer(j, w) })
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "kept", "refreshed": "false", "secret-updated": "false"})
			r.wantLog(t, c.want)
			if countOf(r.log, "::warning::") != 1 {
				t.Errorf("want one warning:\n%s", r.log)
			}
			j.wantWhole(true)
			if n := len(j.github.Requests()); n != 0 {
				t.Errorf("%d calls to GitHub, want none: a bad answer must not replace a good secret", n)
			}
		})
	}
}

func TestARefreshThatGainsNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ends bool // the license ends with the token
		want string
	}{
		"the license itself ends then":         {true, "::warning::a refresh does not extend the license token: the license itself ends on"},
		"the token was issued just before now": {false, "as new as it gets"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			exp := time.Now().Add(2 * dayLong).Truncate(time.Second)
			make := func() string {
				until := exp
				if !c.ends {
					until = exp.AddDate(1, 0, 0)
				}
				raw, err := signer(t).Sign(token.Claims{Subject: "user_x", Email: "x@example.com", Tier: "pro", ValidUntil: until,
					IssuedAt: exp.AddDate(-1, 0, 0), ExpiresAt: exp, ID: rand.Text()})
				must(t, err)
				return raw
			}
			j.env["PAGEFLARE_TOKEN"] = make()
			j.api(func(w http.ResponseWriter, _ *http.Request) { answerToken(w, make()) })
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "kept", "secret-updated": "false"})
			r.wantLog(t, c.want)
			if warned := strings.Contains(r.log, "::warning::"); warned != c.ends || len(j.github.Requests()) != 0 {
				t.Errorf("warned = %t with %d calls to GitHub, want %t and none:\n%s", warned, len(j.github.Requests()), c.ends, r.log)
			}
		})
	}
}

func TestAGitHubThatAsksToWaitForAnHourDoesNotHoldTheJob(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	j.github.FailNext("PUT /PAGEFLARE_TOKEN", githubtest.Fault{Status: 429, Header: map[string]string{"Retry-After": "4000"}})
	r := j.run() // the test has a time limit that is shorter than an hour
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "false"})
	r.wantLog(t, "::warning::the new token was not stored")
}

func TestRefreshOnlyNeedsAToken(t *testing.T) {
	t.Parallel()
	for failOn, exit := range map[string]int{"": 1, "any": 1, "never": 0} {
		j := newJob(t)
		r := j.input("mode", "refresh-only").input("fail-on", failOn).run()
		r.wantExit(t, exit)
		r.wantLog(t, "no license token: store one in the secret PAGEFLARE_TOKEN")
	}
}

// api puts another License API in the place of the service.
func (j *job) api(h http.HandlerFunc) {
	s := httptest.NewServer(h)
	j.t.Cleanup(s.Close)
	j.input("api-url", s.URL+"/_api")
}

func answerToken(w http.ResponseWriter, token string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"token":%q}`, token)
}

func TestTroubleThatPassesIsWaitedOut(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(w http.ResponseWriter){
		"500": func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"429 with Retry-After": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"a truncated body": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "500")
			fmt.Fprint(w, `{"token":"eyJ`)
		},
		"a broken connection": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(2 * dayLong)
			var calls atomic.Int32
			j.api(func(w http.ResponseWriter, req *http.Request) {
				if calls.Add(1) == 1 {
					first(w)
					return
				}
				j.service.ServeHTTP(w, req)
			})
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "true"})
			if n := calls.Load(); n != 2 {
				t.Errorf("%d calls, want 2", n)
			}
		})
	}
}

func TestAnUnreachableServiceIsAWarning(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	r := j.input("api-url", s.URL).run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "kept"})
	r.wantLog(t, "connection refused")
	j.wantWhole(true)
}

func TestAnExpiredToken(t *testing.T) {
	t.Parallel()
	for failOn, want := range map[string]struct {
		exit      int
		optimized bool
	}{"": {1, false}, "expired": {1, false}, "any": {1, false}, "never": {0, true}} {
		t.Run("fail-on "+failOn, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.env["PAGEFLARE_TOKEN"] = foreignToken(t, j.account, time.Now().Add(-dayLong))
			r := j.input("fail-on", failOn).run()
			r.wantExit(t, want.exit)
			r.wantOutputs(t, map[string]string{"token-state": "expired", "refreshed": "false"})
			r.wantLog(t, "the license token expired 24 hours ago", "token issue")
			j.wantWhole(want.optimized)
			if !strings.Contains(r.summary, "| Token | expired |") || r.report.Token.State != StateExpired || r.report.ExitCode != want.exit {
				t.Errorf("summary or report do not say so:\n%s\n%+v", r.summary, r.report)
			}
		})
	}
}

func TestARefusedTokenSaysWhichAndIsNotRetried(t *testing.T) {
	t.Parallel()
	for code, spoil := range map[string]func(j *job) error{
		"license_inactive": func(j *job) error { _, err := j.service.SuspendAccount(t.Context(), j.account); return err },
		"license_revoked":  func(j *job) error { _, err := j.service.DeleteAccount(t.Context(), j.account); return err },
		"license_expired":  func(j *job) error { j.service.EndLicense(t, j.account); return nil },
		"token_revoked": func(j *job) error {
			_, err := j.service.RevokeToken(t.Context(), j.env["PAGEFLARE_TOKEN"], false)
			return err
		},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(2 * dayLong)
			must(t, spoil(j))
			var calls atomic.Int32
			j.api(func(w http.ResponseWriter, req *http.Request) { calls.Add(1); j.service.ServeHTTP(w, req) })
			r := j.run()
			r.wantExit(t, 1)
			r.wantOutputs(t, map[string]string{"token-state": "expired"})
			r.wantLog(t, code)
			j.wantWhole(false)
			if n := calls.Load(); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
		})
	}
}

func TestNoTokenRunsUnlicensedWithANotice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ event, actor, want string }{
		"a push":                  {`{}`, "octocat", "store one in the secret PAGEFLARE_TOKEN"},
		"a fork's pull request":   {`{"pull_request":{"head":{"repo":{"full_name":"mallory/site"}},"user":{"login":"mallory"}}}`, "mallory", "from the fork mallory/site"},
		"a fork that was deleted": {`{"pull_request":{"head":{"repo":null},"user":{"login":"mallory"}}}`, "mallory", "from a fork that was deleted"},
		"Dependabot":              {`{"pull_request":{"head":{"repo":{"full_name":"acme/site"}},"user":{"login":"dependabot[bot]"}}}`, "octocat", "Dependabot"},
		"an event we cannot read": {`no json`, "octocat", "store one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.env["PAGEFLARE_TOKEN"] = "" // how an absent secret arrives
			j.env["GITHUB_EVENT_PATH"], j.env["GITHUB_ACTOR"] = j.write("event.json", c.event), c.actor
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "missing", "tier": "free", "expires-at": ""})
			r.wantLog(t, "::notice::", c.want)
			j.wantWhole(true)
		})
	}
}

func TestFailOnAny(t *testing.T) {
	t.Parallel()
	t.Run("a refresh that fails stops before the site is touched", func(t *testing.T) {
		t.Parallel()
		j := newJob(t)
		j.licensed(2 * dayLong)
		j.api(http.NotFound)
		r := j.input("fail-on", "any").run()
		r.wantExit(t, 1)
		j.wantWhole(false)
	})
	t.Run("a write that fails", func(t *testing.T) {
		t.Parallel()
		j := newJob(t)
		j.licensed(2 * dayLong)
		r := j.input("fail-on", "any").input("github-token", weakPAT).run()
		r.wantExit(t, 1)
		r.wantLog(t, "::error::")
	})
	t.Run("no token", func(t *testing.T) {
		t.Parallel()
		j := newJob(t)
		j.input("fail-on", "any").run().wantExit(t, 1)
	})
}

func TestModes(t *testing.T) {
	t.Parallel()
	t.Run("refresh-only leaves the site alone and needs none", func(t *testing.T) {
		t.Parallel()
		j := newJob(t)
		j.licensed(2 * dayLong)
		must(t, os.RemoveAll(filepath.Join(j.ws, "dist")))
		r := j.input("mode", "refresh-only").run()
		r.wantExit(t, 0)
		r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "true", "files": ""})
	})
	t.Run("check changes nothing", func(t *testing.T) {
		t.Parallel()
		j := newJob(t)
		j.licensed(2 * dayLong)
		before := tokenCount(j)
		r := j.input("mode", "check").run()
		r.wantExit(t, 0)
		r.wantOutputs(t, map[string]string{"token-state": "kept", "refreshed": "false", "secret-updated": "false"})
		r.wantLog(t, "would refresh")
		j.wantWhole(false)
		for _, q := range j.github.Requests() {
			if q.Method != "GET" {
				t.Errorf("%s %s: a check must only read", q.Method, q.Path)
			}
		}
		if tokenCount(j) != before {
			t.Error("a check issued a token")
		}
	})
}

func TestTheInputWinsOverTheEnvironment(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(30 * dayLong)
	j.input("token", j.service.IssueToken(t, j.account, 2*dayLong)+"\n") // a pasted secret often ends with a line break
	r := j.run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "refreshed"})
}

func TestAnExistingSecretIsUpdated(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	j.run().wantExit(t, 0)
	first := j.stored()
	r := j.input("refresh-before", "100%").run() // the same old token again: the service gives the same new one
	r.wantExit(t, 0)
	if j.stored() != first || r.report.Secret.Targets[0].Outcome != "updated" {
		t.Errorf("second run stored another token, or says %+v", r.report.Secret)
	}
}

func TestOutputOfItsOwn(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	before := tree(t, filepath.Join(j.ws, "dist"))
	r := j.input("output", "public").run()
	r.wantExit(t, 0)
	if diff := cmp.Diff(before, tree(t, filepath.Join(j.ws, "dist"))); diff != "" {
		t.Errorf("the source changed:\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(j.ws, "public", ".nojekyll")); err != nil {
		t.Error(err)
	}
}

func TestTheOptimizersExitStatusIsPassedOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args string
		page string
		exit int
		want string
	}{
		"an unknown flag":   {"--no-such-flag", "", 2, "no-such-flag"},
		"broken references": {"--fail-on-broken-refs", `<img src="gone.png">`, 1, "1 broken references"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			if c.page != "" {
				must(t, os.WriteFile(filepath.Join(j.ws, "dist", "page.html"), []byte("<!doctype html><title>x</title>"+c.page), 0o644))
			}
			r := j.input("optimizer-args", c.args).run()
			r.wantExit(t, c.exit)
			r.wantLog(t, c.want, "::error::")
			j.wantWhole(c.page != "")
		})
	}
}

func TestWhatTheOptimizerPrintsIsNoCommand(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.input("optimizer-path", j.write("fake-cli", "#!/bin/sh\necho '::set-env name=X::y' >&2\necho '::error::injected' >&2\nexit 7\n"))
	r := j.run()
	r.wantExit(t, 7)
	stop := strings.Index(r.log, "::stop-commands::")
	injected := strings.Index(r.log, "::set-env")
	if stop < 0 || injected < stop {
		t.Fatalf("want stop-commands before what the optimizer prints:\n%s", r.log)
	}
	word, _, _ := strings.Cut(r.log[stop+len("::stop-commands::"):], "\n")
	end := strings.Index(r.log, "\n::"+word+"::\n")
	if end < 0 || strings.LastIndex(r.log[:end+1], "::set-env") != injected || strings.Contains(r.log[end:], "\n::set-env") {
		t.Errorf("want what the optimizer prints only between stop-commands and %s:\n%s", word, r.log)
	}
	j.wantWhole(false)
}

func TestTheOptimizerSeesNoSecretButTheLicense(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	license := j.licensed(30 * dayLong)
	j.input("optimizer-path", j.fakeCLI("#!/bin/sh\n{ echo; echo environment:; env; echo end of it; } >&2\nexit 1\n"))
	r := j.run()
	r.wantLog(t, "::add-mask::"+jobToken+"\n") // which is all that is done with it
	_, b, _ := strings.Cut(r.log, "\nenvironment:\n")
	b, _, _ = strings.Cut(b, "\nend of it\n")
	if !strings.Contains(b, "PAGEFLARE_TOKEN="+license) {
		t.Error("the optimizer did not get the license token")
	}
	for _, bad := range []string{writerPAT, jobToken, "a-secret-of-another-step", "INPUT_", "GITHUB_", "ACTIONS_"} {
		if strings.Contains(b, bad) {
			t.Errorf("the optimizer's environment holds %s:\n%s", bad, b)
		}
	}
}

func TestAWriteHappensWhileTheOptimizerRuns(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	// the optimizer ends only when the secret was put, and the put is held until the optimizer has
	// begun
	started, put := filepath.Join(j.mkdir("bin"), "started"), filepath.Join(j.dir, "bin", "put") // it can read both, and may not write to them
	must(t, mkfifo(started))
	must(t, mkfifo(put))
	j.input("optimizer-path", j.fakeCLI("#!/bin/sh\ncat "+started+" "+put+" >/dev/null\nexit 3\n"))
	hold := make(chan struct{})
	j.github.FailNext("PUT /PAGEFLARE_TOKEN", githubtest.Fault{Hold: hold})
	go func() {
		if err := os.WriteFile(started, []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
		close(hold)
		for j.stored() == "" { // the fake GitHub stores before it answers
			if t.Context().Err() != nil {
				return
			}
		}
		if err := os.WriteFile(put, []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
	}()
	r := j.run()
	r.wantExit(t, 3)
	r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "true"})
}

func TestAFolderInThePlaceOfTheReportIsNamed(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	must(t, os.MkdirAll(filepath.Join(j.ws, reportName, "kept"), 0o755))
	cmd, log := j.command(t.Context())
	must(t, cmd.Run())
	if !strings.Contains(log.String(), "::warning::the JSON report could not be written: pageflare-report.json in the workspace is a folder: give it another name") {
		t.Errorf("log:\n%s", log)
	}
}

func TestWhatTheOptimizerSaysEndsUpInOneSentence(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.input("optimizer-path", j.write("fake-cli", "#!/bin/sh\necho 'Error:   × Run your build, then point pageflare at the output.' >&2\nexit 3\n"))
	r := j.run()
	r.wantExit(t, 3)
	r.wantLog(t, "::error::the optimizer failed with exit status 3: Run your build, then point pageflare at the output; the site is as it was\n")
}

func TestEverythingThatIsWrongWithTheSiteIsSaid(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	must(t, os.WriteFile(filepath.Join(j.ws, "dist", "about.html"), []byte(`<!doctype html><title>x</title><img src="gone.png">`), 0o644))
	r := j.input("max-size", "100").input("optimizer-args", "--fail-on-broken-refs").run()
	r.wantExit(t, 1)
	r.wantLog(t, "::error::the site has 1 broken references", "more than max-size allows (100)")
	if strings.Contains(r.log, "::warning::") {
		t.Errorf("a first run warns:\n%s", r.log)
	}
}

func TestASiteThatIsOptimizedTwiceIsWarnedAbout(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	for _, warned := range []bool{false, true} {
		r := j.run()
		r.wantExit(t, 0)
		if got := strings.Contains(r.log, `::warning::the source was optimized before, as its page "index.html" says`) && strings.Contains(r.log, "build the site again"); got != warned {
			t.Errorf("warned = %t, want %t:\n%s", got, warned, r.log)
		}
	}
	must(t, os.RemoveAll(filepath.Join(j.ws, "dist"))) // a new build
	writeSite(t, filepath.Join(j.ws, "dist"))
	for range 2 { // the second run is over the output of the first
		r := j.input("output", "public").run()
		r.wantExit(t, 0)
		if strings.Contains(r.log, "::warning::") {
			t.Errorf("a run with an output of its own warns:\n%s", r.log)
		}
	}
}

func TestTheReportDoesNotFollowALink(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	victim := j.write("victim", "precious")
	must(t, os.Symlink(victim, filepath.Join(j.ws, reportName)))
	j.run().wantExit(t, 0)
	if got := j.read("victim"); got != "precious" {
		t.Errorf("the report was written through a link: %s", got)
	}
}
