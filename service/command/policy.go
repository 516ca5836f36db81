package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// Policy is the commands of trust policies.
type Policy struct {
	Add     policyAdd     `cmd:"" help:"Let jobs of a repository exchange their identity for license tokens of an account."`
	List    policyList    `cmd:"" help:"List the policies."`
	Remove  policyRemove  `cmd:"" help:"Remove a policy: no further job is let in by it."`
	Explain policyExplain `cmd:"" help:"Say clause by clause why a job is let in or refused."`
}

// conditions is what of the job the policy asks for beside its repository, in one line.
func conditions(j api.Policy) string {
	var parts []string
	for _, list := range []struct {
		name   string
		values []string
	}{
		{"ref", j.Ref}, {"environment", j.Environment}, {"event", j.Event},
		{"job-workflow-ref", j.JobWorkflowRef}, {"visibility", j.Visibility},
	} {
		if len(list.values) > 0 {
			parts = append(parts, list.name+"="+strings.Join(list.values, "|"))
		}
	}
	return dash(strings.Join(parts, " "))
}

// policyText is a policy, for people.
func policyText(w io.Writer, j api.Policy) {
	Row(w, "id", j.ID)
	Row(w, "version", j.Version)
	Row(w, "account", j.Account)
	Row(w, "repository", j.Repository)
	Row(w, "issuer", j.Issuer)
	Row(w, "repository id", j.RepositoryID)
	Row(w, "owner id", j.RepositoryOwnerID)
	Row(w, "only", conditions(j))
}

type policyAdd struct {
	Output
	Account           string   `required:"" help:"Id of the account whose license is used." placeholder:"ID"`
	Repository        string   `help:"OWNER/NAME; GitHub is asked once for its ids, and they are what counts. A private one needs GITHUB_TOKEN." placeholder:"OWNER/NAME"`
	FromFile          string   `help:"File with a repository in each line, OWNER/NAME or CSV; - is standard input. The flags below hold for all of them." placeholder:"FILE"`
	RepositoryID      string   `name:"repository-id" help:"Id of the repository, instead of its name." placeholder:"N"`
	RepositoryOwnerID string   `name:"repository-owner-id" help:"Id of its owner, instead of its name." placeholder:"N"`
	Ref               []string `sep:"none" help:"Only this ref, such as refs/heads/main. Can be given several times, like those below."`
	Environment       []string `sep:"none" help:"Only jobs in this environment."`
	Event             []string `sep:"none" help:"Only this event. Without one: all but those that people without write access can cause, such as pull_request_target."`
	JobWorkflowRef    []string `sep:"none" help:"Only this reusable workflow: OWNER/REPOSITORY/.github/workflows/FILE@REF."`
	Visibility        []string `sep:"none" help:"Only while the repository is public, private or internal."`
	Issuer            string   `help:"Issuer of the identities. Needed when LICENSE_OIDC_ISSUERS names several." placeholder:"URL"`
}

// Run adds the policy.
func (c policyAdd) Run(ctx context.Context, a *App) error {
	byID := c.RepositoryID != "" || c.RepositoryOwnerID != ""
	switch {
	case c.FromFile != "" && (c.Repository != "" || byID):
		return Usagef("--from-file names the repositories: leave --repository, --repository-id and --repository-owner-id out")
	case c.FromFile == "" && c.Repository == "" && !byID:
		return Usagef("which repository? give --repository OWNER/NAME, or --repository-id and --repository-owner-id")
	case byID && (c.RepositoryID == "" || c.RepositoryOwnerID == ""):
		return Usagef("--repository-id and --repository-owner-id go together: a repository that is given to another owner must not keep its rights")
	}
	p := license.TrustPolicy{AccountID: c.Account, Repository: c.Repository, Policy: oidc.Policy{
		Issuer: c.Issuer, RepositoryID: c.RepositoryID, OwnerID: c.RepositoryOwnerID, Refs: c.Ref, Environments: c.Environment, Events: c.Event,
		JobWorkflowRefs: c.JobWorkflowRef, Visibilities: c.Visibility,
	}}
	if len(a.Issuers) == 0 {
		return Usagef("--issuer: LICENSE_OIDC_ISSUERS is empty, so no identity would ever be trusted")
	}
	if p.Issuer == "" {
		switch len(a.Issuers) {
		case 1:
			p.Issuer = a.Issuers[0]
		default:
			return Usagef("--issuer: the ids of one GitHub mean nothing to another: give one of %s",
				strings.Join(a.Issuers, ", "))
		}
	}
	if !slices.Contains(a.Issuers, p.Issuer) {
		return Usagef("--issuer: %s is not in LICENSE_OIDC_ISSUERS, so no identity of it would ever be trusted: give one of %s", p.Issuer, strings.Join(a.Issuers, ", "))
	}
	if c.FromFile != "" {
		return c.addAll(ctx, a, p)
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		if _, err := l.Accounts.Account(ctx, p.AccountID); err != nil { // before GitHub is asked
			return refusal(err)
		}
		if !byID {
			var err error
			if p.RepositoryID, p.OwnerID, err = a.Repository(ctx, p.Repository); err != nil {
				return refusal(fmt.Errorf("%w; or give --repository-id and --repository-owner-id",
					err))
			}
		}
		made, err := l.Policies.AddPolicy(ctx, p)
		if err != nil {
			return refusal(err)
		}
		j := show.Policy(made)
		return c.Print(a.Stdout, j, func(w io.Writer) { policyText(w, j) })
	})
}

// addAll adds the policies of a file: all lines are read and all repositories found before the
// first one is added. One that is there already stays as it is, so that a file can be given again.
func (c policyAdd) addAll(ctx context.Context, a *App, base license.TrustPolicy) error {
	text, err := a.file(c.FromFile)
	if err != nil {
		return err
	}
	list, err := readPolicies(text, base)
	if err != nil {
		return UsageError{prefixed("--from-file", err)}
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		if _, err := l.Accounts.Account(ctx, base.AccountID); err != nil { // before GitHub is asked
			return refusal(err)
		}
		var faults []error
		for i, p := range list {
			var err error
			if p.RepositoryID == "" {
				p.RepositoryID, p.OwnerID, err = a.Repository(ctx, p.Repository)
			}
			if fault := p.Check(); err == nil && fault != nil {
				err = failure.Invalid(fault.Error())
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("--from-file: line %d: %w", p.line, err))
			}
			list[i] = p
		}
		if len(faults) > 0 {
			return fmt.Errorf("%w\nno policy was added", refusal(errors.Join(faults...)))
		}
		made := make([]license.TrustPolicy, 0, len(list))
		for _, p := range list {
			m, err := l.Policies.AddPolicy(ctx, p.TrustPolicy)
			if err != nil {
				return refusal(fmt.Errorf("--from-file: line %d: %w; %d of %d lines are done: give the file again", p.line, err, len(made), len(list)))
			}
			made = append(made, m)
		}
		j := show.Each(made, show.Policy)
		return c.Print(a.Stdout, j, func(w io.Writer) { policyRows(w, j) })
	})
}

// prefixed puts a text before each of the errors that are joined in one.
func prefixed(text string, err error) error {
	return errors.New(text + ": " + strings.ReplaceAll(err.Error(), "\n", "\n"+text+": "))
}

type policyList struct {
	Output
	Account string `help:"Only those of this account." placeholder:"ID"`

	Repository string `help:"Only those of this repository: its id, or the name OWNER/NAME that it was added by." placeholder:"REPOSITORY"`

	Limit limit  `default:"100" help:"How many to list at most."`
	After string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the policies.
func (c policyList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Policies.Policies(ctx, license.PolicyQuery{
			Account: c.Account, Repository: c.Repository, After: c.After, Limit: c.Limit.andOne(),
		})
		if err != nil {
			return refusal(err)
		}
		page := show.Policies(found, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor,
			func(w io.Writer) { policyRows(w, page.Items) })
	})
}

// policyRows is a table of policies.
func policyRows(w io.Writer, list []api.Policy) {
	Row(w, "ID", "ACCOUNT", "REPOSITORY", "REPOSITORY ID", "OWNER ID", "ONLY")
	for _, p := range list {
		Row(w, p.ID, p.Account, dash(p.Repository), p.RepositoryID, p.RepositoryOwnerID, conditions(p))
	}
}

type policyRemove struct {
	Output
	Confirm
	ID         string `arg:"" help:"Id of the policy."`
	WithTokens bool   `help:"Also every license token that was issued under it: for a repository that cannot be trusted any more."`
}

// Run removes the policy.
func (c policyRemove) Run(ctx context.Context, a *App) error {
	if c.WithTokens { // the policy alone can be added again
		if err := c.confirm(a, "Policy %s ends, with every license token that was issued under it", c.ID); err != nil {
			return err
		}
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		families, err := l.Policies.RemovePolicy(ctx, c.ID, c.WithTokens)
		if err != nil {
			return refusal(err)
		}
		j := api.RemovedPolicy{ID: c.ID, Status: "removed", FamiliesRevoked: families}
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "status", j.Status)
			if c.WithTokens {
				Row(w, "families revoked", j.FamiliesRevoked)
			}
		})
	})
}
