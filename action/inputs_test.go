package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// Each faulty input: the error names it, says what is wrong and what to do, the exit status is 2,
// and nothing was touched.
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
		"a max-size with an exponent":       {func(j *job) { j.input("max-size", "1e3") }, []string{`input max-size: "1e3" is not a size`}},
		"a max-size with an underscore":     {func(j *job) { j.input("max-size", "1_000") }, []string{`input max-size: "1_000" is not a size`}},
		"a max-size in another base":        {func(j *job) { j.input("max-size", "0x1_0p4") }, []string{`input max-size: "0x1_0p4" is not a size`}},
		"certificates that are missing":     {func(j *job) { j.input("ca-certificates", "none.pem") }, []string{"input ca-certificates", "none.pem"}},
		"certificates that are none":        {func(j *job) { j.input("ca-certificates", "dist/index.html") }, []string{"input ca-certificates: it holds no certificate"}},
		"a repository that is no name":      {func(j *job) { j.env["GITHUB_REPOSITORY"] = "acme/site/../other" }, []string{"GITHUB_REPOSITORY"}},
		"a repository that is environment":  {func(j *job) { j.env["GITHUB_REPOSITORY"] = "acme" }, []string{`environment GITHUB_REPOSITORY: repository "acme": want OWNER/NAME`}},
		"a GitHub API that is no URL":       {func(j *job) { j.env["GITHUB_API_URL"] = "api.github.com" }, []string{"environment GITHUB_API_URL: github api url: want an absolute http(s) URL"}},
		"a workspace that is missing":       {func(j *job) { j.env["GITHUB_WORKSPACE"] = filepath.Join(j.dir, "none") }, []string{`environment GITHUB_WORKSPACE: workspace "`}},
		"a github-token of two words":       {func(j *job) { j.licensed(30 * dayLong); j.input("github-token", "two words") }, []string{"input github-token: has a space, a line break"}},
		"a github-token with a line break":  {func(j *job) { j.input("github-token", "github_pat\nwith_break") }, []string{"input github-token: has a space, a line break"}},
		"the job's own token": {func(j *job) { j.licensed(30 * dayLong); j.input("github-token", jobToken) },
			[]string{"input github-token: this is the job's own GITHUB_TOKEN, which can never write secrets", "fine-grained personal access token", "app-id and app-private-key"}},
		"an audience of two words":     {func(j *job) { j.input("oidc-audience", "my service") }, []string{`input oidc-audience: "my service" is not an audience`}},
		"an audience that is too long": {func(j *job) { j.input("oidc-audience", strings.Repeat("a", 2000)) }, []string{"input oidc-audience: \"aaa"}},
		"two bad targets":              {func(j *job) { j.input("secret-targets", "moon, mars") }, []string{`input secret-targets: target "moon"`, `input secret-targets: target "mars"`}},
		"many bad targets":             {func(j *job) { j.input("secret-targets", strings.Repeat("moon,", 100)+"repository") }, []string{"%0Aand 95 more: see the log"}},
		"two bad arguments":            {func(j *job) { j.input("optimizer-args", "--json dist") }, []string{"input optimizer-args: --json is not allowed", `input optimizer-args: "dist" is not a flag`}},
		"an App of which all is wrong": {func(j *job) {
			j.input("github-token", "").input("app-id", "my app").input("app-private-key", "hunter2")
		}, []string{"input app-id: want", "%0Ainput app-private-key: not a private key"}},
		"a source that is missing":       {func(j *job) { j.input("source", "build") }, []string{`source "build"`, "input source"}},
		"a source that is a file":        {func(j *job) { j.input("source", "dist/index.html") }, []string{`source "dist/index.html"`}},
		"a source outside the workspace": {func(j *job) { j.input("source", "../tmp") }, []string{`source "../tmp"`, "outside"}},
		"a source that is empty":         {func(j *job) { must(t, os.Mkdir(filepath.Join(j.ws, "empty"), 0o755)); j.input("source", "empty") }, []string{`source "empty"`, "empty"}},
		"the workspace as source":        {func(j *job) { j.input("source", ".") }, []string{"the workspace itself"}},
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

// GitHub cuts an annotation at 4,096 letters: what one input holds must not push the faults of the
// others out.
func TestALongValueLeavesRoomForTheOtherFaults(t *testing.T) {
	t.Parallel()
	for _, long := range []string{strings.Repeat("x", 6000), strings.Repeat("x y ", 1500), strings.Repeat(`"`, 6000), strings.Repeat("é\n", 3000)} {
		j := newJob(t)
		names := []string{"mode", "refresh-before", "secret-name", "secret-targets", "fail-on", "summary", "export-token", "max-size", "job-total", "ca-certificates",
			"output", "optimizer-path"}
		for _, name := range names {
			j.input(name, long)
		}
		j.env["GITHUB_REPOSITORY"] = long
		r := j.input("mode", long).input("source", "gone").run()
		r.wantExit(t, 2)
		_, annotation, _ := strings.Cut(r.log, "::error::")
		if len(annotation) > 4000 {
			t.Errorf("the annotation has %d letters:\n%s", len(annotation), annotation)
		}
		for _, name := range names[:10] { // the folders are checked in mode optimize alone
			if !strings.Contains(annotation, "input "+name) {
				t.Errorf("the annotation does not name %s:\n%s", name, annotation)
			}
		}
	}
}

// Which file it is stands at the end of a path.
func TestALongPathIsShownWithItsEnd(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	folder := filepath.Join("_next", "static", "chunks", "app", "(dashboard)", "settings", "[team]", "members", "a-rather-long-name-of-a-folder")
	must(t, os.MkdirAll(filepath.Join(j.ws, "dist", folder), 0o755))
	for _, name := range []string{"one.css", "two.css"} {
		must(t, os.Symlink("/etc/passwd", filepath.Join(j.ws, "dist", folder, name)))
	}
	r := j.run()
	r.wantExit(t, 2)
	r.wantLog(t, `/one.css" is a link to "/etc/passwd"`)
	r.wantLog(t, `/two.css" is a link to "/etc/passwd"`)
}

// People paste a token into the wrong input. Nothing has masked it there.
func TestATokenInTheWrongInputIsNotShown(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{
		"a license token":       foreignToken(t, "user_x", time.Now().Add(time.Hour)),
		"a classic token":       "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
		"a fine-grained token":  "github_pat_11ABCDEFG0_abcdefghijklmnopqrstuvwxyz",
		"an installation token": "ghs_12345_eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1In0.c2lnbmF0dXJl",
		"an API token":          "pf_at_abcdefghijklmnopqrstuvwxyz",
		"an admin token":        "pf_adm_abcdefghijklmnopqrstuvwxyz",
		"a private key":         appPEM(),
		"a key in base64":       base64.StdEncoding.EncodeToString([]byte(appPEM())),
	}
	for name, s := range secrets {
		for _, input := range []string{"api-url", "refresh-before", "secret-name", "secret-targets", "app-id", "oidc-audience", "mode", "source", "output", "optimizer-args",
			"optimizer-path", "fail-on", "max-size", "job-total", "summary", "export-token"} {
			for _, value := range []string{s, "x\n" + s, "environment:" + s} {
				var log bytes.Buffer
				env := map[string]string{"GITHUB_WORKSPACE": t.TempDir(), "GITHUB_REPOSITORY": s}
				in := Inputs{Getenv: func(name string) string { return env[name] }, HTTP: &http.Client{}, Input: func(name string) string {
					return map[string]string{input: value}[name]
				}}
				_, err := in.Config(&log)
				if err == nil {
					t.Errorf("%s in %s is no fault", name, input)
					continue
				}
				if text := err.Error() + log.String(); strings.Contains(text, s[3:20]) || strings.Contains(text, s[len(s)-13:len(s)-1]) {
					t.Errorf("%s in %s is shown: %s", name, input, text)
				}
			}
		}
	}
	for _, harmless := range []string{"PAGEFLARE_TOKEN", "laughs_at_you", "eye", "gh-pages", "environment:prod"} {
		if looksSecret(harmless) {
			t.Errorf("%q is taken for a secret", harmless)
		}
	}
}

func TestATokenIsNoNameOfASecret(t *testing.T) {
	t.Parallel()
	for input, value := range map[string]string{
		"secret-name": "ghp_abcdefghijklmnopqrstuvwxyz", "secret-targets": "environment:ghp_abcdefghijklmnopqrstuvwxyz", "oidc-audience": "ghp_abcdefghijklmnopqrstuvwxyz",
		"output": "ghp_abcdefghijklmnopqrstuvwxyz", "app-id": "ghp_abcdefghijklmnopqrstuvwxyz",
	} {
		r := newJob(t).input(input, value).run()
		r.wantExit(t, 2)
		r.wantLog(t, "input "+input+": holds what looks like a token or a private key")
		if strings.Contains(r.log, "ghp_") {
			t.Errorf("it is shown:\n%s", r.log)
		}
	}
}

// GitHub cuts an annotation at 4,096 letters without a sign.
func TestFaultsThatDoNotFitIntoAnAnnotationAreInTheLog(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	for i := range 20 {
		must(t, os.Symlink("/etc/passwd", filepath.Join(j.ws, "dist", strings.Repeat("##[error]\n::error::", 10)+string(rune('a'+i)))))
	}
	r := j.run()
	r.wantExit(t, 2)
	var annotation []rune
	inLog := 0
	for line := range strings.SplitSeq(r.log, "\n") {
		if text, ok := strings.CutPrefix(line, "::error::"); ok {
			annotation = []rune(strings.ReplaceAll(text, "%0A", "\n"))
		} else if strings.HasPrefix(line, `- input source "dist": `) && !strings.Contains(line, "##[") {
			inLog++
		}
	}
	shown := strings.Count(string(annotation), `source "dist": `)
	if len(annotation) > 4096 || shown == 0 || inLog < 20 || !strings.HasSuffix(string(annotation), fmt.Sprintf("\nand %d more: see the log", inLog-shown)) {
		t.Errorf("the annotation has %d letters and %d faults, the log %d:\n%s", len(annotation), shown, inLog, r.log)
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

// filledIn are the inputs that the runner fills in, and by what.
var filledIn = map[string]string{"job-total": "${{ strategy.job-total }}", "job-token": "${{ github.token }}"}

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
		if by, ok := filledIn[name]; ok {
			if input.Default != by || input.Description == "" {
				t.Errorf("action.yml: input %s has default %q, description %q; the runner fills in %s", name, input.Default, input.Description, by)
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
