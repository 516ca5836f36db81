package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// Each faulty input: the error names it, says what is wrong and what to do, the exit status is 2, and nothing was touched.
func TestFaultyInputsStopBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  func(j *job)
		want []string
	}{
		"a word for a token":                {func(j *job) { j.input("token", "hunter2hunter2") }, []string{"input token: not a license token", "token issue"}},
		"an API token for a token":          {func(j *job) { j.input("token", "pf_at_"+strings.Repeat("x", 36)) }, []string{"input token: this is an API token"}},
		"a token cut short":                 {func(j *job) { j.input("token", foreignToken(t, "user_x", time.Now().Add(time.Hour))[:60]) }, []string{"input token: not a license token"}},
		"a token in quotes":                 {func(j *job) { j.input("token", `"`+foreignToken(t, "user_x", time.Now().Add(time.Hour))+`"`) }, []string{"without quotes"}},
		"a token with a line break":         {func(j *job) { j.input("token", "e30.e30\n.e30") }, []string{"input token:"}},
		"an unsigned token":                 {func(j *job) { j.input("token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1In0.") }, []string{"algorithm not allowed"}},
		"a token longer than a secret":      {func(j *job) { j.input("token", strings.Repeat("e30.", 13000)) }, []string{"token too large"}},
		"api-url without a scheme":          {func(j *job) { j.input("api-url", "license.example.com/_api") }, []string{"input api-url", "https://"}},
		"api-url of another scheme":         {func(j *job) { j.input("api-url", "ftp://license.example.com") }, []string{"input api-url"}},
		"api-url with a password":           {func(j *job) { j.input("api-url", "https://me:hunter2@license.example.com/_api") }, []string{"input api-url"}},
		"a duration without a unit":         {func(j *job) { j.input("refresh-before", "7") }, []string{"input refresh-before", "7d"}},
		"a duration that is negative":       {func(j *job) { j.input("refresh-before", "-1d") }, []string{"input refresh-before"}},
		"a share above 100 percent":         {func(j *job) { j.input("refresh-before", "120%") }, []string{"input refresh-before"}},
		"a secret name with a hyphen":       {func(j *job) { j.input("secret-name", "MY-TOKEN") }, []string{"input secret-name", "MY-TOKEN"}},
		"a secret name of GitHub's":         {func(j *job) { j.input("secret-name", "GITHUB_TOKEN") }, []string{"input secret-name", "GITHUB_"}},
		"a secret name with a digit":        {func(j *job) { j.input("secret-name", "1TOKEN") }, []string{"input secret-name"}},
		"an unknown target":                 {func(j *job) { j.input("secret-targets", "moon") }, []string{"input secret-targets", "moon", "repository"}},
		"an unknown mode":                   {func(j *job) { j.input("mode", "optimise") }, []string{`input mode: "optimise" is not known; give optimize, refresh-only or check`}},
		"an unknown fail-on":                {func(j *job) { j.input("fail-on", "always") }, []string{`input fail-on: "always" is not known; give never, expired or any`}},
		"a summary that is not a choice":    {func(j *job) { j.input("summary", "yes") }, []string{`input summary: "yes" is not known; give true or false`}},
		"an export-token that is no choice": {func(j *job) { j.input("export-token", "1") }, []string{`input export-token: "1" is not known; give true or false`}},
		"a max-size that is no size":        {func(j *job) { j.input("max-size", "big") }, []string{`input max-size: "big" is not a size`, "500KB"}},
		"a number of jobs that is none":     {func(j *job) { j.input("job-total", "many") }, []string{`input job-total: "many" is not a number of jobs`}},
		"a max-size of nothing":             {func(j *job) { j.input("max-size", "0") }, []string{"input max-size"}},
		"a max-size that is negative":       {func(j *job) { j.input("max-size", "-5MB") }, []string{"input max-size"}},
		"certificates that are missing":     {func(j *job) { j.input("ca-certificates", "none.pem") }, []string{"input ca-certificates", "none.pem"}},
		"certificates that are none":        {func(j *job) { j.input("ca-certificates", "dist/index.html") }, []string{"input ca-certificates: it holds no certificate"}},
		"a repository that is no name":      {func(j *job) { j.env["GITHUB_REPOSITORY"] = "acme/site/../other" }, []string{"GITHUB_REPOSITORY"}},
		"a source that is missing":          {func(j *job) { j.input("source", "build") }, []string{`source "build"`, "input source"}},
		"a source that is a file":           {func(j *job) { j.input("source", "dist/index.html") }, []string{`source "dist/index.html"`}},
		"a source outside the workspace":    {func(j *job) { j.input("source", "../tmp") }, []string{`source "../tmp"`, "outside"}},
		"a source that is empty":            {func(j *job) { must(t, os.Mkdir(filepath.Join(j.ws, "empty"), 0o755)); j.input("source", "empty") }, []string{`source "empty"`, "empty"}},
		"the workspace as source":           {func(j *job) { j.input("source", ".") }, []string{"the workspace itself"}},
		"a symlink out of the source": {func(j *job) {
			must(t, os.Symlink("/etc/passwd", filepath.Join(j.ws, "dist", "users.txt")))
		}, []string{"users.txt", "/etc/passwd"}},
		"an output inside the source": {func(j *job) { j.input("output", "dist/out") }, []string{"output", "inside"}},
		"an output that is a parent":  {func(j *job) { j.input("output", ".") }, []string{"output"}},
		"arguments with an open quote": {func(j *job) { j.input("optimizer-args", `--platform "vercel`) },
			[]string{"optimizer-args"}},
		"arguments that empty the source": {func(j *job) { j.input("optimizer-args", "--clean-output") }, []string{"optimizer-args", "--clean-output"}},
		"an optimizer that is missing":    {func(j *job) { j.input("optimizer-path", "/none/pageflare") }, []string{"/none/pageflare", "optimizer-path"}},
		"an optimizer that cannot be run": {func(j *job) { j.input("optimizer-path", filepath.Join(j.ws, "dist", "index.html")) }, []string{"optimizer-path"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			c.set(j)
			before := tree(t, j.ws)
			r := j.run()
			r.wantExit(t, 2)
			r.wantLog(t, append(c.want, "::error::")...)
			if strings.Contains(r.log, "panic") || strings.Contains(r.log, "hunter2@") || countOf(r.log, "::error::") != 1 {
				t.Errorf("want one error, no panic and no password:\n%s", r.log)
			}
			if diff := cmp.Diff(before, tree(t, j.ws)); diff != "" {
				t.Errorf("something was touched:\n%s", diff)
			}
			if n := len(j.github.Requests()); n != 0 {
				t.Errorf("%d calls to GitHub", n)
			}
		})
	}
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.input("mode", "optimize").input("token", "x").input("api-url", "x").input("refresh-before", "x").input("secret-name", "x-y")
	j.input("secret-targets", "x").input("fail-on", "x").input("summary", "x").input("source", "x").input("optimizer-args", "'")
	r := j.run()
	r.wantExit(t, 2)
	for _, name := range []string{"token", "api-url", "refresh-before", "secret-name", "secret-targets", "fail-on", "summary", "source", "optimizer-args"} {
		if !strings.Contains(r.log, name) {
			t.Errorf("the error does not name %s:\n%s", name, r.log)
		}
	}
}

// metadata is action.yml.
type metadata struct {
	Inputs map[string]struct {
		Description string `yaml:"description"`
		Default     string `yaml:"default"`
		Required    bool   `yaml:"required"`
	} `yaml:"inputs"`
	Outputs map[string]struct {
		Description string `yaml:"description"`
	} `yaml:"outputs"`
}

func readMetadata(t *testing.T) metadata {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "action.yml"))
	must(t, err)
	var m metadata
	must(t, yaml.Unmarshal(b, &m))
	return m
}

func TestActionYAMLSaysWhatTheProgramReads(t *testing.T) {
	t.Parallel()
	asked := map[string]bool{}
	in := Inputs{Input: func(name string) string { asked[name] = true; return "" }, Getenv: func(string) string { return "" }}
	in.Secrets()
	in.HTTP = new(http.Client)  // never used
	_, _ = in.Config(os.Stderr) // what is read counts, not what is wrong with it
	m := readMetadata(t)
	for name, input := range m.Inputs {
		if !asked[name] {
			t.Errorf("action.yml has input %s, which the program never reads", name)
		}
		if name == "job-total" {
			if input.Default != "${{ strategy.job-total }}" {
				t.Errorf("action.yml: input job-total has default %q, which the runner does not fill in", input.Default)
			}
			continue
		}
		if input.Default != defaults[name] || input.Description == "" || input.Required {
			t.Errorf("action.yml: input %s has default %q, description %q, required %t; the program has default %q", name, input.Default, input.Description,
				input.Required, defaults[name])
		}
	}
	for name := range asked {
		if _, ok := m.Inputs[name]; !ok {
			t.Errorf("the program reads input %s, which is not in action.yml", name)
		}
	}
}

func TestActionYAMLSaysWhichOutputsAreSet(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	set := j.run().outputs
	m := readMetadata(t)
	for name, o := range m.Outputs {
		if _, ok := set[name]; !ok || o.Description == "" {
			t.Errorf("action.yml has output %s (%q), which a full run does not set", name, o.Description)
		}
	}
	for name := range set {
		if _, ok := m.Outputs[name]; !ok {
			t.Errorf("a run sets output %s, which is not in action.yml", name)
		}
	}
}
