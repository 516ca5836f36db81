package license

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pageflare/ci/service/failure"
)

// MaxPolicies is how many policies are added at once at most: while they are, nobody else writes.
const MaxPolicies = 1000

func checkNumber(n int) error {
	switch {
	case n == 0:
		return failure.Invalid("no policy is given")
	case n > MaxPolicies:
		return failure.Invalid(fmt.Sprintf(
			"%d policies are more than %d: add them in several parts", n, MaxPolicies))
	}
	return nil
}

// PolicyFault is why one of several policies cannot be added.
type PolicyFault struct {
	Index int // in the list, from 0
	Err   error
}

// PolicyFaults is why several policies cannot be added: none was. It is never empty.
type PolicyFaults []PolicyFault

// OnlyFault is the error of an act on a single policy, without its index.
func OnlyFault(err error) error {
	if faults, ok := errors.AsType[PolicyFaults](err); ok {
		return faults[0].Err
	}
	return err
}

// with are the faults with that of one more policy, if it has any.
func (f PolicyFaults) with(index int, err error) PolicyFaults {
	if err == nil {
		return f
	}
	return append(f, PolicyFault{index, err})
}

// shownFaults is how many faults are told at most.
const shownFaults = 20

// Named are the faults with another name for each policy than the API's, such as its line in a
// file.
func (f PolicyFaults) Named(name func(index int) string) error { return namedFaults{f, name} }

type namedFaults struct {
	PolicyFaults
	name func(index int) string
}

func (f namedFaults) Error() string { return f.text(f.name) }

// text has a line for each fault, behind the name of its policy.
func (f PolicyFaults) text(name func(index int) string) string {
	var lines []string
	for _, fault := range f[:min(len(f), shownFaults)] {
		before := name(fault.Index) + ": "
		lines = append(lines,
			before+strings.ReplaceAll(fault.Err.Error(), "\n", "\n"+before))
	}
	if more := len(f) - shownFaults; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d policies more have errors", more))
	}
	return strings.Join(lines, "\n")
}

// Error calls the policies as the API does, items[0], items[1], ….
func (f PolicyFaults) Error() string {
	return f.text(func(i int) string { return fmt.Sprintf("items[%d]", i) })
}

// Unwrap is what is wrong with each.
func (f PolicyFaults) Unwrap() []error {
	errs := make([]error, len(f))
	for i, fault := range f {
		errs[i] = fault.Err
	}
	return errs
}

// FindRepositories gives their ids to those of the policies that have a name alone. find returns
// the ids of a repository and of its owner by the name OWNER/NAME, and of OWNER/*
// oidc.AnyRepository and the owner's; ErrInvalid: it cannot be a name, or nothing of that name can
// be seen. It is asked once for each name, and not at all when something else is wrong with a
// policy. PolicyFaults with ErrInvalid for each that is wrong; another error of find is the last
// one, for the next name would meet it too.
func FindRepositories(ctx context.Context, list []TrustPolicy,
	find func(ctx context.Context, name string) (repositoryID, ownerID string, err error)) error {
	if err := checkNumber(len(list)); err != nil {
		return err
	}
	var faults PolicyFaults
	for i, p := range list {
		fault := p.check()
		if p.named() {
			fault = invalid(p.CheckConditions())
		}
		faults = faults.with(i, fault)
	}
	if len(faults) > 0 {
		return faults
	}
	type ids struct {
		repository, owner string
		err               error
	}
	found := map[string]ids{}
	for i := range list {
		p := &list[i]
		if !p.named() {
			continue
		}
		name := strings.ToLower(p.Repository)
		got, asked := found[name]
		if !asked {
			got.repository, got.owner, got.err = find(ctx, p.Repository)
			found[name] = got
		}
		p.RepositoryID, p.OwnerID = got.repository, got.owner
		faults = faults.with(i, got.err)
		if got.err != nil && !errors.Is(got.err, failure.ErrInvalid) {
			break
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// named tells a policy that has the name of its repository, and no id.
func (p TrustPolicy) named() bool {
	return p.Repository != "" && p.RepositoryID == "" && p.OwnerID == ""
}

// invalid is an error as an ErrInvalid with the same text.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return failure.Invalid(err.Error())
}
