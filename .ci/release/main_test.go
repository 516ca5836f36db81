package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var digest = "sha256:" + strings.Repeat("a1", 32)

// checkout is a folder with an action.yml as ours.
func checkout(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	manifest, err := os.ReadFile(filepath.Join("..", "..", "action.yml"))
	must(t, err)
	// a tagged commit names its image already
	must(t, os.WriteFile(filepath.Join(root, "action.yml"), imageLine.ReplaceAll(manifest, []byte("  image: Dockerfile")), 0o644))
	must(t, os.Mkdir(filepath.Join(root, ".ci"), 0o755))
	must(t, os.Mkdir(filepath.Join(root, "deploy"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "Dockerfile"), []byte("ARG GO_IMAGE=golang\nARG VERSION=dev\nFROM x\nARG VERSION\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "deploy", "compose.yaml"), []byte("args:\n  VERSION: ${VERSION:-dev}\n"), 0o644))
	must(t, os.MkdirAll(filepath.Join(root, migrationsFolder), 0o755))
	must(t, os.WriteFile(filepath.Join(root, migrationsFolder, "00001_start.sql"), []byte("-- +goose Up\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, migrationsFolder, releasedList), []byte("# those that were released\n"), 0o644))
	must(t, run([]string{"-migrations"}, root, io.Discard))
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The whole step of the workflow, with a bare repository in the place of GitHub: the tag, and only
// the tag, has the image.
func TestATaggedCommitNamesItsImage(t *testing.T) {
	t.Parallel()
	root, remote := checkout(t), t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=release", "-c", "user.email=release@example.com"}, args...)...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--bare", remote)
	git("init", "--quiet", "--initial-branch=main")
	git("remote", "add", "origin", remote)
	git("add", "--all")
	git("commit", "--quiet", "--message", "a state of main")
	git("push", "--quiet", "origin", "main")

	var out bytes.Buffer
	must(t, run([]string{"-version", "v1.2.3", "-digest", digest, "GO_IMAGE=golang@" + digest}, root, &out))
	git("checkout", "--quiet", "--detach")
	git("add", "action.yml", ".ci/release.json", "Dockerfile", "deploy/compose.yaml")
	git("commit", "--quiet", "--message", "v1.2.3")
	git("tag", "v1.2.3")
	git("tag", "--force", "v1")
	git("push", "--quiet", "origin", "refs/tags/v1.2.3")
	git("push", "--quiet", "--force", "origin", "refs/tags/v1")

	want := "  image: docker://ghcr.io/pageflare/ci@" + digest
	for _, ref := range []string{"v1.2.3", "v1"} {
		if got := git("--git-dir", remote, "show", ref+":action.yml"); !strings.Contains(got, want+"\n") || strings.Contains(got, "image: Dockerfile") {
			t.Errorf("action.yml of %s has not the line %q", ref, want)
		}
		if got := git("--git-dir", remote, "show", ref+":.ci/release.json"); !strings.Contains(got, `"image": "docker://ghcr.io/pageflare/ci@`+digest+`"`) {
			t.Errorf("the record of %s is %s", ref, got)
		}
		if got := git("--git-dir", remote, "show", ref+":Dockerfile"); got != "ARG GO_IMAGE=golang\nARG VERSION=v1.2.3\nFROM x\nARG VERSION" {
			t.Errorf("the Dockerfile of %s is %s", ref, got)
		}
		if got := git("--git-dir", remote, "show", ref+":deploy/compose.yaml"); got != "args:\n  VERSION: ${VERSION:-v1.2.3}" {
			t.Errorf("the compose file of %s is %s", ref, got)
		}
	}
	if got := git("--git-dir", remote, "show", "main:action.yml"); !strings.Contains(got, "  image: Dockerfile\n") {
		t.Error("main names an image")
	}
	if got := git("--git-dir", remote, "rev-parse", "v1.2.3^"); got != git("--git-dir", remote, "rev-parse", "main") {
		t.Error("the tagged commit does not follow the state of main that was built")
	}
}

func TestWrongArgumentsWriteNothing(t *testing.T) {
	t.Parallel()
	base := "GO_IMAGE=golang@" + digest
	for name, args := range map[string][]string{
		"no version":      {"-digest", digest, base},
		"a wrong version": {"-version", "1.2.3", "-digest", digest, base},
		"a leading zero":  {"-version", "v01.2.3", "-digest", digest, base},
		"a shell in it":   {"-version", "v1.2.3;x", "-digest", digest, base},
		"no digest":       {"-version", "v1.2.3", base},
		"a short digest":  {"-version", "v1.2.3", "-digest", "sha256:abc", base},
		"no base":         {"-version", "v1.2.3", "-digest", digest},
		"a base by a tag": {"-version", "v1.2.3", "-digest", digest, "GO_IMAGE=golang:1.26"},
		"an unknown flag": {"-sign"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := checkout(t)
			if err := run(args, root, &bytes.Buffer{}); err == nil {
				t.Error("run = nil, want an error")
			}
			b, err := os.ReadFile(filepath.Join(root, "action.yml"))
			must(t, err)
			if _, err := os.Stat(filepath.Join(root, ".ci", "release.json")); !os.IsNotExist(err) || !strings.Contains(string(b), "image: Dockerfile") {
				t.Error("something was written")
			}
			if b, err := os.ReadFile(filepath.Join(root, "Dockerfile")); err != nil || !strings.Contains(string(b), "ARG VERSION=dev\n") {
				t.Errorf("the Dockerfile was written: %s, %v", b, err)
			}
		})
	}
}

// What is released is listed first, as it is: from then on a test refuses a change of it.
func TestAReleaseListsItsMigrations(t *testing.T) {
	t.Parallel()
	root := checkout(t)
	list, err := os.ReadFile(filepath.Join(root, migrationsFolder, releasedList))
	must(t, err)
	const want = "# those that were released\nd6f9ebad8844348044d4a7babff440d1547d687488467b8e406c48fd771acfd4  00001_start.sql\n"
	if string(list) != want {
		t.Errorf("list = %q, want %q", list, want)
	}
	release := func() error {
		return run([]string{"-version", "v1.2.3", "-digest", digest, "GO_IMAGE=golang@" + digest}, root, io.Discard)
	}
	for _, name := range []string{"00002_more.sql", "00001_start.sql"} {
		must(t, os.WriteFile(filepath.Join(root, migrationsFolder, name), []byte("-- +goose Up\n-- another\n"), 0o644))
		if err := release(); err == nil || !strings.Contains(err.Error(), "does not list the migrations as they are: run `go run ./.ci/release -migrations`") {
			t.Errorf("release after a change of %s = %v, want a refusal", name, err)
		}
		must(t, run([]string{"-migrations"}, root, io.Discard))
	}
	must(t, release())
}
