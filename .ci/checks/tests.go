package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// tests refuses time.Sleep and t.Skip in tests: a sleep is either too short or too long, and a test
// that skips itself hides what it does not look at. One that is right all the same says why, on its
// line or the line above:
//
//	//check:allow the kernel gives no event for this
func tests(c checkout) ([]fault, error) {
	var faults []fault
	for _, name := range c.names {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(c.files, name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		found, err := testFaults(name, text)
		if err != nil {
			return nil, err
		}
		faults = append(faults, found...)
	}
	return faults, nil
}

func testFaults(name string, text []byte) ([]fault, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parse a test: %w", err)
	}
	allowed := allowedLines(set, file)
	clock := importName(file, "time")
	var faults []fault
	ast.Inspect(file, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		line := set.Position(call.Pos()).Line
		if what, remedy := refuseCall(call, clock); what != "" && !allowed[line] {
			faults = append(faults, fault{name, line, what, remedy})
		}
		return true
	})
	return faults, nil
}

// refuseCall gives what is wrong with a call, and nothing for most.
func refuseCall(call *ast.CallExpr, clock string) (what, remedy string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	receiver, ok := selector.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	full := receiver.Name + "." + selector.Sel.Name
	if full == clock+".Sleep" {
		return "a test calls " + full, "inject the clock or wait for the event"
	}
	if slices.Contains([]string{"t", "b", "f", "tb"}, receiver.Name) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, selector.Sel.Name) {
		return "a test calls " + full, "make what it needs, or say why with //check:allow"
	}
	return "", ""
}

// allowedLines gives the lines that a comment `//check:allow reason` covers: its own and the next.
func allowedLines(set *token.FileSet, file *ast.File) map[int]bool {
	allowed := map[int]bool{}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			reason, found := strings.CutPrefix(comment.Text, "//check:allow ")
			if found && strings.TrimSpace(reason) != "" {
				line := set.Position(comment.Pos()).Line
				allowed[line], allowed[line+1] = true, true
			}
		}
	}
	return allowed
}

// importName gives the name by which the file calls an imported package. One that is not imported
// keeps its own name.
func importName(file *ast.File, full string) string {
	for _, spec := range file.Imports {
		if unquoted, err := strconv.Unquote(spec.Path.Value); err == nil && unquoted == full && spec.Name != nil {
			return spec.Name.Name
		}
	}
	return full
}
