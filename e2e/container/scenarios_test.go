//go:build e2e

package container_test

import (
	"bytes"
	"maps"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/token"
)

func TestAFreshTokenCostsNoCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.licensed(t, w.issue(t, "720h"))
	r := s.run()
	r.wantExit(0)
	r.wantNoProblem()
	r.wantOutputs(map[string]string{"token-state": "fresh", "refreshed": "false", "secret-updated": "false", "tier": "pro"})
	s.wantOptimized(r)
	if strings.Contains(r.log, "without Landlock") { // which Docker's own seccomp profile allows
		t.Errorf("the optimizer ran without its sandbox:\n%s", r.log)
	}
	if calls := w.github.Requests(); len(calls) != 0 || w.issued(t) != 1 {
		t.Errorf("calls to GitHub = %v, tokens = %d, want no call and the one token", calls, w.issued(t))
	}
}

func TestATokenNearItsExpiryIsRefreshedAndStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.issue(t, "48h")
	s := w.licensed(t, old)
	r := s.run()
	r.wantExit(0)
	r.wantNoProblem()
	r.wantOutputs(map[string]string{"token-state": "refreshed", "refreshed": "true", "secret-updated": "true", "tier": "pro"})
	s.wantOptimized(r)
	w.wantSuccessorStored(t, old)
	if want := claims(t, w.stored()).ExpiresAt.UTC().Format("2006-01-02T15:04:05Z"); r.outputs["expires-at"] != want {
		t.Errorf("output expires-at = %q, want %q", r.outputs["expires-at"], want)
	}
	if !strings.Contains(r.summary, "refreshed") || !strings.Contains(r.summary, secretName) {
		t.Errorf("the summary does not tell of the refresh:\n%s", r.summary)
	}
	// the same token in again, as the next job of a matrix has it: no other successor
	again := w.licensed(t, old)
	again.run().wantExit(0)
	w.wantSuccessorStored(t, old)
	if n := w.issued(t); n != 2 {
		t.Errorf("tokens = %d, want the old one and one successor", n)
	}
}

func TestAJobWithoutASecretExchangesItsIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.trust(t)
	s := w.licensed(t, "")
	s.inputs["github-token"] = ""
	maps.Copy(s.env, w.issuer.Environment())
	r := s.run()
	r.wantExit(0)
	r.wantNoProblem()
	r.wantOutputs(map[string]string{"token-state": "exchanged", "refreshed": "false", "secret-updated": "false", "tier": "pro"})
	s.wantOptimized(r)
	if n := w.issued(t); n != 1 || w.issuer.Minted() != 1 || w.stored() != "" {
		t.Errorf("%d tokens, %d identities, secret %q, want one of each and nothing stored", n, w.issuer.Minted(), w.stored())
	}
}

// Without a policy for its repository a job is refused, and the site is as it was.
func TestAJobOfAStrangerIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.licensed(t, "")
	s.inputs["github-token"] = ""
	maps.Copy(s.env, w.issuer.Environment())
	before := tree(t, s.ws+"/dist")
	r := s.run()
	r.wantExit(1)
	r.wantLog("::error::", "403 policy_denied")
	r.wantOutputs(map[string]string{"token-state": "missing"})
	if tree(t, s.ws+"/dist") != before || w.issued(t) != 0 {
		t.Error("a job that is not allowed changed the site or got a token")
	}
}

// One that expired a moment ago is tried all the same, since the clock of the machine may be ahead;
// one that expired long ago is not.
func TestAnExpiredTokenFailsAndLeavesTheSite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token func(*testing.T, *world) string
		want  string // what to do about it
	}{
		"a moment ago": {justExpired, "issue a new one"},
		"long ago":     {longExpired, "issue a new one with `pageflare-action token issue` and store it in the secret " + secretName},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.licensed(t, c.token(t, w))
			before := tree(t, s.ws+"/dist")
			r := s.run()
			r.wantExit(1)
			r.wantOutputs(map[string]string{"token-state": "expired", "refreshed": "false", "secret-updated": "false"})
			r.wantLog("::error::", "expired", c.want)
			if tree(t, s.ws+"/dist") != before {
				t.Error("the site was touched")
			}
			if calls := w.github.Requests(); len(calls) != 0 {
				t.Errorf("calls to GitHub = %v, want none", calls)
			}
		})
	}
}

func justExpired(t *testing.T, w *world) string {
	t.Helper()
	expired := w.issue(t, "1s")
	for w.record(t, expired).Status != "expired" { // a call takes some 100 ms, and the token a second
	}
	return expired
}

// longExpired is of no service at all: its end is plain without asking one.
func longExpired(t *testing.T, w *world) string {
	t.Helper()
	keys, err := token.NewKeySet(token.Key{ID: "k_old", Secret: bytes.Repeat([]byte{7}, 32)})
	must(t, err)
	end := time.Now().AddDate(0, -1, 0)
	raw, err := keys.Sign(token.Claims{Subject: w.account, Email: "team@larkmoor.example", Tier: "pro", ValidUntil: end.AddDate(1, 0, 0),
		IssuedAt: end.AddDate(-1, 0, 0), ExpiresAt: end, ID: "x"})
	must(t, err)
	w.secrets = append(w.secrets, raw)
	return raw
}

func TestAPullRequestFromAForkRunsUnlicensed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.licensed(t, "") // an absent secret arrives as an empty string
	s.inputs["github-token"], s.inputs["fail-on"] = "", "any"
	s.env["GITHUB_EVENT_NAME"] = "pull_request"
	s.event = `{"pull_request":{"user":{"login":"mona"},"head":{"repo":{"full_name":"mona/site"}}},"repository":{"full_name":"` + repository + `"}}`
	r := s.run()
	r.wantExit(0)
	r.wantNoProblem()
	r.wantLog("::notice::", "mona/site", "unlicensed")
	r.wantOutputs(map[string]string{"token-state": "missing", "refreshed": "false", "secret-updated": "false"})
	s.wantOptimized(r)
	if calls := w.github.Requests(); len(calls) != 0 {
		t.Errorf("calls to GitHub = %v, want none", calls)
	}
}

func TestAWriteWithoutTheRightWarnsAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.licensed(t, w.issue(t, "48h"))
	s.inputs["github-token"] = readerToken
	r := s.run()
	r.wantExit(0)
	r.wantLog("::warning::", "Secrets: read and write")
	r.wantOutputs(map[string]string{"token-state": "refreshed", "refreshed": "true", "secret-updated": "false"})
	s.wantOptimized(r)
	if w.stored() != "" {
		t.Error("something was stored")
	}
	if n := r.warnings(); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, r.log)
	}
}

func TestARunWithoutTokenAndNetwork(t *testing.T) {
	t.Parallel()
	s := newStep(t)
	_, before := size(t, s.ws+"/dist")
	r := s.run()
	r.wantExit(0)
	files, after := size(t, s.ws+"/dist")
	r.wantOutputs(map[string]string{"token-state": "missing", "refreshed": "false", "secret-updated": "false", "expires-at": "", "tier": "free",
		"bytes-before": text(before), "bytes-after": text(after), "files": text(files), "bytes-saved": text(before - after)})
	if !regexp.MustCompile(`^[1-9][0-9]*\.[0-9]$`).MatchString(r.outputs["saved-percent"]) {
		t.Errorf("output saved-percent = %q, want a positive number with one decimal", r.outputs["saved-percent"])
	}
	s.wantOptimized(r)
}

// The folders on the way to an output are made by root too; that all belongs to the owner of the
// workspace is held for every run.
func TestAnOutputOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newStep(t)
	s.inputs["output"] = "build/site/public"
	before := tree(t, s.ws+"/dist")
	for range 2 { // the second time over the first one's output
		r := s.run()
		r.wantExit(0)
		r.wantNoProblem()
		if tree(t, s.ws+"/dist") != before {
			t.Error("the source was touched")
		}
		if !strings.Contains(read(t, s.ws+"/build/site/public/index.html"), `name="generator" content="Pageflare`) {
			t.Error("the output is not optimized")
		}
	}
}

func TestFaultyInputsAreAllNamedAndChangeNothing(t *testing.T) {
	t.Parallel()
	s := newStep(t)
	before := tree(t, s.ws)
	s.inputs["refresh-before"], s.inputs["mode"] = "soon", "guess"
	r := s.run()
	r.wantExit(2)
	r.wantLog("refresh-before", "mode")
	if tree(t, s.ws) != before {
		t.Error("the workspace was touched")
	}
}

func TestModeCheckChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.licensed(t, w.issue(t, "48h"))
	s.inputs["mode"] = "check"
	before := tree(t, s.ws+"/dist")
	r := s.run()
	r.wantExit(0)
	r.wantNoProblem()
	r.wantOutputs(map[string]string{"token-state": "kept", "refreshed": "false", "secret-updated": "false"})
	if tree(t, s.ws+"/dist") != before || w.stored() != "" || w.issued(t) != 1 {
		t.Error("mode check changed something")
	}
}

// wantOptimized fails unless the site was rewritten, kept what the optimizer leaves out, and is
// told of in report and summary. The CLI leaves its name in each page.
func (s *step) wantOptimized(r result) {
	s.t.Helper()
	if !strings.Contains(read(s.t, filepath.Join(s.ws, "dist", "index.html")), `name="generator" content="Pageflare`) {
		s.t.Error("the pages are not optimized")
	}
	site := filepath.Join(repositoryRoot(s.t), "e2e", "site")
	for _, name := range []string{".nojekyll", ".well-known/security.txt"} {
		if read(s.t, filepath.Join(s.ws, "dist", name)) != read(s.t, filepath.Join(site, name)) {
			s.t.Errorf("%s is not as it was", name)
		}
	}
	if !strings.Contains(r.report, `"version": 1`) {
		s.t.Errorf("no report at %q", r.outputs["report-path"])
	}
	if !strings.Contains(r.summary, "| **all** |") {
		s.t.Errorf("the summary does not tell of the site:\n%s", r.summary)
	}
}

func text[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }
