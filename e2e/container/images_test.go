//go:build e2e

package container_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestTheActionImageIsAtMost75MB(t *testing.T) {
	t.Parallel()
	size, err := strconv.Atoi(docker(t, "image", "inspect", "--format", "{{.Size}}", actionImage))
	must(t, err)
	if size > 75_000_000 {
		t.Errorf("size = %d bytes, want at most 75,000,000", size)
	}
	t.Logf("the action image has %.1f MB", float64(size)/1e6)
}

func TestTheImagesHaveNoShellAndNoPackageManager(t *testing.T) {
	t.Parallel()
	unwanted := []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox", "apt", "apt-get", "dpkg", "apk", "npm", "node", "yarn", "pip", "rpm", "go"}
	for _, image := range []string{actionImage, serviceImage} {
		files := filesOf(t, image)
		if !slices.ContainsFunc(files, func(f string) bool { return strings.HasPrefix(f, "usr/local/bin/pageflare") }) {
			t.Errorf("%s: the listing lacks our own program, so it proves nothing: %d files", image, len(files))
		}
		for _, f := range files {
			if strings.HasSuffix(path.Dir(f), "bin") && slices.Contains(unwanted, path.Base(f)) {
				t.Errorf("%s has /%s", image, f)
			}
		}
	}
}

// filesOf lists what an image holds, without running it.
func filesOf(t *testing.T, image string) []string {
	t.Helper()
	name := containerName(t)
	docker(t, "create", "--name", name, image)
	cmd := exec.CommandContext(t.Context(), "docker", "export", name)
	stream, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var files []string
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		files = append(files, strings.TrimPrefix(header.Name, "./"))
	}
	_, err = io.Copy(io.Discard, stream) // the padding, or the engine waits for a reader
	must(t, errors.Join(err, cmd.Wait()))
	return files
}

// The runner's mounts belong to another user, so the Action runs as root there; the service has no
// reason to.
func TestTheImagesRunAsTheRightUser(t *testing.T) {
	t.Parallel()
	user := func(image string) string { return docker(t, "image", "inspect", "--format", "{{.Config.User}}", image) }
	if got := user(actionImage); !slices.Contains([]string{"", "0", "0:0", "root"}, got) {
		t.Errorf("user of the action image = %q, want root", got)
	}
	if got := user(serviceImage); got != "65532:65532" {
		t.Errorf("user of the service image = %q, want 65532:65532", got)
	}
}

func TestTheProgramsKnowTheirVersions(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`"@pageflare/cli-linux-x64": "([^"]+)"`).FindStringSubmatch(read(t, "../../action/optimize/cli/package.json"))
	for _, c := range []struct {
		image, program string
		want           []string
	}{
		{actionImage, "/usr/local/bin/pageflare-action", []string{" e2e ", "commit ", "go1."}},
		{serviceImage, "/usr/local/bin/pageflare-license", []string{" e2e ", "commit ", "go1."}},
		{actionImage, "/usr/local/bin/pageflare", pinned[1:]},
	} {
		text := docker(t, "run", "--rm", "--network", "none", "--entrypoint", c.program, c.image, "--version")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s --version = %q, want %q in it", c.program, text, want)
			}
		}
	}
}

// TestStart prints how long a start takes, the best of five: the whole command, for which half a
// second is promised, and the part of it in which the container runs. These are figures to read and
// not checks, since they say more about the machine than about the image.
func TestStart(t *testing.T) {
	whole, inside := time.Hour, time.Hour
	for range 5 {
		name, begun := containerName(t), time.Now()
		docker(t, "run", "--name", name, "--network", "none", actionImage, "--version")
		whole = min(whole, time.Since(begun))
		var state struct{ StartedAt, FinishedAt time.Time }
		must(t, json.Unmarshal([]byte(docker(t, "inspect", "--format", "{{json .State}}", name)), &state))
		inside = min(inside, state.FinishedAt.Sub(state.StartedAt))
	}
	t.Logf("docker run of the action image with --version, the best of 5: %d ms (promised: under 500), of which %d ms in the container",
		whole.Milliseconds(), inside.Milliseconds())
}
