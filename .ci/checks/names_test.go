package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNameFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		line string
		want []string
	}{
		"a registry's address":         {"proxy: https://packages.corp.example/go", []string{"f:1: names the package registry packages.corp.example; leave the host to the machine's own settings"}},
		"a bare registry":              {"GOSUMDB=sum.corp.example", []string{"f:1: names the package registry sum.corp.example; leave the host to the machine's own settings"}},
		"a longer name is another":     {"my-sum.corp.example and sum.corp.examples", nil},
		"a dot is no wild card":        {"sumXcorp.example", nil},
		"a path of this machine":       {"cd /build/area/ci", []string{"f:1: names a path of this machine, /build/area; use a path relative to the repository"}},
		"the folder alone":             {"see /build/area.", nil},
		"the folder at the end":        {"cd /build/area", []string{"f:1: names a path of this machine, /build/area; use a path relative to the repository"}},
		"the same words inside a path": {"/home/build/area/x and ./build/area", nil},
		"a longer folder is another":   {"/build/areas/x", nil},
		"a binary file is not read":    {"\x00/build/area/x", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := nameFaults(checkoutOf(map[string]string{"f": test.line}), []string{"packages.corp.example", "sum.corp.example"}, "/build/area")
			wantFaults(t, got, err, test.want...)
		})
	}
}

func TestNameFaultsWithoutARegistry(t *testing.T) {
	t.Parallel()
	got, err := nameFaults(checkoutOf(map[string]string{"f": "anything.example"}), nil, "/build/area")
	wantFaults(t, got, err)
}

func TestSurroundings(t *testing.T) {
	t.Parallel()
	for root, want := range map[string]string{
		"/build/area/ci":   "/build/area",
		"/tmp/clone":       "/tmp/clone",
		"/tmp/x/clone":     "/tmp/x",
		"/ci":              "/ci",
		"/home/someone/ci": "/home/someone",
	} {
		if got := surroundings(root); got != want {
			t.Errorf("surroundings(%s) = %s, want %s", root, got, want)
		}
	}
}

func TestRegistriesAsksTheMachine(t *testing.T) {
	t.Parallel()
	m := machine{
		output: func(name string, args ...string) (string, error) {
			if name == "go" {
				return "https://user:word@go.corp.example/x,https://second.example|direct\nsum.corp.example+0123abcd\n", nil
			}
			return "http://npm.corp.example:4873/\n", nil
		},
		readFile: func(path string) ([]byte, error) {
			if path == "/etc/apt/sources.list" {
				return []byte("# deb http://old.example/debian x main\ndeb [signed-by=/k.gpg] http://apt.corp.example/debian bookworm main\n"), nil
			}
			if path == "/etc/apt/sources.list.d/debian.sources" {
				return []byte("Types: deb\nURIs: http://deb.corp.example/debian http://127.0.0.1:8000/debian\n"), nil
			}
			return nil, fs.ErrNotExist
		},
	}
	got, err := m.registries()
	want := []string{"go.corp.example", "second.example", "sum.corp.example", "npm.corp.example", "deb.corp.example", "apt.corp.example"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("registries() = %v (-want +got):\n%s", err, diff)
	}
}

func TestRegistriesOfAMissingOrBrokenTool(t *testing.T) {
	t.Parallel()
	broken := errors.New("exit status 1")
	for name, test := range map[string]struct{ npm, want error }{
		"npm is not installed": {fmt.Errorf("run npm: %w", exec.ErrNotFound), nil},
		"npm does not answer":  {broken, broken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := machine{
				output: func(name string, _ ...string) (string, error) {
					if name == "npm" {
						return "", test.npm
					}
					return "off\noff\n", nil
				},
				readFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist },
			}
			if got, err := m.registries(); !errors.Is(err, test.want) || len(got) != 0 {
				t.Errorf("registries() = %v, %v, want none, %v", got, err, test.want)
			}
		})
	}
}
