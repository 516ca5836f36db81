package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// Policy is the commands of trust policies.
type Policy struct {
	Add     policyAdd     `cmd:"" help:"Let jobs of a repository, or of every repository of an organization, exchange their identity for license tokens of an account."`
	List    policyList    `cmd:"" help:"List the policies."`
	Remove  policyRemove  `cmd:"" help:"Remove a policy: no further job is allowed by it."`
	Explain policyExplain `cmd:"" help:"Say clause by clause why a job is allowed or refused."`
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
	Organization      string   `help:"Every repository of this organization, instead of one. Risk: also one that is made later, by anyone who may create repositories there, gets license tokens of the account. Narrow it with --job-workflow-ref." placeholder:"NAME"`
	FromFile          string   `help:"File with a repository in each line, OWNER/NAME (OWNER/* is an organization) or CSV; - is standard input. The flags below hold for all of them. All are added or none, 1000 at most." placeholder:"FILE"`
	RepositoryID      *string  `name:"repository-id" help:"Id of the repository, instead of its name." placeholder:"N"`
	RepositoryOwnerID string   `name:"repository-owner-id" help:"Id of its owner, instead of its name. Without --repository-id: every repository of that owner, with the risk of --organization." placeholder:"N"`
	Ref               []string `sep:"none" help:"Only this ref, such as refs/heads/main. Can be given several times, like those below."`
	Environment       []string `sep:"none" help:"Only jobs in this environment."`
	Event             []string `sep:"none" help:"Only this event. Without one: all but those that people without write access can cause, such as pull_request_target."`
	JobWorkflowRef    []string `sep:"none" help:"Only this reusable workflow: OWNER/REPOSITORY/.github/workflows/FILE@REF."`
	Visibility        []string `sep:"none" help:"Only while the repository is public, private or internal."`
	Issuer            string   `help:"Issuer of the identities. Needed when LICENSE_OIDC_ISSUERS names several." placeholder:"URL"`
}

// Run adds the policy, or those of a file.
func (c policyAdd) Run(ctx context.Context, a *App) error {
	p := license.TrustPolicy{AccountID: c.Account, Policy: oidc.Policy{
		Issuer: c.Issuer, Refs: c.Ref, Environments: c.Environment, Events: c.Event,
		JobWorkflowRefs: c.JobWorkflowRef, Visibilities: c.Visibility,
	}}
	if err := c.of(&p); err != nil {
		return err
	}
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
		return c.addFile(ctx, a, p)
	}
	remedy := "; or give --repository-id and --repository-owner-id"
	if c.Organization != "" {
		remedy = "; or give --repository-owner-id alone"
	}
	made, err := a.addPolicies(ctx, []license.TrustPolicy{p}, remedy)
	if err != nil {
		return refusal(license.OnlyFault(err))
	}
	j := show.Policy(made[0])
	return c.Print(a.Stdout, j, func(w io.Writer) { policyText(w, j) })
}

// of sets whose jobs the policy is for. What is given and empty is a variable without a value, and
// never widens it.
func (c policyAdd) of(p *license.TrustPolicy) error {
	byID := c.RepositoryID != nil || c.RepositoryOwnerID != ""
	p.Repository, p.OwnerID = c.Repository, c.RepositoryOwnerID
	switch {
	case c.FromFile != "" && (c.Repository != "" || c.Organization != "" || byID):
		return Usagef("--from-file names the repositories: leave --repository, --organization, --repository-id and --repository-owner-id out")
	case c.FromFile != "":
		return nil
	case c.Organization != "" && (c.Repository != "" || c.RepositoryID != nil):
		return Usagef("--organization stands for every repository of it: leave --repository and --repository-id out")
	case c.Organization != "":
		p.Repository = license.EveryRepository(c.Organization)
		byID = c.RepositoryOwnerID != ""
	case c.Repository == "" && !byID:
		return Usagef("which repository? give --repository OWNER/NAME, or --repository-id and --repository-owner-id, or --organization NAME for every repository of it")
	}
	switch {
	case !byID:
	case c.RepositoryID != nil:
		if p.RepositoryID = *c.RepositoryID; p.RepositoryID == "" || p.OwnerID == "" {
			return Usagef("--repository-id and --repository-owner-id go together, and neither is empty: a repository that is given to another owner must not keep its rights")
		}
	case c.Repository != "":
		return Usagef("--repository-id and --repository-owner-id go together: %s is one repository", c.Repository)
	default:
		p.RepositoryID = oidc.AnyRepository
	}
	return nil
}

// addFile adds the policies of a file.
func (c policyAdd) addFile(ctx context.Context, a *App, base license.TrustPolicy) error {
	text, err := a.file(c.FromFile)
	if err != nil {
		return err
	}
	list, lines, err := readPolicies(text, base)
	if err != nil {
		return UsageError{prefixed("--from-file", err)}
	}
	made, err := a.addPolicies(ctx, list, "")
	if faults, ok := errors.AsType[license.PolicyFaults](err); ok {
		err = faults.Named(func(i int) string {
			return fmt.Sprintf("--from-file: line %d", lines[i])
		})
	}
	if err != nil {
		return fmt.Errorf("%w\nno policy was added", refusal(err))
	}
	j := show.Each(made, show.Policy)
	return c.Print(a.Stdout, j, func(w io.Writer) { policyRows(w, j) })
}

// addPolicies adds policies of one account, all of them or none, and warns of those that trust a
// whole owner. GitHub is asked for the ids of those that have a name alone; remedy is what else can
// be done where it has no answer. license.PolicyFaults.
func (a *App) addPolicies(ctx context.Context, list []license.TrustPolicy,
	remedy string) (made []license.TrustPolicy, err error) {
	err = a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		if _, err := l.Accounts.Account(ctx, list[0].AccountID); err != nil { // before GitHub is asked
			return err
		}
		err := license.FindRepositories(ctx, list,
			func(ctx context.Context, name string) (repositoryID, ownerID string, err error) {
				if repositoryID, ownerID, err = a.Repository(ctx, name); err != nil {
					err = fmt.Errorf("%w%s", err, remedy)
				}
				return repositoryID, ownerID, err
			})
		if err == nil {
			made, err = l.Policies.AddPolicies(ctx, list)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, p := range made {
		if p.WholeOwner() {
			fmt.Fprintln(a.Stderr, ownerWarning(p))
		}
	}
	return made, nil
}

// ownerWarning is the risk of trusting a whole owner.
func ownerWarning(p license.TrustPolicy) string {
	owner := "owner " + p.OwnerID
	if name, named := license.OwnerOfEvery(p.Repository); named {
		owner = name + " (owner " + p.OwnerID + ")"
	}
	text := fmt.Sprintf("warning: policy %s trusts every repository of %s, also one that is made later by anyone who may create repositories there: all get license tokens of account %s",
		p.ID, owner, p.AccountID)
	if len(p.JobWorkflowRefs) == 0 {
		text += "; narrow it with --job-workflow-ref, for who makes a repository chooses its refs and environments"
	}
	return text
}

// prefixed puts a text before each of the errors that are joined in one.
func prefixed(text string, err error) error {
	return errors.New(text + ": " + strings.ReplaceAll(err.Error(), "\n", "\n"+text+": "))
}

type policyList struct {
	Output
	Account string `help:"Only those of this account." placeholder:"ID"`

	Repository string `help:"Only those of this repository: its id, or the name OWNER/NAME that it was added by; OWNER/* for an organization." placeholder:"REPOSITORY"`

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
			return listRefusal("--after", err)
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
