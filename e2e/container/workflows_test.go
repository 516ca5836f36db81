//go:build e2e

package container_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/pageflare/ci/github/githubtest"
)

// storesOf says where a ready workflow puts the new token, if that is not the repository's secret
// alone.
func storesOf(workflow string) []string {
	switch workflow {
	case "organization-secret.yml":
		return []string{organizationStore}
	case "dependabot-mirror.yml":
		return []string{repositoryStore, "repos/" + repository + "/dependabot"}
	case "keyless.yml":
		return nil // it needs no secret
	}
	return []string{repositoryStore}
}

// Every file in docs/workflows is run by act as it stands, on a copy of a small project, with a
// token that expires in two days. What is changed before: the Action is the one of this checkout in
// the image built from it, and its default License API is ours.
func TestTheReadyWorkflows(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(repositoryRoot(t), "docs", "workflows", "*.yml"))
	must(t, err)
	if len(files) == 0 {
		t.Fatal("there is no workflow in docs/workflows")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			old := w.issue(t, "48h")
			w.trust(t)
			w.github.SetSecret(organizationStore, secretName, old, shared())
			log := w.act(t, file, old)
			stores := storesOf(filepath.Base(file))
			if keyless := filepath.Base(file) == "keyless.yml"; (w.issuer.Minted() > 0) != keyless {
				t.Errorf("%d identities were asked for", w.issuer.Minted())
			}
			for _, store := range stores {
				w.wantSuccessorIn(t, store, old)
			}
			if n := w.issued(t); n != 2 {
				t.Errorf("tokens = %d, want the old one, and one successor or one for an identity", n)
			}
			if diff := cmp.Diff(shared(), w.github.AccessAt(organizationStore, secretName)); diff != "" {
				t.Errorf("access to the secret of the organization (-want +got):\n%s", diff)
			}
			if t.Failed() {
				t.Log(log)
			}
		})
	}
}

// act runs a workflow in a container per job and gives its log. It fails the test when the workflow
// fails.
func (w *world) act(t *testing.T, file, raw string) string {
	t.Helper()
	project, event := newProject(t, file, w.api)
	home := t.TempDir()
	write(t, filepath.Join(home, "act", "actrc"), "") // or it asks on its first start which image to use
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	args := []string{event, "--rm", "--pull=false", "--action-offline-mode",
		"--network", "host", "--no-cache-server", "--platform", "ubuntu-latest=" + jobImage(t), "--env", "GITHUB_API_URL=" + w.github.URL(),
		"--var", "PAGEFLARE_API_URL=" + w.api, "--var", "PAGEFLARE_APP_ID=4711",
		"--secret", "PAGEFLARE_TOKEN", "--secret", "SECRETS_WRITER", "--secret", "PAGEFLARE_APP_PRIVATE_KEY", "--secret", "GITHUB_TOKEN"}
	if strings.Contains(read(t, file), "id-token: write") { // act does not know of identity tokens
		for name, value := range w.issuer.Environment() {
			args = append(args, "--env", name+"="+value)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(repositoryRoot(t), "build", "tools", "act"), args...)
	cmd.Dir = project
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "DOCKER_HOST="+engine(t),
		"PAGEFLARE_TOKEN="+raw, "SECRETS_WRITER="+writerToken, "PAGEFLARE_APP_PRIVATE_KEY="+w.appKey, "GITHUB_TOKEN="+jobToken)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // then it removes its containers
	cmd.WaitDelay = patience
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	err := cmd.Run()
	w.wantNoSecretIn(t, map[string]string{"log of act": log.String()})
	if err != nil {
		t.Fatalf("act %s: %v\n%s", event, err, masked(log.String()))
	}
	return log.String()
}

// engine is where the docker client finds the engine: act does not look at its contexts.
func engine(t *testing.T) string {
	t.Helper()
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return host
	}
	return docker(t, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
}

// jobImage is an image with bash and npm that the Dockerfile needs anyway.
func jobImage(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^ARG NODE_IMAGE=(\S+)$`).FindStringSubmatch(read(t, filepath.Join(repositoryRoot(t), "Dockerfile")))
	if found == nil {
		t.Fatal("the Dockerfile names no NODE_IMAGE")
	}
	return found[1]
}

// newProject makes a repository with the workflow in it, and gives the event to run it by.
func newProject(t *testing.T, file, api string) (dir, event string) {
	t.Helper()
	root := repositoryRoot(t)
	dir = filepath.Join(t.TempDir(), "project")
	must(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "project"))))
	must(t, os.CopyFS(filepath.Join(dir, "site"), os.DirFS(filepath.Join(root, "e2e", "site"))))
	manifest := read(t, filepath.Join(root, "action.yml"))
	manifest = regexp.MustCompile(`(?m)^  image: .*$`).ReplaceAllString(manifest, "  image: docker://"+actionImage)
	manifest = replaceOnce(t, manifest, "default: https://pageflare.dev/_api", "default: "+api)
	write(t, filepath.Join(dir, "action.yml"), manifest)
	workflow := read(t, file)
	write(t, filepath.Join(dir, ".github", "workflows", "site.yml"), withLocalAction(t, workflow))
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch", "main"}, {"remote", "add", "origin", "https://github.com/" + repository}, {"add", "--all"},
		{"-c", "user.name=e2e", "-c", "user.email=e2e@larkmoor.example", "commit", "--quiet", "--message", "Start"},
	} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
	return dir, eventOf(t, workflow)
}

func replaceOnce(t *testing.T, text, old, new string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q is there %d times, want once", old, strings.Count(text, old))
	}
	return strings.Replace(text, old, new, 1)
}

// withLocalAction puts the Action of the project in place of the published one. act brings it along
// by a checkout, which a workflow that builds nothing does not need otherwise.
func withLocalAction(t *testing.T, workflow string) string {
	t.Helper()
	if !strings.Contains(workflow, "actions/checkout@") {
		workflow = replaceOnce(t, workflow, "    steps:\n", "    steps:\n      - uses: actions/checkout@v6\n")
	}
	return replaceOnce(t, workflow, "uses: pageflare/ci@v1", "uses: ./")
}

func eventOf(t *testing.T, workflow string) string {
	t.Helper()
	var parsed struct {
		On map[string]any `yaml:"on"`
	}
	must(t, yaml.Unmarshal([]byte(workflow), &parsed))
	for _, event := range []string{"push", "schedule"} {
		if _, ok := parsed.On[event]; ok {
			return event
		}
	}
	t.Fatalf("the workflow starts by neither push nor schedule: %v", parsed.On)
	return ""
}

// shared is who may read the secret of the organization: no write may change that.
func shared() githubtest.Access {
	return githubtest.Access{Visibility: "selected", Selected: []int64{repositoryID}}
}
