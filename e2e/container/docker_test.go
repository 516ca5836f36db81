//go:build e2e

package container_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The images, as run.sh tags them.
const (
	actionImage  = "pageflare-action:e2e"
	serviceImage = "pageflare-license:e2e"
)

// patience is the limit of any one command: far above what it takes, so that nothing hangs.
const patience = time.Minute

// docker runs a command of the engine and gives what it wrote to its standard output.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // also in clean-up, when the context of the test is over
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return strings.TrimSpace(string(out))
}

// containerName names a container, and removes it at the end of the test with its volumes.
func containerName(t *testing.T) string {
	t.Helper()
	name := "pageflare-e2e-" + strings.ToLower(rand.Text()[:10])
	t.Cleanup(func() {
		_ = exec.Command("docker", "rm", "--force", "--volumes", name).Run() // it may be gone already
	})
	return name
}

// repositoryRoot is the top folder of this repository.
func repositoryRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	must(t, err)
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}
