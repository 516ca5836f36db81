package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/token"
)

// The tests run the real program: this test binary, started again as `pageflare-action` by a runner
// of ours.
const asProgram = "PAGEFLARE_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "1" {
		w := newWorld()
		w.spread = 0 // nobody to wait for
		w.wait = func(ctx context.Context, d time.Duration) error { return sleep(ctx, d/100) }
		os.Exit(w.start())
	}
	os.Exit(m.Run())
}

const (
	repoName  = "acme/site"
	writerPAT = "github_pat_for_tests"
	weakPAT   = "github_pat_that_only_reads"
	jobToken  = "ghs_token_of_the_job"
	appToken  = "ghs_token_of_an_app" // that may write secrets
	weakApp   = "ghs_token_of_an_app_that_may_not"
	oldSecret = "what the secret held before"
)

// job is one step of a workflow: a workspace with a site, a fake GitHub, a real License service.
type job struct {
	t       *testing.T
	dir     string // holds all the rest
	ws      string
	github  *githubtest.Server
	service *servicetest.Service
	account string
	env     map[string]string
}

func newJob(t *testing.T) *job {
	t.Helper()
	j := &job{t: t, dir: t.TempDir(), env: map[string]string{}}
	j.ws = filepath.Join(j.dir, "ws")
	writeSite(t, filepath.Join(j.ws, "dist"))
	secrets := func(level string) map[string]string { return map[string]string{"secrets": level, "metadata": "read"} }
	j.github = githubtest.Start(t, githubtest.Config{
		Repositories: []githubtest.Repository{{ID: 1296269, Owner: "acme", Name: "site"}},
		Tokens: []githubtest.Token{
			{Value: writerPAT, Permissions: secrets("write")},
			{Value: weakPAT, Permissions: secrets("read")},
			{Value: jobToken, Permissions: map[string]string{"metadata": "read", "contents": "read"}, GitHubToken: true},
			{Value: appToken, Permissions: secrets("write")},
			{Value: weakApp, Permissions: map[string]string{"metadata": "read"}, GitHubToken: true},
		},
	})
	j.service = servicetest.Start(t, servicetest.Options{})
	a, _ := j.service.Account(t, "dev@example.com")
	j.account = a.ID
	for _, name := range []string{"output", "summary", "env"} {
		j.write(name, "")
	}
	maps.Copy(j.env, map[string]string{
		asProgram: "1", "PATH": os.Getenv("PATH"), "HOME": j.dir, "TMPDIR": j.mkdir("tmp"), "GITHUB_ACTIONS": "true", "CI": "true",
		"GITHUB_WORKSPACE": j.ws, "GITHUB_REPOSITORY": repoName, "GITHUB_API_URL": j.github.URL(), "GITHUB_EVENT_NAME": "push",
		"GITHUB_OUTPUT": filepath.Join(j.dir, "output"), "GITHUB_STEP_SUMMARY": filepath.Join(j.dir, "summary"), "GITHUB_ENV": filepath.Join(j.dir, "env"),
		"INPUT_API-URL": j.service.URL, "INPUT_GITHUB-TOKEN": writerPAT, "INPUT_JOB-TOKEN": jobToken, "INPUT_OPTIMIZER-PATH": optimizer(t),
		"AWS_SECRET_ACCESS_KEY": "a-secret-of-another-step",
		"GORACE":                "atexit_sleep_ms=0", // the race detector would keep each process for a second longer
	})
	return j
}

// optimizer is the real CLI, which make installs.
func optimizer(t *testing.T) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join("optimize", "cli", "node_modules", "@pageflare", "cli-linux-x64", "bin", "pageflare"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("the optimizer is not installed: run make optimizer: %v", err)
	}
	return p
}

func writeSite(t *testing.T, dir string) {
	t.Helper()
	for name, text := range map[string]string{
		"index.html":               "<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Home</title>\n  <link rel=\"stylesheet\" href=\"/css/site.css\">\n</head>\n<body>\n  <!-- a remark -->\n  <h1>Home</h1>\n</body>\n</html>\n",
		"css/site.css":             "body {\n  color: #000000;\n}\n\n.unused {\n  color: red;\n}\n",
		".nojekyll":                "",
		".well-known/security.txt": "Contact: mailto:security@example.com\n",
	} {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, []byte(text), 0o644))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (j *job) write(name, text string) string {
	j.t.Helper()
	p := filepath.Join(j.dir, name)
	must(j.t, os.WriteFile(p, []byte(text), 0o755))
	return p
}

// fakeCLI is a program in place of the optimizer, in a folder that the sandbox lets it read.
func (j *job) fakeCLI(script string) string {
	j.t.Helper()
	j.mkdir("bin")
	return j.write("bin/fake-cli", script)
}

func (j *job) mkdir(name string) string {
	j.t.Helper()
	p := filepath.Join(j.dir, name)
	must(j.t, os.MkdirAll(p, 0o755))
	return p
}

// input sets an input as a runner does.
func (j *job) input(name, value string) *job {
	j.env["INPUT_"+strings.ToUpper(name)] = value
	return j
}

// licensed gives the job a license token that lives for ttl, in the environment.
func (j *job) licensed(ttl time.Duration) string {
	j.t.Helper()
	t := j.service.IssueToken(j.t, j.account, ttl)
	j.env["PAGEFLARE_TOKEN"] = t
	return t
}

// command is the program, ready to start.
func (j *job) command(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	for k, v := range j.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Dir = j.ws
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	return cmd, &log
}

// result is what a run left behind.
type result struct {
	exit    int
	log     string
	outputs map[string]string
	summary string
	report  jsonReport
}

// run runs the Action to its end.
func (j *job) run() result {
	j.t.Helper()
	cmd, log := j.command(j.t.Context())
	_ = cmd.Run() // the exit status is in the result
	return j.result(cmd, log)
}

func (j *job) result(cmd *exec.Cmd, log *bytes.Buffer) result {
	j.t.Helper()
	r := result{exit: cmd.ProcessState.ExitCode(), log: log.String(), outputs: map[string]string{}}
	for _, m := range outputForm.FindAllStringSubmatch(j.read("output"), -1) {
		r.outputs[m[1]] = m[2]
	}
	r.summary = j.read("summary")
	if b, err := os.ReadFile(filepath.Join(j.ws, reportName)); err == nil {
		must(j.t, json.Unmarshal(b, &r.report))
		wantSchema(j.t, b)
	}
	if left, err := os.ReadDir(filepath.Join(j.dir, "tmp")); err != nil || len(left) > 0 {
		j.t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
	j.noSecretIn(r)
	return r
}

var outputForm = regexp.MustCompile(`(?m)^([a-z-]+)<<_GitHubActionsFileCommandDelimeter_\n(.*)\n_GitHubActionsFileCommandDelimeter_$`)

func (j *job) read(name string) string {
	j.t.Helper()
	b, err := os.ReadFile(filepath.Join(j.dir, name))
	must(j.t, err)
	return string(b)
}

// noSecretIn hunts for every secret of the job in everything that people see: what the runner would
// not mask is a leak.
func (j *job) noSecretIn(r result) {
	j.t.Helper()
	secrets := []string{j.env["PAGEFLARE_TOKEN"], j.env["INPUT_TOKEN"], j.env["INPUT_GITHUB-TOKEN"], j.env["INPUT_JOB-TOKEN"], j.env["AWS_SECRET_ACCESS_KEY"]}
	if stored, _, ok := j.github.Secret(repoName, "PAGEFLARE_TOKEN"); ok {
		secrets = append(secrets, stored)
	}
	report, _ := os.ReadFile(filepath.Join(j.ws, reportName))
	for _, s := range secrets {
		if len(s) < 12 {
			continue
		}
		places := map[string]string{"log": masked(r.log), "outputs": j.read("output"), "summary": r.summary, "report": string(report)}
		if j.env["INPUT_EXPORT-TOKEN"] != "true" { // there it belongs, and its tests look
			places["environment file"] = j.read("env")
		}
		for where, text := range places {
			if strings.Contains(text, s) || strings.Contains(text, s[len(s)-12:]) {
				j.t.Errorf("a secret is in the %s:\n%s", where, text)
			}
		}
	}
}

// masked is the log as the runner shows it: what add-mask names is hidden from then on.
func masked(log string) string {
	var out []string
	var hide []string
	for line := range strings.SplitSeq(log, "\n") {
		if s, ok := strings.CutPrefix(line, "::add-mask::"); ok {
			hide = append(hide, s)
			continue
		}
		for _, s := range hide {
			line = strings.ReplaceAll(line, s, "***")
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// stored is what the secret holds.
func (j *job) stored() string {
	j.t.Helper()
	s, _, _ := j.github.Secret(repoName, "PAGEFLARE_TOKEN")
	return s
}

func (r result) wantExit(t *testing.T, want int) {
	t.Helper()
	if r.exit != want {
		t.Fatalf("exit = %d, want %d; log:\n%s", r.exit, want, r.log)
	}
}

func (r result) wantOutputs(t *testing.T, want map[string]string) {
	t.Helper()
	for name, v := range want {
		if r.outputs[name] != v {
			t.Errorf("output %s = %q, want %q", name, r.outputs[name], v)
		}
	}
}

func (r result) wantLog(t *testing.T, want ...string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(r.log, s) {
			t.Errorf("the log lacks %q:\n%s", s, r.log)
		}
	}
}

// optimized says whether the site was rewritten: the CLI leaves its name in each page.
func (j *job) optimized() bool {
	j.t.Helper()
	b, err := os.ReadFile(filepath.Join(j.ws, "dist", "index.html"))
	must(j.t, err)
	return strings.Contains(string(b), `content="Pageflare`)
}

// wantWhole fails unless the workspace holds the site, whole, and nothing else but the report.
func (j *job) wantWhole(optimized bool) {
	j.t.Helper()
	entries, err := os.ReadDir(j.ws)
	must(j.t, err)
	for _, e := range entries {
		if e.Name() != "dist" && e.Name() != reportName {
			j.t.Errorf("left in the workspace: %s", e.Name())
		}
	}
	for _, name := range []string{"index.html", "css/site.css", ".nojekyll", ".well-known/security.txt"} {
		if _, err := os.Stat(filepath.Join(j.ws, "dist", name)); err != nil {
			j.t.Errorf("the site lost %s: %v", name, err)
		}
	}
	if got := j.optimized(); got != optimized {
		j.t.Errorf("optimized = %t, want %t", got, optimized)
	}
}

// tree is every file of a folder with its content, for comparing.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = string(b)
		return err
	}))
	return out
}

// signer makes tokens of another License API.
func signer(t *testing.T) *token.KeySet {
	t.Helper()
	s, err := token.NewKeySet(token.Key{ID: "k_foreign", Secret: bytes.Repeat([]byte{7}, 32)})
	must(t, err)
	return s
}

func foreignToken(t *testing.T, subject string, exp time.Time) string {
	t.Helper()
	raw, err := signer(t).Sign(token.Claims{
		Subject: subject, Email: "x@example.com", Tier: "pro", ValidUntil: exp.AddDate(1, 0, 0), IssuedAt: exp.AddDate(-1, 0, 0), ExpiresAt: exp, ID: "x",
	})
	must(t, err)
	return raw
}

func countOf(s, sub string) int { return len(slices.Collect(strings.SplitSeq(s, sub))) - 1 }

// hostileToken is a token whose claims try to break out of wherever they are written.
func hostileToken(t *testing.T) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	now := time.Now()
	// made by hand: our own signer refuses such claims
	signed := part(map[string]string{"alg": "HS256", "typ": "JWT", "kid": "k_1"}) + "." + part(map[string]any{
		"sub": "user_x\n::error::x", "email": "x\n::error::x", "tier": "pro\n_GitHubActionsFileCommandDelimeter_\ninjected=1\nx<<y<script>",
		"features": []string{}, "valid_until": now.AddDate(1, 0, 0).UTC().Format("2006-01-02T15:04:05.000Z"),
		"iat": now.Add(-time.Hour).Unix(), "exp": now.AddDate(0, 6, 0).Unix(), "jti": "x",
	})
	mac := hmac.New(sha256.New, []byte("a key of somebody else"))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
