//go:build e2e

package container_test

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"
)

// As its image says: on a new volume, with a root file system that it cannot write to and without
// any capability.
func TestTheServiceBecomesHealthyAndStopsOnRequest(t *testing.T) {
	t.Parallel()
	name := containerName(t)
	events := exec.CommandContext(t.Context(), "docker", "events", "--filter", "container="+name, "--format", "{{.Status}}")
	stream, err := events.StdoutPipe()
	must(t, err)
	must(t, events.Start())
	docker(t, "run", "--detach", "--name", name, "--network", "none", "--read-only", "--cap-drop", "ALL", "--health-interval", "1s", serviceImage)
	healthy := false
	for lines := bufio.NewScanner(stream); !healthy && lines.Scan(); {
		healthy = lines.Text() == "health_status: healthy"
		if lines.Text() == "die" {
			t.Fatalf("the service ended:\n%s", docker(t, "logs", name))
		}
	}
	_ = events.Process.Kill()
	_ = events.Wait() // it was killed
	if !healthy {
		t.Fatal("the service does not become healthy")
	}
	account := docker(t, "exec", name, license, "account", "create", "--email", "site@larkmoor.example", "--tier", "pro", "--valid-until", "2099-12-31", "--json")
	if !strings.Contains(account, `"pf_at_`) {
		t.Errorf("account create = %s, want an API token in it", account)
	}
	docker(t, "stop", "--time", "10", name) // an engine that has to kill it makes that 137
	if code := docker(t, "inspect", "--format", "{{.State.ExitCode}}", name); code != "0" {
		t.Errorf("exit after stop = %s, want 0:\n%s", code, docker(t, "logs", name))
	}
}
