package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The script runs with a go that says what govulncheck says.
func TestVulnerabilitiesThatCouldNotBeLookedFor(t *testing.T) {
	t.Parallel()
	const unreachable = `govulncheck: fetching vulnerabilities: Get "https://vuln.go.dev/index/modules.json.gz": dial tcp: no such host`
	for name, test := range map[string]struct {
		says    string
		exit    int
		actions string
		want    string // on either output
		wantOK  bool
	}{
		"none is reached":                       {"No vulnerabilities found.", 0, "true", "no known vulnerability", true},
		"one is reached":                        {"Vulnerability #1: GO-2026-0001", 3, "", "Vulnerability #1", false},
		"out of reach":                          {unreachable, 1, "", "nothing was checked", true},
		"out of reach on GitHub":                {unreachable, 1, "true", "could not be reached; nothing was checked", false},
		"one is reached that says no such host": {"Vulnerability #1: no such host", 3, "", "Vulnerability #1", false},
		"a fault of its own":                    {"govulncheck: loading packages: x.go:1: expected package", 1, "", "expected package", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script := "#!/bin/sh\nprintf '%s\\n' \"$SAYS\"\nexit \"$EXIT\"\n"
			if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join("..", "vulnerabilities"))
			cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "SAYS=" + test.says, "EXIT=" + string(rune('0'+test.exit)), "GITHUB_ACTIONS=" + test.actions}
			out, err := cmd.CombinedOutput()
			if (err == nil) != test.wantOK || !strings.Contains(string(out), test.want) {
				t.Errorf("= %v, %s, want success %t with %q", err, out, test.wantOK, test.want)
			}
		})
	}
}
