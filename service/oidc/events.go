package oidc

import (
	"fmt"
	"slices"
)

// events are those that start workflows, and so what an identity token can have as its event_name.
// workflow_call is not among them: a reusable workflow has the event of the one that calls it.
// https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows
var events = []string{
	"branch_protection_rule", "check_run", "check_suite", "create", "delete", "deployment", "deployment_status", "discussion", "discussion_comment", "fork",
	"gollum", "image_version", "issue_comment", "issues", "label", "merge_group", "milestone", "page_build", "public", "pull_request", "pull_request_review",
	"pull_request_review_comment", "pull_request_target", "push", "registry_package", "release", "repository_dispatch", "schedule", "status", "watch",
	"workflow_dispatch", "workflow_run",
}

// checkEvent refuses an event that GitHub does not have: a policy for it would never match, and
// nobody would be told.
func checkEvent(name string) error {
	if slices.Contains(events, name) {
		return nil
	}
	if name == "workflow_call" {
		return fmt.Errorf("event %q is none that a job has: a reusable workflow has the event of its caller", name)
	}
	nearest := slices.MinFunc(events,
		func(a, b string) int { return distance(name, a) - distance(name, b) })
	return fmt.Errorf("event %q is none of GitHub's: the nearest is %s", name, nearest)
}

// distance is how many letters have to be put in, taken out or changed to make one text of the
// other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
