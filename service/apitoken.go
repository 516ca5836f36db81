package main

import (
	"context"
	"io"
	"strings"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
)

type apiTokenCmd struct {
	Create apiTokenCreate `cmd:"" help:"Make one more API token for an account; it is shown this once."`
	List   apiTokenList   `cmd:"" help:"List the API tokens of an account, without their text."`
	Revoke apiTokenRevoke `cmd:"" help:"End an API token."`
}

// apiTokenJSON is how an API token is printed.
type apiTokenJSON struct {
	ID        string  `json:"id"`
	Account   string  `json:"account"`
	Name      string  `json:"name"`
	CreatedAt string  `json:"created_at"`
	RevokedAt *string `json:"revoked_at"`
	APIToken  string  `json:"api_token,omitempty"`
}

func toAPITokenJSON(t account.APIToken) apiTokenJSON {
	return apiTokenJSON{t.ID, t.AccountID, t.Name, stamp(t.CreatedAt), optional(t.RevokedAt), ""}
}

type apiTokenCreate struct {
	asJSON
	Account string `required:"" help:"Id of the account." placeholder:"ID"`
	Name    string `default:"" help:"What it is for."`
}

// Run makes the API token and prints its text alone, or all with --json.
func (c apiTokenCreate) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		text, record, err := l.Accounts.CreateAPIToken(ctx, c.Account, c.Name)
		if err != nil {
			return refusal(err)
		}
		j := toAPITokenJSON(record)
		j.APIToken = text.Reveal()
		return c.print(a.stdout, j, func(w io.Writer) { row(w, j.APIToken) })
	})
}

type apiTokenList struct {
	asJSON
	Account string `required:"" help:"Id of the account." placeholder:"ID"`
	Limit   limit  `default:"100" help:"How many to list at most."`
	After   string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the API tokens.
func (c apiTokenList) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Accounts.APITokens(ctx, c.Account, c.After, int(c.Limit))
		if err != nil {
			return refusal(err)
		}
		list := make([]apiTokenJSON, 0, len(found))
		for _, t := range found {
			list = append(list, toAPITokenJSON(t))
		}
		return c.print(a.stdout, list, func(w io.Writer) {
			row(w, "ID", "NAME", "CREATED", "REVOKED")
			for _, t := range list {
				row(w, t.ID, t.Name, t.CreatedAt, orDash(t.RevokedAt))
			}
		})
	})
}

type apiTokenRevoke struct {
	asJSON
	Token      string `arg:"" help:"Id (at_…) or text (pf_at_…) of the API token; - reads it from standard input."`
	WithTokens bool   `help:"Also every license token that was issued by it, and all that descends from those: for an API token that leaked."`
}

// Run ends the API token.
func (c apiTokenRevoke) Run(ctx context.Context, a *app) error {
	text, err := a.argument(c.Token)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(text, "at_") && !opaque.APIToken.Fits(text) {
		return usagef("neither an API token (pf_at_…, 42 characters) nor the id of one (at_…): copy it again") // not quoted: all but a letter of it may be right
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		id, families, err := l.Accounts.RevokeAPIToken(ctx, text, c.WithTokens)
		if err != nil {
			return refusal(err)
		}
		j := struct {
			ID       string `json:"id"`
			Status   string `json:"status"`
			Families int64  `json:"families_revoked"`
		}{id, "revoked", families}
		return c.print(a.stdout, j, func(w io.Writer) {
			row(w, "id", j.ID)
			row(w, "status", j.Status)
			if c.WithTokens {
				row(w, "families revoked", j.Families)
			}
		})
	})
}
