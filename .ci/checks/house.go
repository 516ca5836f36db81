package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// house holds the rules of the house that a parser can see:
//
//   - os.Exit stands in main.go alone: elsewhere it skips what was deferred
//   - a program reads its environment in main.go alone, and hands on what it read
//   - nothing asks by the default HTTP client: each client is passed in, so that a test can tell where it goes
//   - the rules (rules.go) never ask for the time: it is given to them
//   - a TODO names its issue
//   - each package has a comment that says what is decided in it
//
// One that is right all the same says why, as in tests.go: //check:allow REASON
func house(c checkout) ([]fault, error) {
	var faults []fault
	first := map[string]string{} // package -> a file of it
	described := map[string]bool{}
	for _, name := range c.names {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") {
			continue
		}
		text, err := fs.ReadFile(c.files, name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		faults = append(faults, houseFaults(name, set, file)...)
		if dir := path.Dir(name); !strings.HasSuffix(name, "_test.go") {
			if first[dir] == "" {
				first[dir] = name
			}
			described[dir] = described[dir] || file.Doc != nil
		}
	}
	for dir, name := range first {
		if !described[dir] {
			faults = append(faults, fault{name, 1, "package " + dir + " has no comment", "say above its package clause what is decided in it, and where the neighbour decision is"})
		}
	}
	return faults, nil
}

var (
	todo  = regexp.MustCompile(`^(?://|/\*)\s*(?:TODO|FIXME|XXX)\b`)
	issue = regexp.MustCompile(`#[0-9]+|/issues/[0-9]+`)
)

func houseFaults(name string, set *token.FileSet, file *ast.File) []fault {
	allowed := allowedLines(set, file)
	var faults []fault
	add := func(at token.Pos, what, remedy string) {
		if line := set.Position(at).Line; !allowed[line] {
			faults = append(faults, fault{name, line, what, remedy})
		}
	}
	names := map[string]string{} // by which this file calls a package -> its path
	for _, full := range []string{"os", "net/http", "time"} {
		called := importName(file, full)
		if called == full {
			called = path.Base(full)
		}
		names[called] = full
	}
	ast.Inspect(file, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := selector.X.(*ast.Ident); ok && names[of.Name] != "" {
			if what, remedy := refuseName(name, names[of.Name]+"."+selector.Sel.Name); what != "" {
				add(selector.Pos(), what, remedy)
			}
		}
		return true
	})
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if todo.MatchString(comment.Text) && !issue.MatchString(comment.Text) {
				add(comment.Pos(), "a TODO without an issue", "open one and name its number, as in TODO(#12)")
			}
		}
	}
	return faults
}

// refuseName gives what is wrong with a name of the standard library in a file, and nothing for
// most.
func refuseName(file, name string) (what, remedy string) {
	test, base := strings.HasSuffix(file, "_test.go"), path.Base(file)
	switch name {
	case "os.Exit":
		if base != "main.go" && !test {
			return "calls os.Exit", "return an error, and let main choose the status"
		}
	case "os.Getenv", "os.LookupEnv", "os.Environ":
		if base != "main.go" && !test && program(path.Dir(file)) != "" {
			return "reads the environment by " + name, "take it as a value or a function from main.go"
		}
	case "net/http.DefaultClient", "net/http.Get", "net/http.Head", "net/http.Post", "net/http.PostForm":
		return "uses the default client by " + strings.TrimPrefix(name, "net/"), "take a client from the caller"
	case "time.Now":
		if base == "rules.go" {
			return "a rule asks for the time", "take it as an argument"
		}
	}
	return "", ""
}
