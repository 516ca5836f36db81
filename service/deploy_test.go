package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var settingName = regexp.MustCompile(`\bLICENSE_[A-Z_]+\b`)

// What the compose file, the unit and the documents set must be settings, or nothing would happen.
func TestDeployFilesNameSettingsThatExist(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../deploy/compose.yaml", "../deploy/pageflare-license.service", "../docs/operations.md", "../Dockerfile", "../README.md"} {
		b, err := os.ReadFile(filepath.FromSlash(name))
		must(t, err)
		for _, setting := range settingName.FindAllString(string(b), -1) {
			if !slices.Contains(knownSettings(), setting) {
				t.Errorf("%s sets %s, which is no setting", name, setting)
			}
		}
	}
}

// The unit keeps the promises of its head: a user of its own, nothing it could write but its state, and no restart for a fault of a person.
func TestTheUnitIsConfined(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.FromSlash("../deploy/pageflare-license.service"))
	must(t, err)
	lines := strings.Split(string(b), "\n")
	for _, want := range []string{
		"ExecStart=/usr/local/bin/pageflare-license serve", "DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=",
		"StateDirectoryMode=0700", "UMask=0077", "RestartPreventExitStatus=2",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
}

// The function of the document runs commands as the unit runs the server: with another user, folder or database they would work on nothing, or fail.
func TestCommandsUnderSystemdRunAsTheUnitDoes(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile(filepath.FromSlash("../deploy/pageflare-license.service"))
	must(t, err)
	wrapper := document(t, "operations.md")
	shared := regexp.MustCompile(`(?m)^(DynamicUser|User|StateDirectory|StateDirectoryMode|WorkingDirectory|EnvironmentFile)=.*$`).FindAllString(string(unit), -1)
	if len(shared) != 6 {
		t.Fatalf("the unit has %q of what commands need too", shared)
	}
	database := regexp.MustCompile(`(?m)^Environment=(LICENSE_DATABASE_URL=.*)$`).FindStringSubmatch(string(unit))
	for _, want := range append(shared, database[1]) {
		if !strings.Contains(wrapper, "--property="+want+" ") && !strings.Contains(wrapper, "--setenv="+want+" ") {
			t.Errorf("the function in docs/operations.md lacks %s", want)
		}
	}
}
