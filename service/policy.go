package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/parts"
)

type policyCmd struct {
	Add     policyAdd     `cmd:"" help:"Let jobs of a repository exchange their identity for license tokens of an account."`
	List    policyList    `cmd:"" help:"List the policies."`
	Remove  policyRemove  `cmd:"" help:"Remove a policy: no further job is let in by it."`
	Explain policyExplain `cmd:"" help:"Say clause by clause why a job is let in or refused."`
}

// policyJSON is how a policy is printed.
type policyJSON struct {
	ID             string   `json:"id"`
	Version        int      `json:"version"`
	Account        string   `json:"account"`
	Repository     string   `json:"repository"`
	Issuer         string   `json:"issuer"`
	RepositoryID   string   `json:"repository_id"`
	OwnerID        string   `json:"repository_owner_id"`
	Ref            []string `json:"ref,omitempty"`
	Environment    []string `json:"environment,omitempty"`
	Event          []string `json:"event,omitempty"`
	JobWorkflowRef []string `json:"job_workflow_ref,omitempty"`
	Visibility     []string `json:"visibility,omitempty"`
	CreatedAt      string   `json:"created_at"`
}

func toPolicyJSON(p license.TrustPolicy) policyJSON {
	return policyJSON{
		p.ID, p.Version, p.AccountID, p.Repository, p.Issuer, p.RepositoryID, p.OwnerID, p.Refs, p.Environments, p.Events, p.JobWorkflowRefs,
		p.Visibilities, stamp(p.CreatedAt),
	}
}

// narrowing is what of the job the policy asks for beside its repository, in one line.
func (j policyJSON) narrowing() string {
	var parts []string
	for _, list := range []struct {
		name   string
		values []string
	}{{"ref", j.Ref}, {"environment", j.Environment}, {"event", j.Event}, {"job-workflow-ref", j.JobWorkflowRef}, {"visibility", j.Visibility}} {
		if len(list.values) > 0 {
			parts = append(parts, list.name+"="+strings.Join(list.values, "|"))
		}
	}
	return dash(strings.Join(parts, " "))
}

func (j policyJSON) text(w io.Writer) {
	row(w, "id", j.ID)
	row(w, "version", j.Version)
	row(w, "account", j.Account)
	row(w, "repository", j.Repository)
	row(w, "issuer", j.Issuer)
	row(w, "repository id", j.RepositoryID)
	row(w, "owner id", j.OwnerID)
	row(w, "only", j.narrowing())
}

type policyAdd struct {
	asJSON
	Account           string   `required:"" help:"Id of the account whose license is used." placeholder:"ID"`
	Repository        string   `help:"OWNER/NAME; GitHub is asked once for its ids, and they are what counts. A private one needs GITHUB_TOKEN." placeholder:"OWNER/NAME"`
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
func (c policyAdd) Run(ctx context.Context, a *app) error {
	byID := c.RepositoryID != "" || c.RepositoryOwnerID != ""
	switch {
	case c.Repository == "" && !byID:
		return usagef("which repository? give --repository OWNER/NAME, or --repository-id and --repository-owner-id")
	case byID && (c.RepositoryID == "" || c.RepositoryOwnerID == ""):
		return usagef("--repository-id and --repository-owner-id go together: a repository that is given to another owner must not keep its rights")
	}
	p := license.TrustPolicy{AccountID: c.Account, Repository: c.Repository, Policy: oidc.Policy{
		Issuer: c.Issuer, RepositoryID: c.RepositoryID, OwnerID: c.RepositoryOwnerID, Refs: c.Ref, Environments: c.Environment, Events: c.Event,
		JobWorkflowRefs: c.JobWorkflowRef, Visibilities: c.Visibility,
	}}
	if len(a.cfg.OIDCIssuers) == 0 {
		return usagef("--issuer: LICENSE_OIDC_ISSUERS is empty, so no identity would ever be trusted")
	}
	if p.Issuer == "" {
		switch len(a.cfg.OIDCIssuers) {
		case 1:
			p.Issuer = a.cfg.OIDCIssuers[0]
		default:
			return usagef("--issuer: the ids of one GitHub mean nothing to another: give one of %s", strings.Join(a.cfg.OIDCIssuers, ", "))
		}
	}
	if !slices.Contains(a.cfg.OIDCIssuers, p.Issuer) {
		return usagef("--issuer: %s is not in LICENSE_OIDC_ISSUERS, so no identity of it would ever be trusted: give one of %s", p.Issuer, strings.Join(a.cfg.OIDCIssuers, ", "))
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		if _, err := l.Accounts.Account(ctx, p.AccountID); err != nil { // before GitHub is asked
			return refusal(err)
		}
		if !byID {
			var err error
			if p.RepositoryID, p.OwnerID, err = a.repository(ctx, p.Repository); err != nil {
				return refusal(fmt.Errorf("%w; or give --repository-id and --repository-owner-id", err))
			}
		}
		made, err := l.Policies.AddPolicy(ctx, p)
		if err != nil {
			return refusal(err)
		}
		j := toPolicyJSON(made)
		return c.print(a.stdout, j, j.text)
	})
}

type policyList struct {
	asJSON
	Account string `help:"Only those of this account." placeholder:"ID"`
	Limit   limit  `default:"100" help:"How many to list at most."`
	After   string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the policies.
func (c policyList) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Policies.Policies(ctx, c.Account, c.After, int(c.Limit))
		if err != nil {
			return refusal(err)
		}
		list := make([]policyJSON, 0, len(found))
		for _, p := range found {
			list = append(list, toPolicyJSON(p))
		}
		return c.print(a.stdout, list, func(w io.Writer) {
			row(w, "ID", "ACCOUNT", "REPOSITORY", "REPOSITORY ID", "OWNER ID", "ONLY")
			for _, p := range list {
				row(w, p.ID, p.Account, dash(p.Repository), p.RepositoryID, p.OwnerID, p.narrowing())
			}
		})
	})
}

type policyRemove struct {
	asJSON
	ID         string `arg:"" help:"Id of the policy."`
	WithTokens bool   `help:"Also every license token that was issued under it: for a repository that cannot be trusted any more."`
}

// Run removes the policy.
func (c policyRemove) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		families, err := l.Policies.RemovePolicy(ctx, c.ID, c.WithTokens)
		if err != nil {
			return refusal(err)
		}
		j := struct {
			ID       string `json:"id"`
			Status   string `json:"status"`
			Families int64  `json:"families_revoked"`
		}{c.ID, "removed", families}
		return c.print(a.stdout, j, func(w io.Writer) {
			row(w, "id", j.ID)
			row(w, "status", j.Status)
			if c.WithTokens {
				row(w, "families revoked", j.Families)
			}
		})
	})
}

type policyExplain struct {
	asJSON
	Token string `arg:"" default:"-" help:"Identity token of the job, or its claims as JSON; - reads either from standard input."`
}

// explanationJSON is how an explanation is printed.
type explanationJSON struct {
	LetIn    bool          `json:"let_in"`
	Outcome  string        `json:"outcome"` // in words: license.Explanation.Verdict
	Identity []clauseJSON  `json:"identity"`
	Policies []verdictJSON `json:"policies"`
}

type verdictJSON struct {
	ID      string       `json:"id"`
	Version int          `json:"version"`
	Account string       `json:"account"`
	LetIn   bool         `json:"let_in"`
	Clauses []clauseJSON `json:"clauses"`
}

type clauseJSON struct {
	Name    string       `json:"name"`
	Outcome oidc.Outcome `json:"outcome"`
	Want    string       `json:"want"`
	Got     string       `json:"got,omitempty"`
	Hint    string       `json:"hint,omitempty"`
}

func toClauses(clauses []oidc.Clause) []clauseJSON {
	out := make([]clauseJSON, 0, len(clauses))
	for _, c := range clauses {
		out = append(out, clauseJSON(c))
	}
	return out
}

// Run explains. It exchanges nothing; an expired token is fine, and that clause says so.
func (c policyExplain) Run(ctx context.Context, a *app) error {
	text, err := a.argument(c.Token)
	if err != nil {
		return err
	}
	v, err := a.verifier(a.publicURL(a.cfg.Listen), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	id, clauses, err := explainIdentity(ctx, v, text)
	if err != nil {
		return usagef("%w: give an identity token of GitHub Actions, or the JSON object of its claims", err)
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		e, err := l.Policies.Explain(ctx, id, clauses)
		if err != nil {
			return err
		}
		j := explanationJSON{LetIn: e.Outcome == oidc.Passed, Outcome: e.Verdict(), Identity: toClauses(e.Identity), Policies: []verdictJSON{}}
		for _, v := range e.Policies {
			j.Policies = append(j.Policies, verdictJSON{v.Policy.ID, v.Policy.Version, v.Policy.AccountID, oidc.Met(v.Clauses), toClauses(v.Clauses)})
		}
		return c.print(a.stdout, j, func(w io.Writer) { j.text(w, id) })
	})
}

func explainIdentity(ctx context.Context, v *oidc.Verifier, text string) (oidc.Identity, []oidc.Clause, error) {
	if scheme, token, ok := strings.Cut(text, " "); ok && strings.EqualFold(scheme, "Bearer") { // copied out of a header
		text = strings.TrimSpace(token)
	}
	if !strings.HasPrefix(text, "{") {
		return v.Explain(ctx, text)
	}
	id, err := oidc.ParseClaims([]byte(text))
	if err != nil {
		return id, nil, err
	}
	return id, v.ExplainClaims(id), nil
}

func (j explanationJSON) text(w io.Writer, id oidc.Identity) {
	row(w, "this job is "+j.Outcome)
	row(w)
	row(w, "THE IDENTITY TOKEN", "OUTCOME", "IT HAS", "ACCEPTED")
	clauseRows(w, j.Identity)
	if len(j.Policies) == 0 {
		row(w)
		row(w, fmt.Sprintf("there is no policy for repository_id %s (%s): add one with policy add", id.RepositoryID, dash(id.Repository)))
	}
	for _, p := range j.Policies {
		row(w)
		row(w, "POLICY "+p.ID, "OUTCOME", "THE JOB HAS", "ACCEPTED")
		clauseRows(w, p.Clauses)
	}
}

// clauseRows is the table of the clauses, and what to do about those that were not met, each on a line of its own: beside the table it would not fit
// a terminal.
func clauseRows(w io.Writer, clauses []clauseJSON) {
	for _, c := range clauses {
		row(w, c.Name, c.Outcome, dash(c.Got), dash(c.Want))
	}
	for _, c := range clauses {
		if c.Hint != "" {
			row(w, "-> "+c.Name+": "+c.Hint)
		}
	}
}
