package command

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// AdminToken is the commands of admin tokens.
type AdminToken struct {
	Create adminTokenCreate `cmd:"" help:"Make an admin token, by which the Admin API is called; it is shown this once."`
	List   adminTokenList   `cmd:"" help:"List the admin tokens, without their text."`
	Revoke adminTokenRevoke `cmd:"" help:"End an admin token."`
}

type adminTokenCreate struct {
	Output
	Scope []string  `required:"" help:"What it may do, such as accounts:read; can be given several times. \"all\" is every scope there is now." placeholder:"SCOPE"`
	Name  string    `default:"" help:"What it is for."`
	TTL   *lifetime `name:"ttl" help:"Its lifetime, such as 2160h. Default: until it is revoked." placeholder:"DURATION"`
}

// Run makes the admin token and prints its text alone, or all with --json.
func (c adminTokenCreate) Run(ctx context.Context, a *App) error {
	n := auth.NewAdminToken{Name: c.Name}
	for _, s := range c.Scope {
		if s == "all" {
			n.Scopes = append(n.Scopes, auth.Scopes...)
			continue
		}
		if !slices.Contains(auth.Scopes, auth.Scope(s)) {
			return Usagef("scope %q is none of all, %s", s, failure.Names(auth.Scopes))
		}
		n.Scopes = append(n.Scopes, auth.Scope(s))
	}
	if c.TTL != nil {
		if c.TTL.Duration < time.Minute {
			return Usagef("--ttl: %s is below a minute: give a duration such as 2160h", c.TTL)
		}
		n.Lifetime = c.TTL.Duration
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		text, record, err := l.Admins.CreateAdminToken(ctx, n, nil)
		if err != nil {
			return refusal(err)
		}
		j := show.AdminToken(record)
		j.AdminToken = text.Reveal()
		return c.printOnce(a, j, "admin token", j.ID, j.AdminToken)
	})
}

type adminTokenList struct {
	Output
	Limit limit  `default:"100" help:"How many to list at most."`
	After string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the admin tokens.
func (c adminTokenList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Admins.AdminTokens(ctx, c.After, c.Limit.andOne())
		if err != nil {
			return listRefusal("--after", err)
		}
		page := show.AdminTokens(found, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
			Row(w, "ID", "NAME", "CREATED", "EXPIRES", "REVOKED", "SCOPES")
			for _, t := range page.Items {
				Row(w, t.ID, t.Name, t.CreatedAt, orDash(t.ExpiresAt), orDash(t.RevokedAt),
					strings.Join(t.Scopes, ","))
			}
		})
	})
}

type adminTokenRevoke struct {
	Output
	Confirm
	Token string `arg:"" help:"Id (adm_…) or text (pf_adm_…) of the admin token; - reads it from standard input."`
}

// Run ends the admin token.
func (c adminTokenRevoke) Run(ctx context.Context, a *App) error {
	text, err := a.argument(c.Token)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(text, "adm_") && !opaque.AdminToken.Fits(text) {
		return Usagef("neither an admin token (pf_adm_…, 43 characters) nor the id of one (adm_…): copy it again") // not quoted: all but a letter of it may be right
	}
	if err := c.confirm(a, "The admin token ends"); err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		id, err := l.Admins.RevokeAdminToken(ctx, text)
		if err != nil {
			return refusal(err)
		}
		j := api.RevokedAdminToken{ID: id, Status: "revoked"}
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "status", j.Status)
		})
	})
}
