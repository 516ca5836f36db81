package command

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

type policyExplain struct {
	Output
	Token   string `arg:"" default:"-" help:"Identity token of the job, or its claims as JSON; - reads either from standard input."`
	Request string `help:"Instead: the id of the request by which a job was refused (X-Request-Id), to explain that job." placeholder:"ID"`
}

// Run explains. It exchanges nothing; an expired token is fine, and that clause says so.
func (c policyExplain) Run(ctx context.Context, a *App) error {
	if c.Request != "" {
		return c.explainRefused(ctx, a)
	}
	text, err := a.argument(c.Token)
	if err != nil {
		return err
	}
	v, err := a.Verifier()
	if err != nil {
		return err
	}
	id, clauses, err := explainIdentity(ctx, v, text)
	if err != nil {
		return Usagef("%w: give an identity token of GitHub Actions, or the JSON object of its claims", err)
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		e, err := l.Policies.Explain(ctx, id, clauses)
		if err != nil {
			return err
		}
		return c.print(a, e, id)
	})
}

// explainRefused explains a job that was refused, by what the audit log has of it.
func (c policyExplain) explainRefused(ctx context.Context, a *App) error {
	if c.Token != "-" {
		return Usagef("give an identity token, or --request, and not both")
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		e, err := l.Jobs.ExplainRefused(ctx, c.Request, a.Issuers)
		if err != nil {
			return refusal(err)
		}
		return c.print(a, e, e.Refused.Identity)
	})
}

// print prints an explanation. ErrRefused: the job would be refused.
func (c policyExplain) print(a *App, e license.Explanation, id oidc.Identity) error {
	j := show.Explanation(e)
	if err := c.Print(a.Stdout, j, func(w io.Writer) { explanationText(w, j, id) }); err != nil {
		return err
	}
	if e.Outcome == oidc.Failed {
		return ErrRefused
	}
	return nil
}

func explainIdentity(ctx context.Context, v *oidc.Verifier,
	text string) (oidc.Identity, []oidc.Clause, error) {
	if scheme, token, ok := strings.Cut(text, " "); ok &&
		strings.EqualFold(scheme, "Bearer") { // copied out of a header
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

// explanationText is an explanation, for people.
func explanationText(w io.Writer, j api.Explanation, id oidc.Identity) {
	if j.Job != nil {
		refusedText(w, *j.Job)
		Row(w, "by the policies of today this job is "+j.Outcome)
	} else {
		Row(w, "this job is "+j.Outcome)
	}
	Row(w)
	Row(w, "THE IDENTITY TOKEN", "OUTCOME", "IT HAS", "ACCEPTED")
	clauseRows(w, j.Identity)
	if len(j.Policies) == 0 {
		Row(w)
		Row(w, fmt.Sprintf("there is no policy for repository_id %s (%s): add one with policy add",
			id.RepositoryID, dash(id.Repository)))
	}
	for _, p := range j.Policies {
		Row(w)
		Row(w, "POLICY "+p.ID, "OUTCOME", "THE JOB HAS", "ACCEPTED")
		clauseRows(w, p.Clauses)
	}
}

// clauseRows is the table of the clauses, and what to do about those that were not met, each on a
// line of its own: beside the table it would not fit a terminal.
func clauseRows(w io.Writer, clauses []api.Clause) {
	for _, c := range clauses {
		Row(w, c.Name, c.Outcome, dash(c.Got), dash(c.Want))
	}
	for _, c := range clauses {
		if c.Hint != "" {
			Row(w, "-> "+c.Name+": "+c.Hint)
		}
	}
}

// refusedText is a job that was refused, for people.
func refusedText(w io.Writer, j api.RefusedJob) {
	Row(w, "this job was refused at "+j.At+", by the clause "+j.Clause)
	Row(w)
	Row(w, "repository", dash(j.Repository))
	Row(w, "repository id", j.RepositoryID)
	Row(w, "owner id", j.RepositoryOwnerID)
	Row(w, "event", j.Event)
	Row(w, "ref", dash(j.Ref))
	Row(w, "environment", dash(j.Environment))
	Row(w, "job workflow", dash(j.JobWorkflowRef))
	Row(w, "run", dash(j.RunID))
	Row(w)
}
