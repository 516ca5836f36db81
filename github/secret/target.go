package secret

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pageflare/ci/github"
)

// A Target is a place that keeps secrets; ParseTargets makes it. Which kinds there are, and what a
// token needs for each: kind.go.
type Target struct {
	kind string // of kinds: "repository", "dependabot/organization"
	name string // of the environment or the organization; empty for a repository
}

// String gives the target as ParseTargets reads it.
func (t Target) String() string {
	if t.name == "" {
		return t.kind
	}
	return t.kind + ":" + t.name
}

// accepted lists the spellings, for messages.
const accepted = `"repository", "environment:NAME" and "organization:NAME", the first and the last also with "dependabot/" or ` +
	`"codespaces/" before them`

// ParseTargets reads a list of targets that are separated by commas or line breaks. Blank entries
// are skipped, so a list may end with a comma. The faults of all entries come back together; a
// target named twice is a fault, because one of the two is most likely a slip. Names of
// environments and organizations match in any case.
func ParseTargets(list string) ([]Target, error) {
	var targets []Target
	var faults []error
	seen := make(map[string]bool)
	for _, entry := range entries(list) {
		target, err := parseTarget(entry)
		key := strings.ToLower(target.String())
		switch {
		case err != nil:
			faults = append(faults, err)
		case seen[key]:
			faults = append(faults, fmt.Errorf("target %q is listed twice: remove one", entry))
		default:
			seen[key] = true
			targets = append(targets, target)
		}
	}
	if len(targets)+len(faults) == 0 {
		return nil, fmt.Errorf("no target: name at least one; accepted: %s", accepted)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return targets, nil
}

func entries(list string) []string {
	var out []string
	for _, entry := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if entry = strings.TrimSpace(entry); entry != "" {
			out = append(out, entry)
		}
	}
	return out
}

func parseTarget(entry string) (Target, error) {
	spelled, name, named := strings.Cut(entry, ":")
	t := Target{strings.TrimSpace(spelled), strings.TrimSpace(name)}
	if strings.HasSuffix(t.kind, "/environment") {
		return Target{}, fmt.Errorf("target %q: environments keep Actions secrets only; write environment:NAME without a prefix", entry)
	}
	if !slices.ContainsFunc(kinds(), func(k kind) bool { return k.spelled == t.kind }) {
		return Target{}, fmt.Errorf("target %q is not known: accepted: %s", entry, accepted)
	}
	switch of := t.of(); {
	case of.scope == ofRepository && named:
		return Target{}, fmt.Errorf("target %q: a repository has no name here; write %s, which is the repository of the workflow", entry, t.kind)
	case of.scope != ofRepository && t.name == "":
		return Target{}, fmt.Errorf("target %q: name the %s, as in %s:%s", entry, of.scope, t.kind, of.scope.example())
	case of.scope == ofEnvironment:
		return t, checkEnvironment(t.name)
	case of.scope == ofOrganization:
		return t, checkOrganization(t.name)
	}
	return t, nil
}

// checkEnvironment takes any name that GitHub takes, but for what the list cannot spell and what
// bends a path even when it is escaped.
func checkEnvironment(name string) error {
	switch {
	case utf8.RuneCountInString(name) > 255:
		return fmt.Errorf("environment %.20q…: %d characters: GitHub takes at most 255", name, utf8.RuneCountInString(name))
	case name == "." || name == "..":
		return fmt.Errorf("environment %q: no URL can name it; choose another name", name)
	case github.Plain(name) != name:
		return fmt.Errorf("environment %q has a character that cannot be printed: remove it", github.Plain(name))
	}
	return nil
}

func checkOrganization(name string) error {
	if _, err := github.ParseRepo(name + "/x"); err != nil {
		return fmt.Errorf("organization %q: want its login, such as acme", name)
	}
	return nil
}
