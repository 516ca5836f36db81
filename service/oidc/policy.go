package oidc

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// AnyRepository is the RepositoryID of a policy for every repository of its owner, also one that is
// made later. It must be said: a policy that leaves the id out allows nobody.
const AnyRepository = "*"

// Policy says which jobs are allowed: those of one repository, by the ids of it and its owner, as
// one issuer calls them; or those of all repositories of an owner. Each list narrows that further:
// the job's value must be in it. An empty list does not narrow; but an empty list of events accepts
// UsualEvents only.
type Policy struct {
	ID              string
	Version         int // 1, 2, 3, … of one account and repository: what was decided by which policy stays clear when policies change
	Issuer          string
	RepositoryID    string // decimal, or AnyRepository
	OwnerID         string // decimal
	Refs            []string
	Environments    []string
	Events          []string
	JobWorkflowRefs []string
	Visibilities    []string
}

// UsualEvents are accepted by a policy that names no event: those that only people with write
// access to the repository can cause. The others, pull_request_target, issue_comment and
// workflow_run first of all, run the repository's own workflows for anyone, so a policy must
// name them. (A pull request from a fork gets no identity token.)
var UsualEvents = []string{
	"deployment", "merge_group", "pull_request", "push", "release", "repository_dispatch", "schedule", "workflow_dispatch",
}

// WholeOwner says whether the policy is for every repository of its owner.
func (p Policy) WholeOwner() bool { return p.RepositoryID == AnyRepository }

// Match says whether the identity meets the policy.
func (p Policy) Match(id Identity) bool { return Met(p.Explain(id)) }

// Explain judges an identity by each clause of the policy. It is pure, and what Match says.
func (p Policy) Explain(id Identity) []Clause {
	events, hint := p.Events, "add a policy for the event "+id.Event+" if such jobs are to be allowed"
	if len(events) == 0 {
		events, hint = UsualEvents, hint+
			"; people without write access can cause it, and steer what the job does"
	}
	return []Clause{
		clause("policy issuer", p.Issuer != "" && p.Issuer == id.Issuer, p.Issuer, id.Issuer,
			"the ids of one GitHub mean nothing to another: add a policy for this issuer"),
		p.repository(id),
		clause("repository_owner_id", p.OwnerID != "" &&
			p.OwnerID == id.OwnerID, p.OwnerID, id.OwnerID,
			"the repository has another owner than when the policy was made: if that is right, remove the policy and add it again"),
		clause("event", slices.Contains(events, id.Event), oneOf(events), id.Event, hint),
		narrowed("ref", p.Refs, id.Ref, exactly),
		narrowed("environment", p.Environments, id.Environment,
			strings.EqualFold), // GitHub has one environment of each name
		narrowed("job_workflow_ref", p.JobWorkflowRefs, id.JobWorkflowRef, exactly),
		narrowed("visibility", p.Visibilities, id.Visibility, exactly),
	}
}

// repository is the clause of the repository. A policy for a whole owner asks for the id of one,
// and leaves it to the next clause whose it is.
func (p Policy) repository(id Identity) Clause {
	ok, want := p.RepositoryID == id.RepositoryID, p.RepositoryID
	if p.WholeOwner() {
		ok, want = true, "any of the owner"
	}
	return clause("repository_id", ok && decimal.MatchString(id.RepositoryID), want,
		id.RepositoryID, "add a policy for this repository")
}

func exactly(a, b string) bool { return a == b }

// narrowed is met by a value that equals one of the list, or by any when there is no list.
func narrowed(name string, list []string, got string, equal func(a, b string) bool) Clause {
	if len(list) == 0 {
		return clause(name, true, "any", got, "")
	}
	hint := "add a policy whose " + name + " names it"
	if got == "" {
		hint = "the job has none"
	}
	isGot := func(v string) bool { return equal(v, got) }
	return clause(name, got != "" && slices.ContainsFunc(list, isGot), oneOf(list), got, hint)
}

// Same says whether two policies allow the same jobs: the order of values counts for nothing.
func (p Policy) Same(o Policy) bool {
	if p.Issuer != o.Issuer || p.RepositoryID != o.RepositoryID || p.OwnerID != o.OwnerID {
		return false
	}
	for _, lists := range [][2][]string{
		{p.Refs, o.Refs}, {p.Environments, o.Environments}, {p.Events, o.Events}, {p.JobWorkflowRefs, o.JobWorkflowRefs}, {p.Visibilities, o.Visibilities},
	} {
		if !slices.Equal(slices.Sorted(slices.Values(lists[0])), slices.Sorted(slices.Values(lists[1]))) {
			return false
		}
	}
	return true
}

const (
	maxValues = 50
	maxValue  = 500 // bytes
)

var (
	eventName   = regexp.MustCompile(`^[a-z][a-z_]*$`)
	refName     = regexp.MustCompile(`^refs/(heads|tags|pull)/[^\s]+$`)
	workflowRef = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/\.github/workflows/[^/\p{Cc}]+\.ya?ml@[^\s]+$`)
	anyName     = regexp.MustCompile(`^\P{Cc}+$`)
	visibility  = regexp.MustCompile(`^(public|private|internal)$`)
)

// Check returns every fault of a policy, joined. What would be read as a pattern elsewhere is
// refused: here it would match nothing, and somebody would believe that it did.
func (p Policy) Check() error {
	var faults []error
	if !decimal.MatchString(p.RepositoryID) && !p.WholeOwner() {
		faults = append(faults,
			fmt.Errorf("repository id %q is not a number such as 1296269", p.RepositoryID))
	}
	if !decimal.MatchString(p.OwnerID) {
		faults = append(faults,
			fmt.Errorf("repository owner id %q is not a number such as 583231", p.OwnerID))
	}
	return errors.Join(append(faults, p.CheckConditions())...)
}

// CheckConditions is Check without the ids, for a policy whose ids are still to be found.
func (p Policy) CheckConditions() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults,
			fmt.Errorf(format, args...))
	}
	if err := CheckIssuer(p.Issuer); err != nil {
		faults = append(faults, err)
	}
	for _, list := range []struct {
		name   string
		values []string
		form   *regexp.Regexp
		like   string
	}{
		{"ref", p.Refs, refName, "a whole ref such as refs/heads/main"},
		{"environment", p.Environments, anyName, "the name of an environment"},
		{"event", p.Events, eventName, "the name of an event such as push"},
		{
			"job_workflow_ref", p.JobWorkflowRefs, workflowRef,
			"OWNER/REPOSITORY/.github/workflows/FILE.yml@REF",
		},
		{"visibility", p.Visibilities, visibility, "public, private or internal"},
	} {
		if len(list.values) > maxValues {
			fault("%d values of %s are more than %d", len(list.values), list.name, maxValues)
		}
		for i, v := range list.values {
			switch {
			case strings.ContainsAny(v, "*?[") && list.name != "environment":
				fault("%s %q looks like a pattern: name each value in full", list.name, v)
			case len(v) > maxValue || !list.form.MatchString(v):
				fault("%s %q is not %s", list.name, v, list.like)
			case slices.Contains(list.values[:i], v),
				list.name == "environment" &&
					slices.ContainsFunc(list.values[:i],
						func(o string) bool { return strings.EqualFold(o, v) }):
				fault("%s %q is there twice", list.name, v)
			case list.name == "event":
				if err := checkEvent(v); err != nil {
					faults = append(faults, err)
				}
			}
		}
	}
	return errors.Join(faults...)
}
