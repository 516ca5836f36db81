package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/parts"
)

type accountCmd struct {
	Create  accountCreate  `cmd:"" help:"Make an account with a license and a first API token, which is shown this once."`
	List    accountList    `cmd:"" help:"List accounts."`
	Show    accountShow    `cmd:"" help:"Show one account."`
	Update  accountUpdate  `cmd:"" help:"Change an account; tokens refreshed from now on carry the new values."`
	Suspend accountSuspend `cmd:"" help:"Refuse tokens to an account until it is restored."`
	Restore accountRestore `cmd:"" help:"Undo suspend."`
	SignIn  accountSignIn  `cmd:"" name:"sign-in" help:"Print a link by which a person signs in to this account in a browser, once, within 15 minutes."`
	Delete  accountDelete  `cmd:"" help:"End an account for good: erase its address and the names of its machines, end its API tokens, refuse its license tokens."`
}

// accountJSON is how an account is printed.
type accountJSON struct {
	ID         string   `json:"id"`
	Email      string   `json:"email"`
	Tier       string   `json:"tier"`
	Features   []string `json:"features"`
	ValidUntil string   `json:"valid_until"`
	Status     string   `json:"status"`
	CreatedAt  string   `json:"created_at"`
	APIToken   string   `json:"api_token,omitempty"`
}

func toAccountJSON(a account.Account) accountJSON {
	return accountJSON{a.ID, a.Email, string(a.Tier), a.Features, stamp(a.ValidUntil), string(a.Status), stamp(a.CreatedAt), ""}
}

func (j accountJSON) text(w io.Writer) {
	row(w, "id", j.ID)
	row(w, "email", j.Email)
	row(w, "tier", j.Tier)
	row(w, "features", strings.Join(j.Features, ","))
	row(w, "valid until", j.ValidUntil)
	row(w, "status", j.Status)
	row(w, "created", j.CreatedAt)
	if j.APIToken != "" {
		row(w, "API token", j.APIToken)
		row(w, "", "(store it now: it is shown this once)")
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
	asJSON
	Email      string       `required:"" help:"Address of the account; unique."`
	Tier       account.Tier `default:"pro" help:"free, pro or team."`
	Feature    []string     `help:"A feature of the license, such as critical_css. Can be given several times."`
	ValidUntil day          `required:"" help:"End of the license: a date or an RFC 3339 time."`
}

// Run makes the account.
func (c accountCreate) Run(ctx context.Context, a *app) error {
	first := !a.haveDatabase()
	return a.withNew(ctx, func(ctx context.Context, l *parts.Parts) error {
		if first {
			fmt.Fprintf(a.stderr, "note: there was no database at %s: a new one was made\n", hideUserInfo(a.cfg.DatabaseURL))
		}
		made, key, err := l.Accounts.CreateAccount(ctx, account.NewAccount{Email: c.Email, Tier: c.Tier, Features: c.Feature, ValidUntil: c.ValidUntil.Time})
		if err != nil {
			return refusal(err)
		}
		if !made.ValidUntil.After(time.Now()) {
			fmt.Fprintf(a.stderr, "warning: --valid-until %s has passed: this license is over, and its account gets no token until account update --valid-until\n", second(made.ValidUntil))
		}
		j := toAccountJSON(made)
		j.APIToken = key.Reveal()
		return c.print(a.stdout, j, j.text)
	})
}

type accountList struct {
	asJSON
	Limit limit  `default:"100" help:"How many to list at most."`
	After string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the accounts.
func (c accountList) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Accounts.Accounts(ctx, c.After, int(c.Limit))
		if err != nil {
			return refusal(err)
		}
		list := make([]accountJSON, 0, len(found))
		for _, x := range found {
			list = append(list, toAccountJSON(x))
		}
		return c.print(a.stdout, list, func(w io.Writer) {
			row(w, "ID", "EMAIL", "TIER", "VALID UNTIL", "STATUS")
			for _, x := range list {
				row(w, x.ID, x.Email, x.Tier, x.ValidUntil, x.Status)
			}
		})
	})
}

// oneAccount is what the commands on one account have in common.
type oneAccount struct {
	asJSON
	ID string `arg:"" help:"Id of the account."`
}

func (c oneAccount) run(ctx context.Context, a *app, act func(context.Context, *parts.Parts) (account.Account, error)) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		got, err := act(ctx, l)
		if err != nil {
			return refusal(err)
		}
		j := toAccountJSON(got)
		return c.print(a.stdout, j, j.text)
	})
}

type accountShow struct{ oneAccount }

// Run shows the account.
func (c accountShow) Run(ctx context.Context, a *app) error {
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
func (c accountUpdate) Run(ctx context.Context, a *app) error {
	change := account.Change{Email: c.Email, Tier: c.Tier}
	if len(c.Feature) > 0 || c.NoFeatures {
		change.Features = &c.Feature
	}
	if c.NoFeatures && len(c.Feature) > 0 {
		return usagef("--feature and --no-features exclude each other")
	}
	if c.ValidUntil != nil {
		change.ValidUntil = &c.ValidUntil.Time
	}
	if change == (account.Change{}) {
		return usagef("nothing to change: give --email, --tier, --feature, --no-features or --valid-until")
	}
	return c.run(ctx, a, func(ctx context.Context, l *parts.Parts) (account.Account, error) {
		return l.Accounts.UpdateAccount(ctx, c.ID, change)
	})
}

type accountSuspend struct{ oneAccount }

// Run suspends the account.
func (c accountSuspend) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, func(ctx context.Context, l *parts.Parts) (account.Account, error) {
		return l.Accounts.SuspendAccount(ctx, c.ID)
	})
}

type accountRestore struct{ oneAccount }

// Run restores the account.
func (c accountRestore) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, func(ctx context.Context, l *parts.Parts) (account.Account, error) {
		return l.Accounts.RestoreAccount(ctx, c.ID)
	})
}

type accountDelete struct{ oneAccount }

// Run deletes the account.
func (c accountDelete) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, func(ctx context.Context, l *parts.Parts) (account.Account, error) {
		return l.Accounts.DeleteAccount(ctx, c.ID)
	})
}
