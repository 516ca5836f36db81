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
