package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/pageflare/ci"

// imports holds the import direction of arrowTable. It reads the files themselves rather than
// asking the go command: that gives the line, sees every build tag, and works while a package does
// not compile.
//
// Tests may import more, since they use real neighbours: any package of their own program, those
// that both programs use (forBoth), and any test kit; never a program itself.
//
// e2e and .ci are free.
func imports(c checkout) ([]fault, error) {
	arrows, err := parseArrows(arrowTable)
	if err != nil {
		return nil, err
	}
	return importFaults(c, arrows)
}

func importFaults(c checkout, arrows map[string]map[string]bool) ([]fault, error) {
	var faults []fault
	declared := map[string]bool{} // reported once per package
	for _, name := range c.names {
		from := path.Dir(name)
		if !strings.HasSuffix(name, ".go") || program(from) == "" || strings.Contains(from, "testdata") {
			continue
		}
		if arrows[from] == nil {
			if !declared[from] {
				faults = append(faults, fault{name, 1, "package " + from + " is not in the table of imports", "give it a line in .ci/checks/arrows.go"})
			}
			declared[from] = true
			continue
		}
		found, err := importsOf(c, name)
		if err != nil {
			return nil, err
		}
		for _, i := range found {
			if remedy := refuseImport(arrows, from, i.folder, strings.HasSuffix(name, "_test.go")); remedy != "" {
				faults = append(faults, fault{name, i.line, from + " imports " + i.folder, remedy})
			}
		}
	}
	return faults, nil
}

// refuseImport gives the remedy for an import that is against the rules, and nothing for one that
// is not.
func refuseImport(arrows map[string]map[string]bool, from, to string, isTest bool) string {
	switch {
	case to == program(to) && to != "github":
		return "a program is imported by nobody; move what is shared into a package"
	case from == to || arrows[from][to]:
		return ""
	case !isTest && kit(to):
		return "only tests and e2e import a test kit"
	case isTest && (kit(to) || program(to) == program(from) || forBoth(to)):
		return ""
	case program(to) == "":
		return "a program imports nothing from " + to + "; move what is shared under the side that owns its meaning"
	default:
		return "turn the arrow round or add it to .ci/checks/arrows.go, with the design"
	}
}

// program gives the tree that a package folder belongs to: one of the two programs, action and
// service, or github, which both use and which holds no program; nothing for any other folder.
func program(folder string) string {
	top, _, _ := strings.Cut(folder, "/")
	if top == "action" || top == "service" || top == "github" {
		return top
	}
	return ""
}

// kit tells whether the package is there for tests: githubtest, servicetest, storetest.
func kit(folder string) bool {
	return strings.HasSuffix(folder, "test") && program(folder) != ""
}

// forBoth tells whether both programs may use the package: those of github, and few of the
// service's.
func forBoth(folder string) bool {
	shared := []string{"service/token", "service/api", "service/client", "service/opaque", "service/origin", "github", "github/secret"}
	return slices.Contains(shared, folder)
}

type importLine struct {
	folder string // in this module
	line   int
}

// importsOf gives the imports of one file that are in this module.
func importsOf(c checkout, name string) ([]importLine, error) {
	text, err := fs.ReadFile(c.files, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ImportsOnly)
	if err != nil {
		return nil, fmt.Errorf("parse the imports: %w", err)
	}
	var found []importLine
	for _, spec := range file.Imports {
		full, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		if folder, ours := strings.CutPrefix(full, module+"/"); ours {
			found = append(found, importLine{folder, set.Position(spec.Pos()).Line})
		}
	}
	return found, nil
}
