package main

import (
	"regexp"
	"slices"
	"strings"
)

var (
	phonyLine  = regexp.MustCompile(`^\.PHONY:\s*(.*)$`)
	goalLine   = regexp.MustCompile(`^([A-Za-z0-9_.-]+):.*## `)
	helpSearch = regexp.MustCompile(`grep -hE '([^']+)'`)
)

// makefile holds that `make help` lists every command of the Makefile, and no other: each goal of
// .PHONY has a text, and is found by the pattern of help.
func makefile(c checkout) ([]fault, error) {
	lines, faults, err := c.mustLines("Makefile")
	if err != nil || faults != nil {
		return faults, err
	}
	var phony []string
	texts := map[string]int{} // line of each goal that has a text
	var help *regexp.Regexp
	for i, line := range lines {
		if found := phonyLine.FindStringSubmatch(line); found != nil {
			phony = append(phony, strings.Fields(found[1])...)
		}
		if found := goalLine.FindStringSubmatch(line); found != nil {
			texts[found[1]] = i + 1
		}
		if found := helpSearch.FindStringSubmatch(line); found != nil {
			if help, err = regexp.Compile(strings.ReplaceAll(found[1], "$$", "$")); err != nil {
				return []fault{{"Makefile", i + 1, "help searches for what is no pattern", "fix it"}}, nil
			}
		}
	}
	if help == nil {
		return []fault{{"Makefile", 1, "has no help", "let a goal list the others, by grep -hE"}}, nil
	}
	for _, goal := range phony {
		at := texts[goal]
		switch {
		case at == 0:
			faults = append(faults, fault{"Makefile", 1, goal + " has no text for help", "add ## and what it does to its line"})
		case !help.MatchString(lines[at-1]):
			faults = append(faults, fault{"Makefile", at, "make help does not list " + goal, "widen the pattern of help"})
		}
	}
	for goal, at := range texts {
		if !slices.Contains(phony, goal) {
			faults = append(faults, fault{"Makefile", at, goal + " is not in .PHONY", "add it: a file of that name would keep it from running"})
		}
	}
	return faults, nil
}
