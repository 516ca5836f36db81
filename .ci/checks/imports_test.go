package main

import (
	"strings"
	"testing"
)

func TestImports(t *testing.T) {
	t.Parallel()
	ours := func(folders ...string) string {
		text := "package x\n"
		for _, folder := range folders {
			text += "import \"" + module + "/" + folder + "\"\n"
		}
		return text
	}
	for name, test := range map[string]struct {
		file, text string
		want       []string
	}{
		"a program may import along its arrows":         {"action/run.go", ours("action/refresh", "service/client"), nil},
		"what is not ours is free":                      {"github/secret/seal.go", "package x\nimport \"crypto/rand\"\n", nil},
		"the action may not import the service's store": {"action/run.go", ours("service/store"), []string{"action/run.go:2: action imports service/store; turn the arrow round or add it to .ci/checks/arrows.go, with the design"}},
		"a leaf may import nothing":                     {"service/token/token.go", ours("service/api"), []string{"service/token/token.go:2: service/token imports service/api; turn the arrow round or add it to .ci/checks/arrows.go, with the design"}},
		"rules may not import their store":              {"service/license/service.go", ours("service/token", "service/store"), []string{"service/license/service.go:3: service/license imports service/store; turn the arrow round or add it to .ci/checks/arrows.go, with the design"}},
		"nobody imports a program":                      {"service/server/routes.go", ours("service"), []string{"service/server/routes.go:2: service/server imports service; a program is imported by nobody; move what is shared into a package"}},
		"a test does not import a program either":       {"service/server/routes_test.go", ours("action"), []string{"service/server/routes_test.go:2: service/server imports action; a program is imported by nobody; move what is shared into a package"}},
		"code may not import a test kit":                {"action/run.go", ours("github/githubtest"), []string{"action/run.go:2: action imports github/githubtest; only tests and e2e import a test kit"}},
		"a test may import a kit of the other program":  {"action/run_test.go", ours("github/githubtest", "service/servicetest"), nil},
		"a test may import its program's packages":      {"service/license/service_test.go", ours("service/store", "service/license"), nil},
		"a test of the action gets no inner package of the service": {"action/run_test.go", ours("service/token", "service/license"), []string{
			"action/run_test.go:3: action imports service/license; turn the arrow round or add it to .ci/checks/arrows.go, with the design"}},
		"a program imports nothing from e2e": {"action/run_test.go", ours("e2e/demo"), []string{
			"action/run_test.go:2: action imports e2e/demo; a program imports nothing from e2e/demo; move what is shared under the side that owns its meaning"}},
		"a new package must have a line": {"service/helpers/helpers.go", ours("service/token"), []string{"service/helpers/helpers.go:1: package service/helpers is not in the table of imports; give it a line in .ci/checks/arrows.go"}},
		"github imports no program": {"github/client.go", ours("service/opaque", "action/remedy", "service/store"), []string{
			"github/client.go:3: github imports action/remedy; turn the arrow round or add it to .ci/checks/arrows.go, with the design",
			"github/client.go:4: github imports service/store; turn the arrow round or add it to .ci/checks/arrows.go, with the design"}},
		"a test of github may not import a program's packages": {"github/client_test.go", ours("github/secret", "github/githubtest", "action/remedy"), []string{
			"github/client_test.go:4: github imports action/remedy; turn the arrow round or add it to .ci/checks/arrows.go, with the design"}},
		"e2e is free":           {"e2e/demo/main.go", ours("service/servicetest", "service/store"), nil},
		"test data is not code": {"action/testdata/broken/x.go", "not Go", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := imports(checkoutOf(map[string]string{test.file: test.text}))
			wantFaults(t, got, err, test.want...)
		})
	}
}

func TestImportsReportsANewPackageOnce(t *testing.T) {
	t.Parallel()
	got, err := imports(checkoutOf(map[string]string{"action/new/a.go": "package a", "action/new/b.go": "package a"}))
	wantFaults(t, got, err, "action/new/a.go:1: package action/new is not in the table of imports; give it a line in .ci/checks/arrows.go")
}

func TestParseArrowsRefusesABadTable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ table, want string }{
		"an arrow to nowhere":   {"action -> action/ghost\n", "action points to action/ghost, which has no line"},
		"a line without arrow":  {"action\n", `bad or repeated line "action"`},
		"a package given twice": {"action ->\naction ->\n", `bad or repeated line "action ->"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parseArrows(test.table); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("parseArrows(%q) = %v, want %q", test.table, err, test.want)
			}
		})
	}
}

// The table is the design's: nobody imports a server, a console or a store but the service itself
// and test kits.
func TestArrowTableHoldsTheDesign(t *testing.T) {
	t.Parallel()
	arrows, err := parseArrows(arrowTable)
	if err != nil {
		t.Fatal(err)
	}
	for from, targets := range arrows {
		for target := range targets {
			if from != "service" && !kit(from) && (target == "service/server" || target == "service/console" || target == "service/store") {
				t.Errorf("%s -> %s, want nobody but service and test kits", from, target)
			}
			if program(from) != "service" && program(target) == "service" && !forBoth(target) {
				t.Errorf("%s -> %s, want only what both programs share from the service", from, target)
			}
		}
	}
	for _, leaf := range []string{"service/token", "service/api", "service/origin", "service/failure", "service/store/ledger", "action/guard/script", "action/guard/sheet"} {
		if len(arrows[leaf]) != 0 {
			t.Errorf("%s imports %v, want a leaf", leaf, arrows[leaf])
		}
	}
}
