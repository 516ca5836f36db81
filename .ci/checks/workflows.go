package main

import (
	"path"
	"regexp"
	"strings"
)

// workflows holds that every foreign action and reusable workflow is named by the full hash of a
// commit, or of an image, with its version in a comment: a tag can be moved to other code, and a
// bare hash tells a reader nothing.
func workflows(c checkout) ([]fault, error) {
	var faults []fault
	for _, name := range c.names {
		if !isWorkflow(name) {
			continue
		}
		lines, err := c.lines(name)
		if err != nil {
			return nil, err
		}
		for i, line := range lines {
			if what, remedy := refuseUses(line); what != "" {
				faults = append(faults, fault{name, i + 1, what, remedy})
			}
		}
	}
	return faults, nil
}

// isWorkflow tells whether the file is a workflow, or an action that workflows here use.
func isWorkflow(name string) bool {
	extension := path.Ext(name)
	return (extension == ".yml" || extension == ".yaml") &&
		(strings.HasPrefix(name, ".github/workflows/") || strings.HasPrefix(name, ".github/actions/"))
}

// refuseUses gives what is wrong with one line, and nothing for a line that is right or uses
// nothing.
func refuseUses(line string) (what, remedy string) {
	uses := regexp.MustCompile(`^\s*(?:-\s+)?["']?uses["']?\s*:\s*["']?([^\s"'#]+)["']?\s*(#.*)?$`)
	found := uses.FindStringSubmatch(line)
	if found == nil || strings.HasPrefix(found[1], "./") {
		return "", ""
	}
	reference, comment := found[1], found[2]
	if !regexp.MustCompile(`@(?:[0-9a-f]{40}|sha256:[0-9a-f]{64})$`).MatchString(reference) {
		return "uses " + reference + " without the hash of a commit", "pin it by the 40 digits, with the version in a comment"
	}
	if !regexp.MustCompile(`^# v?[0-9]`).MatchString(comment) {
		return "uses " + reference + " without its version", "add the version as a comment: # v1.2.3"
	}
	return "", ""
}
