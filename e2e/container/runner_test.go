//go:build e2e

package container_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// step is one run of the Action as GitHub's runner starts a container action: the runner mounts
// workspace, home, event and command files below /github, sets the folder, HOME and the variables,
// gives each input as INPUT_ and its name in upper case, and lets values travel by the environment
// of the client, not on its command line.
type step struct {
	t      *testing.T
	dir    string // home, workflow and commands
	ws     string
	inputs map[string]string // over the defaults of action.yml
	env    map[string]string // over the variables of the runner
	event  string            // what triggered the run, JSON

	world *world // nil: no network
}

func newStep(t *testing.T) *step {
	t.Helper()
	return &step{t: t, dir: t.TempDir(), ws: newWorkspace(t), inputs: map[string]string{}, env: map[string]string{},
		event: `{"repository":{"full_name":"` + repository + `"}}`}
}

// result is what a step leaves behind.
type result struct {
	t       *testing.T
	exit    int
	log     string // as the runner shows it: masked
	outputs map[string]string
	summary string
	report  string
}

// run runs the step to its end.
func (s *step) run() result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var log bytes.Buffer
	cmd := s.command(ctx, &log)
	_ = cmd.Run() // the exit status is in the result
	return s.result(cmd, log.String())
}

// command is the step, ready to start. When ctx ends it is cancelled as by a runner: SIGINT to the
// client, and an end by force 10 seconds later.
func (s *step) command(ctx context.Context, log io.Writer) *exec.Cmd {
	s.t.Helper()
	for _, name := range []string{"output", "summary", "env", "path", "state"} {
		write(s.t, filepath.Join(s.dir, "commands", name), "")
	}
	write(s.t, filepath.Join(s.dir, "workflow", "event.json"), s.event)
	must(s.t, os.MkdirAll(filepath.Join(s.dir, "home"), 0o755))
	args := []string{"run", "--rm", "--name", containerName(s.t), "--network", s.network(), "--workdir", "/github/workspace",
		"--volume", filepath.Join(s.dir, "home") + ":/github/home", "--volume", filepath.Join(s.dir, "workflow") + ":/github/workflow",
		"--volume", filepath.Join(s.dir, "commands") + ":/github/file_commands", "--volume", s.ws + ":/github/workspace"}
	variables := s.variables()
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		args = append(args, "--env", name)
	}
	cmd := exec.CommandContext(ctx, "docker", append(args, actionImage)...)
	cmd.Env = os.Environ()
	for name, value := range variables {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func (s *step) network() string {
	if s.world == nil {
		return "none"
	}
	return "host" // the fake GitHub and the service listen on loopback
}

// variables are those of the runner, of the step, and of its inputs. The runner sets every input of
// action.yml, with its default, so one that is not given arrives as an empty string.
func (s *step) variables() map[string]string {
	s.t.Helper()
	all := runnerVariables()
	var manifest struct {
		Inputs map[string]struct{ Default string }
	}
	must(s.t, yaml.Unmarshal([]byte(read(s.t, filepath.Join(repositoryRoot(s.t), "action.yml"))), &manifest))
	for name, input := range manifest.Inputs {
		all[inputVariable(name)] = strings.NewReplacer("${{ strategy.job-total }}", "1", "${{ github.token }}", jobToken).Replace(input.Default)
	}
	for name, value := range s.inputs {
		if _, declared := manifest.Inputs[name]; !declared {
			s.t.Fatalf("action.yml has no input %s", name)
		}
		all[inputVariable(name)] = value
	}
	maps.Copy(all, s.env)
	return all
}

// jobToken is the GITHUB_TOKEN of the job, which the runner fills in.
const jobToken = "ghs_token_of_the_job"

func inputVariable(name string) string {
	return "INPUT_" + strings.ToUpper(strings.ReplaceAll(name, " ", "_"))
}

func runnerVariables() map[string]string {
	return map[string]string{
		"HOME": "/github/home", "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "/github/workspace",
		"GITHUB_EVENT_PATH": "/github/workflow/event.json", "GITHUB_EVENT_NAME": "push",
		"GITHUB_OUTPUT": "/github/file_commands/output", "GITHUB_STEP_SUMMARY": "/github/file_commands/summary",
		"GITHUB_ENV": "/github/file_commands/env", "GITHUB_PATH": "/github/file_commands/path", "GITHUB_STATE": "/github/file_commands/state",
		"GITHUB_REPOSITORY": repository, "GITHUB_REPOSITORY_ID": "1296269", "GITHUB_REPOSITORY_OWNER": "acme", "GITHUB_REPOSITORY_OWNER_ID": "583231",
		"GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "branch", "GITHUB_SHA": "0123456789abcdef0123456789abcdef01234567",
		"GITHUB_ACTOR": "octocat", "GITHUB_WORKFLOW": "deploy", "GITHUB_JOB": "build", "GITHUB_ACTION": "optimize",
		"GITHUB_RUN_ID": "42", "GITHUB_RUN_NUMBER": "7", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_SERVER_URL": "https://github.com",
		// nobody listens there: a step without a world must not need GitHub
		"GITHUB_API_URL": "http://127.0.0.1:9", "GITHUB_GRAPHQL_URL": "http://127.0.0.1:9/graphql",
		"RUNNER_OS": "Linux", "RUNNER_ARCH": "X64", "RUNNER_NAME": "e2e", "RUNNER_ENVIRONMENT": "github-hosted",
		"RUNNER_TEMP": "/home/runner/work/_temp", "RUNNER_TOOL_CACHE": "/opt/hostedtoolcache",
	}
}

// result reads what the step left, and holds what is true of every run: nothing of it is left lying
// about, all files belong to the owner of the workspace, and no secret can be seen.
func (s *step) result(cmd *exec.Cmd, log string) result {
	s.t.Helper()
	if cmd.ProcessState == nil {
		s.t.Fatalf("the engine did not start: %v", cmd.Err)
	}
	r := result{t: s.t, exit: cmd.ProcessState.ExitCode(), log: masked(log), outputs: map[string]string{}}
	for _, m := range outputForm.FindAllStringSubmatch(read(s.t, filepath.Join(s.dir, "commands", "output")), -1) {
		r.outputs[m[1]] = m[3]
	}
	r.summary = read(s.t, filepath.Join(s.dir, "commands", "summary"))
	if path := r.outputs["report-path"]; path != "" {
		r.report = read(s.t, filepath.Join(s.ws, path))
	}
	s.wantTidy(r)
	if s.world != nil {
		s.world.wantNoSecretIn(s.t, s.visible(r))
	}
	return r
}

// outputForm is one output in its file: name<<word, value, word.
var outputForm = regexp.MustCompile(`(?m)^([a-z-]+)<<(\S+)\n(.*)\n\S+$`)

// wantTidy fails for what does not belong beside the site: anything but the report in the
// workspace, files of the optimizer's own, anything in the home of the job, which all its steps
// share.
func (s *step) wantTidy(r result) {
	s.t.Helper()
	for _, line := range strangers(s.t, s.ws) {
		s.t.Error(line)
	}
	for _, p := range walk(s.t, s.ws) {
		rel, err := filepath.Rel(s.ws, p)
		must(s.t, err)
		if rel != "." && !s.inSite(rel) && rel != r.outputs["report-path"] && !strings.HasPrefix(rel, toolFolder) {
			s.t.Errorf("left in the workspace: %s", rel)
		}
	}
	home, err := os.ReadDir(filepath.Join(s.dir, "home"))
	if err != nil || len(home) > 0 {
		s.t.Errorf("left in HOME: %v, %v", home, err)
	}
}

// inSite says whether a path of the workspace is the source, the output, a folder on the way to it,
// or a file of one of them.
func (s *step) inSite(rel string) bool {
	output := s.inputs["output"]
	for _, site := range []string{"dist", output} {
		if site != "" && (rel == site || strings.HasPrefix(rel, site+"/")) {
			return !strings.HasPrefix(filepath.Base(rel), ".pageflare")
		}
	}
	return strings.HasPrefix(output, rel+"/")
}

// toolFolder is where a test puts programs of its own into the workspace.
const toolFolder = "tools"

// visible is everything that people or later steps can see of a run, by its place.
func (s *step) visible(r result) map[string]string {
	s.t.Helper()
	seen := map[string]string{"log": r.log}
	for _, dir := range []string{s.ws, filepath.Join(s.dir, "commands"), filepath.Join(s.dir, "home")} {
		for _, p := range walk(s.t, dir) {
			if info, err := os.Lstat(p); err == nil && info.Mode().IsRegular() {
				seen[p] = read(s.t, p)
			}
		}
	}
	return seen
}

func (r result) wantExit(want int) {
	r.t.Helper()
	if r.exit != want {
		r.t.Fatalf("exit = %d, want %d; log:\n%s", r.exit, want, r.log)
	}
}

func (r result) wantOutputs(want map[string]string) {
	r.t.Helper()
	for name, value := range want {
		if got, set := r.outputs[name]; got != value || !set {
			r.t.Errorf("output %s = %q, want %q", name, got, value)
		}
	}
}

// wantLog fails unless the log has a line that holds all the words.
func (r result) wantLog(words ...string) {
	r.t.Helper()
	for line := range strings.SplitSeq(r.log, "\n") {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return
		}
	}
	r.t.Errorf("no line of the log has %q:\n%s", words, r.log)
}

func (r result) wantNoProblem() {
	r.t.Helper()
	if r.warnings() > 0 || strings.Contains(r.log, "::error::") {
		r.t.Errorf("a good run complains:\n%s", r.log)
	}
}

// guarded is what each run says of the site of e2e/site, one script of which the optimizer empties.
const guarded = "::warning::the optimizer changed 1 file more than it should (missing, by minify_js): it is published as it was; see the summary"

// warnings counts those that are not the guard's.
func (r result) warnings() int {
	return strings.Count(strings.ReplaceAll(r.log, guarded, ""), "::warning::")
}

// masked is a log as the runner shows it: what add-mask names is hidden from then on.
func masked(log string) string {
	var out, hide []string
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
