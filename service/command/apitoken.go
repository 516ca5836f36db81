package command

import (
	"context"
	"io"
	"strings"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// APIToken is the commands of API tokens.
type APIToken struct {
	Create apiTokenCreate `cmd:"" help:"Make one more API token for an account; it is shown this once."`
	List   apiTokenList   `cmd:"" help:"List the API tokens of an account, without their text."`
	Revoke apiTokenRevoke `cmd:"" help:"End an API token."`
}

type apiTokenCreate struct {
	Output
	Account string `required:"" help:"Id of the account." placeholder:"ID"`
	Name    string `default:"" help:"What it is for."`
}

// Run makes the API token and prints its text alone, or all with --json.
func (c apiTokenCreate) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		text, record, err := l.Accounts.CreateAPIToken(ctx, c.Account, c.Name)
		if err != nil {
			return refusal(err)
		}
		j := show.APIToken(record)
		j.APIToken = text.Reveal()
		return c.printOnce(a, j, "API token", j.ID, j.APIToken)
	})
}

type apiTokenList struct {
	Output
	Account string `required:"" help:"Id of the account." placeholder:"ID"`
	Limit   limit  `default:"100" help:"How many to list at most."`
	After   string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the API tokens.
func (c apiTokenList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Accounts.APITokens(ctx, c.Account, c.After, c.Limit.andOne())
		if err != nil {
			return listRefusal("--after", err)
		}
		page := show.APITokens(found, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
			Row(w, "ID", "NAME", "CREATED", "REVOKED")
			for _, t := range page.Items {
				Row(w, t.ID, t.Name, t.CreatedAt, orDash(t.RevokedAt))
			}
		})
	})
}

type apiTokenRevoke struct {
	Output
	Confirm
	Token      string `arg:"" help:"Id (at_…) or text (pf_at_…) of the API token; - reads it from standard input."`
	WithTokens bool   `help:"Also every license token that was issued by it, and all that descends from those: for an API token that leaked."`
}

// Run ends the API token.
func (c apiTokenRevoke) Run(ctx context.Context, a *App) error {
	text, err := a.argument(c.Token)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(text, "at_") && !opaque.APIToken.Fits(text) {
		return Usagef("neither an API token (pf_at_…, 42 characters) nor the id of one (at_…): copy it again") // not quoted: all but a letter of it may be right
	}
	what := "The API token ends"
	if c.WithTokens {
		what += ", with every license token that it issued"
	}
	if err := c.confirm(a, what); err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		id, families, err := l.Accounts.RevokeAPIToken(ctx, text, c.WithTokens)
		if err != nil {
			return refusal(err)
		}
		j := api.RevokedAPIToken{ID: id, Status: "revoked", FamiliesRevoked: families}
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "status", j.Status)
			if c.WithTokens {
				Row(w, "families revoked", j.FamiliesRevoked)
			}
		})
	})
}
