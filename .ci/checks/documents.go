package main

import (
	"fmt"
	"strings"
)

// documents holds that a document has each of its sections and each key of a table once, as a merge of
// two versions would not leave it. A key of a table is a first cell that is nothing but code.
func documents(c checkout) (faults []fault, err error) {
	for _, name := range c.names {
		if !strings.HasSuffix(name, ".md") || name == "CHANGELOG.md" {
			continue
		}
		lines, err := c.lines(name)
		if err != nil {
			return nil, err
		}
		faults = append(faults, sections(name, lines)...)
		faults = append(faults, keys(name, lines)...)
	}
	return faults, nil
}

// sections finds headings that come twice under the same heading, and those that begin in the line
// behind a text.
func sections(name string, lines []string) (faults []fault) {
	seen := map[string]int{}
	var path [7]string
	code, before := false, ""
	for i, line := range lines {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		level := len(line) - len(strings.TrimLeft(line, "#"))
		if !code && level > 0 && level < len(path) && strings.HasPrefix(line[level:], " ") {
			path[level] = line
			whole := strings.Join(path[:level+1], "\n")
			if at := seen[whole]; at > 0 {
				faults = append(faults, fault{name, i + 1, fmt.Sprintf("%q is a section in line %d too", line, at), "make one of both"})
			}
			if before != "" && before != "---" { // the end of front matter
				faults = append(faults, fault{name, i + 1, fmt.Sprintf("%q stands right behind a text", line), "put an empty line before it"})
			}
			seen[whole] = i + 1
		}
		before = line
	}
	return faults
}

// keys finds rows of a table about the same.
func keys(name string, lines []string) (faults []fault) {
	seen := map[string]int{}
	for i, line := range lines {
		cell, rest, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !strings.HasPrefix(line, "| ") || !ok {
			clear(seen)
			continue
		}
		if strings.Count(cell, "`") != 2 || !strings.HasPrefix(cell, "`") || !strings.HasSuffix(cell, "`") {
			continue
		}
		if second, _, _ := strings.Cut(rest, " | "); second == strings.ToUpper(second) {
			cell += " " + second // lines of the log with the same text, at several levels
		}
		if at := seen[cell]; at > 0 {
			faults = append(faults, fault{name, i + 1, fmt.Sprintf("%s has a row in line %d too", cell, at), "make one of both"})
		}
		seen[cell] = i + 1
	}
	return faults
}
