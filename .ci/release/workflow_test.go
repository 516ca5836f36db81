package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the release workflow does with git, on a repository of its own: main stays, and tag and
// branch are one commit beside it.
func TestTheWorkflowPushesATagAndItsBranch(t *testing.T) {
	t.Parallel()
	workflow, err := os.ReadFile(filepath.Join("..", "..", ".github", "workflows", "release.yml"))
	must(t, err)
	_, step, ok := strings.Cut(string(workflow), "- name: Tag a commit that names the image\n")
	if !ok {
		t.Fatal("the workflow has no step that tags")
	}
	step, _, _ = strings.Cut(step, "\n      - ")
	script := "set -eu\n"
	for line := range strings.Lines(step) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "git ") {
			script += line + "\n"
		}
	}
	dir := t.TempDir()
	sh := func(in, script string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "VERSION=v1.2.3", "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	sh(dir, `set -eu
git init -q --bare -b main origin
git init -q -b main work
cd work
git config user.name t; git config user.email t@example.com
mkdir .ci deploy; echo x >action.yml; echo x >Dockerfile; echo x >deploy/compose.yaml; git add .; git commit -q -m one
git remote add origin ../origin; git push -q origin main
echo y >action.yml; echo y >Dockerfile; echo y >deploy/compose.yaml; echo {} >.ci/release.json`)
	sh(filepath.Join(dir, "work"), strings.ReplaceAll(script, "${VERSION%%.*}", "v1"))
	origin := filepath.Join(dir, "origin")
	tag := sh(origin, "git rev-parse v1.2.3^{commit}")
	for _, ref := range []string{"refs/heads/release/v1.2.3", "refs/tags/v1"} {
		if got := sh(origin, "git rev-parse "+ref+"^{commit}"); got != tag {
			t.Errorf("%s = %s, want the commit of the tag, %s", ref, got, tag)
		}
	}
	if parent := sh(origin, "git rev-parse v1.2.3^"); parent != sh(origin, "git rev-parse main") {
		t.Errorf("parent of the tag = %s, want main", parent)
	}
	if changed := sh(origin, "git diff --name-only main v1.2.3"); changed != ".ci/release.json\nDockerfile\naction.yml\ndeploy/compose.yaml" {
		t.Errorf("the tag changes %s", changed)
	}
	if files := sh(origin, "git ls-tree -r --name-only main"); strings.Contains(files, "release.json") {
		t.Errorf("main holds %s", files)
	}
}
