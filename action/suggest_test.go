package main

import (
	"context"
	"html"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/summary"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/servicetest"
)

func TestSuggestPolicy(t *testing.T) {
	t.Parallel()
	const begin = "pageflare-license policy add --account ID --repository-id 7 --repository-owner-id 8 --repository=acme/site"
	job := func(change func(*jobClaims)) jobClaims {
		c := jobClaims{Issuer: gitHubIssuer, Repository: "acme/site", RepositoryID: "7", OwnerID: "8", Event: "push", Ref: "refs/heads/main"}
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		job    func(*jobClaims)
		branch string // the default one
		want   string // empty: none
		check  string
	}{
		"a push to the default branch":  {func(*jobClaims) {}, "main", begin + " --ref=refs/heads/main", "check that the repository is yours"},
		"a push to another branch":      {func(c *jobClaims) { c.Ref = "refs/heads/dev" }, "main", begin, "It allows jobs of all branches"},
		"a default branch not known":    {func(*jobClaims) {}, "", begin, "It allows jobs of all branches"},
		"a pull request":                {func(c *jobClaims) { c.Event, c.Ref = "pull_request", "refs/pull/1/merge" }, "main", begin, "all branches"},
		"an environment":                {func(c *jobClaims) { c.Environment, c.Ref = "production", "refs/tags/v1" }, "main", begin + " --environment=production", "check that"},
		"another issuer":                {func(c *jobClaims) { c.Issuer = "https://ghes.example/_services/token" }, "main", begin + " --issuer=https://ghes.example/_services/token --ref=refs/heads/main", ""},
		"an event that others cause":    {func(c *jobClaims) { c.Event = "issue_comment" }, "main", begin + " --ref=refs/heads/main --event=issue_comment", "People without write access"},
		"a name that is no repository":  {func(c *jobClaims) { c.Repository = "a/b; rm -rf /" }, "main", strings.TrimSuffix(begin, " --repository=acme/site") + " --ref=refs/heads/main", ""},
		"an id that is no number":       {func(c *jobClaims) { c.RepositoryID = "$(reboot)" }, "main", "", "has no ids"},
		"no owner":                      {func(c *jobClaims) { c.OwnerID = "" }, "main", "", "has no ids"},
		"a quote":                       {func(c *jobClaims) { c.Environment = `it's` }, "main", begin + ` --ref=refs/heads/main --environment='it'\''s'`, ""},
		"a command of a shell":          {func(c *jobClaims) { c.Environment = "$(id)`id`;&|<>" }, "main", begin + " --ref=refs/heads/main --environment='$(id)`id`;&|<>'", ""},
		"a command of the runner":       {func(c *jobClaims) { c.Environment = "##[add-mask]x" }, "main", begin + " --ref=refs/heads/main --environment='#''#[add-mask]x'", ""},
		"an escape of a terminal":       {func(c *jobClaims) { c.Environment = "a\x1b[2Jb" }, "main", "", "--environment would have a value that cannot be shown"},
		"a line break":                  {func(c *jobClaims) { c.Environment = "a\n::error::b" }, "main", "", "cannot be shown"},
		"letters in another direction":  {func(c *jobClaims) { c.Ref = "refs/heads/\u202emain" }, "\u202emain", "", "--ref would have a value that cannot be shown"},
		"a value longer than a policy":  {func(c *jobClaims) { c.Environment = strings.Repeat("e", 501) }, "main", "", "cannot be shown"},
		"a mark for what was not UTF-8": {func(c *jobClaims) { c.Environment = "\ufffd" }, "main", "", "cannot be shown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, check := suggestPolicy(job(test.job), test.branch)
			if got != test.want || !strings.Contains(check, test.check) {
				t.Errorf("suggestPolicy = %q, %q; want %q, and a text with %q", got, check, test.want, test.check)
			}
		})
	}
}

// hostileValues are what somebody who may push calls a branch or an environment.
var hostileValues = []string{
	"it's", `'"'"'`, "$(touch pwned)", "`touch pwned`", "; touch pwned #", "a&b|c>d<e", `back\slash`, "*?[a]", "~root", "##[error]x", "###[group]#[x",
	"</code></pre><script>alert(1)</script>", "```\n", "<!--", "@octocat #1 ![x](y)", "%0A::error::x", "--help", "=x", "é ü 漢字",
}

// A real shell reads the words of the command as they are, and the page shows them so.
func TestHostileNamesStayOneWord(t *testing.T) {
	t.Parallel()
	for _, value := range hostileValues {
		c := jobClaims{Issuer: gitHubIssuer, RepositoryID: "7", OwnerID: "8", Event: "push", Ref: "refs/heads/main", Environment: value}
		command, _ := suggestPolicy(c, "main")
		if !showable(value) {
			if command != "" {
				t.Errorf("environment %q makes a command", value)
			}
			continue
		}
		dir := t.TempDir()
		sh := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\n' `+strings.TrimPrefix(command, "pageflare-license "))
		sh.Dir = dir
		out, err := sh.CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), "\n--environment="+value+"\n") {
			t.Errorf("a shell reads %s as %q, %v", command, out, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s did something: %v, %v", command, left, err)
		}
		if strings.Contains(command, "##[") {
			t.Errorf("the runner takes a command out of %s", command)
		}
		page := summary.Render(summary.Result{Suggestion: &summary.Suggestion{Commands: []string{command}}})
		m := regexp.MustCompile(`(?m)^<pre><code>(.*)</code></pre>$`).FindStringSubmatch(page)
		if m == nil || strings.ContainsAny(m[1], "<>`@[]\\") || html.UnescapeString(m[1]) != command {
			t.Errorf("the summary shows %s as\n%s", command, page)
		}
	}
}

func TestTheUsualEventsAreThoseOfTheService(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile(filepath.Join("..", "docs", "service.md"))
	must(t, err)
	_, text, _ := strings.Cut(string(document), "\n`--event`, only events are allowed")
	text, _, _ = strings.Cut(text, "All others must be named")
	var got []string
	for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff(usualEvents, got); diff != "" {
		t.Errorf("usual events (-action +docs/service.md):\n%s", diff)
	}
}

// strange is a job that the service has no policy for.
func (j *job) strange(claims map[string]any) {
	j.t.Helper()
	issuer, err := githubtest.NewIssuer(githubtest.IssuerConfig{Claims: claims})
	must(j.t, err)
	j.t.Cleanup(issuer.Close)
	for name, v := range issuer.Environment() {
		j.env[name] = v
	}
	j.service = servicetest.Start(j.t, servicetest.Options{Issuers: []string{issuer.URL()}})
	j.input("api-url", j.service.URL)
	j.env["GITHUB_EVENT_PATH"] = j.write("event.json", `{"repository":{"default_branch":"main"}}`)
}

// What the log and the summary show allows the job, and explains it by its request.
func TestARefusedJobShowsWhatLetsItIn(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.strange(map[string]any{"environment": "it's $(id) ##[x]"})
	r := j.run()
	r.wantExit(t, 1)
	add := regexp.MustCompile(`(?m)^pageflare-license policy add --account ID .*$`).FindString(r.log)
	const want = `--repository-id 1296269 --repository-owner-id 1 --repository=acme/site --issuer=http://127.0.0.1:`
	if !strings.Contains(add, want) || !strings.HasSuffix(add, ` --ref=refs/heads/main --environment='it'\''s $(id) #''#[x]'`) {
		t.Errorf("the log suggests %q, want %s… and the environment:\n%s", add, want, r.log)
	}
	explain := regexp.MustCompile(`(?m)^pageflare-license policy explain --request=([A-Z2-7]{26})$`).FindStringSubmatch(r.log)
	if explain == nil {
		t.Fatalf("the log does not explain:\n%s", r.log)
	}
	if _, err := j.service.Parts.Jobs.ExplainRefused(context.WithoutCancel(t.Context()), explain[1], nil); err != nil {
		t.Errorf("ExplainRefused(%s) = %v", explain[1], err)
	}
	shown := html.UnescapeString(r.summary)
	for _, command := range []string{add, explain[0]} {
		if !strings.Contains(shown, "<pre><code>"+command+"</code></pre>") {
			t.Errorf("the summary lacks %s:\n%s", command, r.summary)
		}
	}
	r.wantLog(t, "check that the repository is yours", "the log and the job summary show the command that allows it")
	for line := range strings.Lines(r.log) {
		if strings.Contains(line, "##[") {
			t.Errorf("a line is a command of the old form: %s", line)
		}
	}
}

func TestWhatIsNotSuggested(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(j *job)
		log    string
		absent string
	}{
		"a policy for a run that others steer": {func(j *job) {
			j.env["GITHUB_EVENT_NAME"] = "pull_request_target"
			j.env["GITHUB_EVENT_PATH"] = j.write("event.json", `{"pull_request":{"head":{"repo":{"full_name":"acme/site"}}}}`)
		}, "No policy is suggested for this job: this run was triggered by pull_request_target", "policy add --account"},
		"anything to a guest": {func(j *job) {
			j.env["GITHUB_EVENT_NAME"], j.env["GITHUB_ACTOR"] = "pull_request", "dependabot[bot]"
		}, "runs unlicensed", "--request="},
		"a policy when the audience is wrong": {func(j *job) { j.input("oidc-audience", "https://example.com") },
			"does not accept the identity of this job (401)", "policy add --account"},
		"a request by an id of a hostile server": {func(j *job) {
			j.api(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("X-Request-Id", "$(reboot)")
				w.WriteHeader(http.StatusForbidden)
				_, _ = w.Write([]byte(`{"error":"Forbidden","code":"policy_denied","message":"no"}`))
			})
		}, "policy add --account ID", "policy explain --request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.strange(nil)
			c.change(j)
			r := j.run()
			r.wantLog(t, c.log)
			if strings.Contains(r.log+r.summary, c.absent) {
				t.Errorf("%q is suggested:\n%s\n%s", c.absent, r.log, r.summary)
			}
		})
	}
}
