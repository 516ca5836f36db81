package main

import (
	"regexp"
	"strings"
)

// action holds the Action's contract: every input and output of action.yml stands in a table of
// docs/action.md and the other way round, the entrypoint is fixed, and the image leaves user and
// folder to the runner.
func action(c checkout) ([]fault, error) {
	manifest, faults, err := c.mustLines("action.yml")
	if err != nil || faults != nil {
		return faults, err
	}
	docs, missing, err := c.mustLines("docs/action.md")
	if err != nil {
		return nil, err
	}
	dockerfile, noImage, err := c.mustLines("Dockerfile")
	if err != nil {
		return nil, err
	}
	faults = append(missing, noImage...)
	if missing == nil {
		faults = append(faults, contractFaults(manifest, docs)...)
	}
	faults = append(faults, entrypointFaults(manifest)...)
	return append(faults, lastStageFaults(dockerfile)...), nil
}

// contractFaults compares the names under inputs: and outputs: with the tables under the headings
// Inputs and Outputs.
func contractFaults(manifest, docs []string) []fault {
	var faults []fault
	for _, section := range []string{"inputs", "outputs"} {
		declared, documented := declaredNames(manifest, section), documentedNames(docs, section)
		if len(declared) == 0 {
			faults = append(faults, fault{"action.yml", 1, "has no " + section, "indent their names by two spaces under " + section + ":"})
		}
		for name, line := range declared {
			if documented[name] == 0 {
				faults = append(faults, fault{"action.yml", line, section + " " + name + " is not in docs/action.md", "add a row `" + name + "` to the table of " + section})
			}
		}
		for name, line := range documented {
			if declared[name] == 0 {
				faults = append(faults, fault{"docs/action.md", line, section + " " + name + " is not in action.yml", "remove the row or declare it"})
			}
		}
	}
	return faults
}

// declaredNames gives the names, with their lines, of one section of action.yml: a top-level key
// and its children at an indent of two spaces.
func declaredNames(manifest []string, section string) map[string]int {
	child := regexp.MustCompile(`^  ([A-Za-z0-9_-]+):`)
	names, inside := map[string]int{}, false
	for i, line := range manifest {
		if line != "" && line[0] != ' ' && line[0] != '#' {
			inside = strings.TrimRight(line, " ") == section+":"
		}
		if found := child.FindStringSubmatch(line); inside && found != nil {
			names[found[1]] = i + 1
		}
	}
	return names
}

// documentedNames gives the names, with their lines, that stand in backquotes in the first column
// of a table below a heading that is the section's name; a deeper heading does not end it.
func documentedNames(docs []string, section string) map[string]int {
	row := regexp.MustCompile("^\\| *`([^`]+)` *\\|")
	names, level := map[string]int{}, 0
	for i, line := range docs {
		if depth := headingDepth(line); depth > 0 && (level == 0 || depth <= level) {
			level = 0
			if strings.EqualFold(strings.TrimSpace(line[depth:]), section) {
				level = depth
			}
		}
		if found := row.FindStringSubmatch(line); level > 0 && found != nil {
			names[found[1]] = i + 1
		}
	}
	return names
}

func headingDepth(line string) int {
	depth := len(line) - len(strings.TrimLeft(line, "#"))
	if depth == 0 || !strings.HasPrefix(line[depth:], " ") {
		return 0
	}
	return depth
}

// entrypointFaults refuses what would let a workflow put its own program or arguments in place of ours: the runner takes
// the inputs `entrypoint` and `args` for itself, and the first replaces an entrypoint that is not declared.
func entrypointFaults(manifest []string) []fault {
	var faults []fault
	inputs := declaredNames(manifest, "inputs")
	for _, name := range []string{"args", "entrypoint"} {
		if inputs[name] != 0 {
			faults = append(faults, fault{"action.yml", inputs[name], "input " + name + " is taken by the runner for itself", "give it another name"})
		}
	}
	absolute := regexp.MustCompile(`^  entrypoint: */`)
	for _, line := range manifest {
		if absolute.MatchString(line) {
			return faults
		}
	}
	return append(faults, fault{"action.yml", max(1, declaredNames(manifest, "runs")["using"]), "runs has no absolute entrypoint", "declare entrypoint: /usr/local/bin/pageflare-action"})
}

// lastStageFaults refuses USER and WORKDIR in the stage that a plain build makes, the Action: with a user of its own it
// could not write to the runner's mounts, and the runner overrides the folder.
func lastStageFaults(dockerfile []string) []fault {
	var faults []fault
	for i, line := range dockerfile {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(word) {
		case "FROM":
			faults = nil
		case "USER", "WORKDIR":
			faults = append(faults, fault{"Dockerfile", i + 1, strings.ToUpper(word) + " in the last stage, which is the Action", "remove it: the runner decides both"})
		}
	}
	return faults
}
