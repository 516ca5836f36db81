package command

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// Account is the commands of accounts.
type Account struct {
	Create  accountCreate  `cmd:"" help:"Make an account with a license and a first API token, which is shown this once."`
	List    accountList    `cmd:"" help:"List accounts."`
	Show    accountShow    `cmd:"" help:"Show one account."`
	Update  accountUpdate  `cmd:"" help:"Change an account; tokens refreshed from now on carry the new values."`
	Suspend accountSuspend `cmd:"" help:"Refuse tokens to an account until it is restored."`
	Restore accountRestore `cmd:"" help:"Undo suspend."`
	SignIn  accountSignIn  `cmd:"" name:"sign-in" help:"Print a link by which a person signs in to this account in a browser, once, within 15 minutes."`
	Delete  accountDelete  `cmd:"" help:"End an account for good: erase its address and the names of its machines, end its API tokens, refuse its license tokens."`
}

// accountText is an account, for people.
func accountText(w io.Writer, j api.Account) {
	Row(w, "id", j.ID)
	Row(w, "email", j.Email)
	Row(w, "tier", j.Tier)
	Row(w, "features", strings.Join(j.Features, ","))
	Row(w, "valid until", j.ValidUntil)
	Row(w, "status", j.Status)
	Row(w, "created", j.CreatedAt)
	if j.APIToken != "" {
		Row(w, "API token", j.APIToken)
		Row(w, "", "(store it now: it is shown this once)")
	}
}

// day is a date or an RFC 3339 time.
type day struct{ time.Time }

// UnmarshalText reads 2027-03-12, which is the start of that day in UTC, or 2027-03-12T12:00:00Z.
func (d *day) UnmarshalText(text []byte) error {
	t, err := account.ParseDay(string(text))
	d.Time = t
	return err
}

type accountCreate struct {
	Output
	Email      string       `required:"" help:"Address of the account; unique."`
	Tier       account.Tier `default:"pro" help:"free, pro or team."`
	Feature    []string     `help:"A feature of the license, such as critical_css. Can be given several times."`
	ValidUntil day          `required:"" help:"End of the license: a date or an RFC 3339 time."`
}

// Run makes the account.
func (c accountCreate) Run(ctx context.Context, a *App) error {
	first := !a.HaveDatabase(ctx)
	return a.WithNew(ctx, func(ctx context.Context, l *parts.Parts) error {
		if first {
			fmt.Fprintln(a.Stderr, "note: "+a.wasMade())
		}
		made, key, err := l.Accounts.CreateAccount(ctx,
			account.NewAccount{
				Email: c.Email, Tier: c.Tier, Features: c.Feature, ValidUntil: c.ValidUntil.Time,
			})
		if err != nil {
			return refusal(err)
		}
		if !made.ValidUntil.After(time.Now()) {
			fmt.Fprintf(a.Stderr,
				"warning: --valid-until %s has passed: this license is over, and its account gets no token until account update --valid-until\n", made.ValidUntil.Format(time.RFC3339))
		}
		j := show.Account(made)
		j.APIToken = key.Reveal()
		return c.Print(a.Stdout, j, func(w io.Writer) { accountText(w, j) })
	})
}

type accountList struct {
	Output
	Email string `help:"Only the account of this address." placeholder:"ADDRESS"`
	Limit limit  `default:"100" help:"How many to list at most."`
	After string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the accounts.
func (c accountList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Accounts.Accounts(ctx,
			account.Query{Email: c.Email, After: c.After, Limit: c.Limit.andOne()})
		if err != nil {
			return listRefusal("--after", err)
		}
		page := show.Accounts(found, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
			Row(w, "ID", "EMAIL", "TIER", "VALID UNTIL", "STATUS")
			for _, x := range page.Items {
				Row(w, x.ID, x.Email, x.Tier, x.ValidUntil, x.Status)
			}
		})
	})
}

// oneAccount is what the commands on one account have in common.
type oneAccount struct {
	Output
	ID string `arg:"" help:"Id of the account."`
}

func (c oneAccount) run(ctx context.Context, a *App,
	act func(context.Context, *parts.Parts) (account.Account, error)) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		got, err := act(ctx, l)
		if err != nil {
			return refusal(err)
		}
		j := show.Account(got)
		return c.Print(a.Stdout, j, func(w io.Writer) { accountText(w, j) })
	})
}

type accountShow struct{ oneAccount }

// Run shows the account.
func (c accountShow) Run(ctx context.Context, a *App) error {
	return c.run(ctx, a, func(ctx context.Context, l *parts.Parts) (account.Account, error) {
		return l.Accounts.Account(ctx, c.ID)
	})
}

type accountUpdate struct {
	oneAccount
	Email      *string       `help:"New address."`
	Tier       *account.Tier `help:"New tier."`
	Feature    []string      `help:"A feature; those given replace the old ones."`
	NoFeatures bool          `help:"Take all features away."`
	ValidUntil *day          `help:"New end of the license."`
}

// Run changes the account.
func (c accountUpdate) Run(ctx context.Context, a *App) error {
	change := account.Change{Email: c.Email, Tier: c.Tier}
	if len(c.Feature) > 0 || c.NoFeatures {
		change.Features = &c.Feature
	}
	if c.NoFeatures && len(c.Feature) > 0 {
		return Usagef("--feature and --no-features exclude each other")
	}
	if c.ValidUntil != nil {
		change.ValidUntil = &c.ValidUntil.Time
	}
	if change == (account.Change{}) {
		return Usagef("nothing to change: give --email, --tier, --feature, --no-features or --valid-until")
	}
	return c.run(ctx, a, func(ctx context.Context, l *parts.Parts) (account.Account, error) {
		return l.Accounts.UpdateAccount(ctx, c.ID, change)
	})
}

type accountSuspend struct{ oneAccount }

// Run suspends the account.
func (c accountSuspend) Run(ctx context.Context, a *App) error {
	return c.run(ctx, a, func(ctx context.Context, l *parts.Parts) (account.Account, error) {
		return l.Accounts.SuspendAccount(ctx, c.ID)
	})
}

type accountRestore struct{ oneAccount }

// Run restores the account.
func (c accountRestore) Run(ctx context.Context, a *App) error {
	return c.run(ctx, a, func(ctx context.Context, l *parts.Parts) (account.Account, error) {
		return l.Accounts.RestoreAccount(ctx, c.ID)
	})
}

type accountDelete struct {
	oneAccount
	Confirm
}

// Run deletes the account.
func (c accountDelete) Run(ctx context.Context, a *App) error {
	if err := c.confirm(a, "Account %s ends, with its tokens", c.ID); err != nil {
		return err
	}
	return c.run(ctx, a, func(ctx context.Context, l *parts.Parts) (account.Account, error) {
		return l.Accounts.DeleteAccount(ctx, c.ID)
	})
}
