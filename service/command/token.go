package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// Token is the commands of license tokens.
type Token struct {
	Issue  tokenIssue  `cmd:"" help:"Issue a license token and print it."`
	List   tokenList   `cmd:"" help:"List tokens, newest first: of an account, of a signing key, or all."`
	Show   tokenShow   `cmd:"" help:"Show what is known of a token."`
	Revoke tokenRevoke `cmd:"" help:"End a token before its time."`
}

// tokenText is the record of a license token, for people.
func tokenText(w io.Writer, j api.TokenRecord) {
	Row(w, "jti", j.Jti)
	Row(w, "account", j.Account)
	Row(w, "family", j.Family)
	Row(w, "parent", j.Parent)
	Row(w, "kid", j.Kid)
	Row(w, "issued", j.IssuedAt)
	Row(w, "expires", j.ExpiresAt)
	Row(w, "status", j.Status)
}

type tokenIssue struct {
	Output
	Account string    `required:"" help:"Id of the account." placeholder:"ID"`
	TTL     *lifetime `name:"ttl" help:"Lifetime of the token, such as 72h or 90s; capped by the end of the license. Default: LICENSE_TOKEN_TTL."`
}

// Run issues the token and prints its text alone, or all with --json.
func (c tokenIssue) Run(ctx context.Context, a *App) error {
	var ttl time.Duration // the usual one
	if c.TTL != nil {
		ttl = c.TTL.Duration
		if ttl < time.Second {
			return Usagef("--ttl: %s is below a second: give a duration such as 72h or 90s", ttl)
		}
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		issued, err := l.Licenses.IssueFor(ctx, c.Account, ttl)
		if err != nil {
			return refusal(withRemedy(c.Account, err))
		}
		j := struct {
			Token     string `json:"token"`
			ID        string `json:"jti"`
			ExpiresAt string `json:"expires_at"`
			Capped    bool   `json:"capped"`
		}{
			issued.Token.Reveal(), string(issued.ID), show.Second(issued.ExpiresAt).String(),
			issued.Capped,
		}
		return c.printOnce(a, j, "license token", j.ID, j.Token)
	})
}

type tokenList struct {
	Output
	Account string `help:"Only those of this account." placeholder:"ID"`
	Kid     string `help:"Only those that this key signed." placeholder:"KID"`
	Limit   limit  `default:"100" help:"How many to list at most."`
	Before  string `help:"Continue after this jti, to older ones." placeholder:"JTI"`
}

// Run lists the tokens.
func (c tokenList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Licenses.Tokens(ctx, license.TokenQuery{
			Account: c.Account, Key: c.Kid, Before: opaque.TokenID(c.Before), Limit: c.Limit.andOne(),
		})
		if err != nil {
			return listRefusal("--before", err)
		}
		page := show.Tokens(found, int(c.Limit), time.Now())
		return c.PrintPage(a, page, "--before", page.NextCursor, func(w io.Writer) {
			head := []any{"JTI", "ISSUED", "EXPIRES", "KID", "STATUS"}
			if c.Account == "" {
				head = append(head, "ACCOUNT")
			}
			Row(w, head...)
			for _, t := range page.Items {
				row := []any{t.Jti, t.IssuedAt, t.ExpiresAt, t.Kid, t.Status, t.Account}
				Row(w, row[:len(head)]...)
			}
		})
	})
}

type tokenShow struct {
	Output
	Token string `arg:"" name:"token|jti" help:"The token or its jti; - reads it from standard input."`
}

// Run shows the record.
func (c tokenShow) Run(ctx context.Context, a *App) error {
	text, err := a.argument(c.Token)
	if err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		t, err := l.Licenses.Token(ctx, text)
		if err != nil {
			return refusal(err)
		}
		j := show.Token(t, time.Now())
		return c.Print(a.Stdout, j, func(w io.Writer) { tokenText(w, j) })
	})
}

type tokenRevoke struct {
	Output
	Confirm
	Token  string `arg:"" name:"token|jti" help:"The token or its jti; - reads it from standard input."`
	Family bool   `help:"Also everything that descends from the same first token, past and future."`
}

// Run revokes the token. It holds in every running server within 250 ms.
func (c tokenRevoke) Run(ctx context.Context, a *App) error {
	text, err := a.argument(c.Token)
	if err != nil {
		return err
	}
	what := "The token ends"
	if c.Family {
		what += ", with all that descends from the same first one"
	}
	if err := c.confirm(a, what); err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		t, err := l.Licenses.RevokeToken(ctx, text, c.Family)
		if err != nil {
			return refusal(err)
		}
		j := show.Token(t, time.Now())
		return c.Print(a.Stdout, j, func(w io.Writer) { tokenText(w, j) })
	})
}

// argument is an argument, or a line of standard input for "-", so that a secret need not stand on
// a command line.
func (a *App) argument(s string) (string, error) {
	if s != "-" {
		return s, nil
	}
	b, err := io.ReadAll(io.LimitReader(a.Stdin, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	if strings.TrimSpace(string(b)) == "" {
		return "", Usagef("nothing came on standard input")
	}
	return strings.TrimSpace(string(b)), nil
}

// file is the text of a file, or of standard input for "-".
func (a *App) file(name string) (string, error) {
	var b []byte
	var err error
	if name == "-" {
		b, err = io.ReadAll(io.LimitReader(a.Stdin, 4<<20))
	} else {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return "", UsageError{err}
	}
	return string(b), nil
}

// withRemedy says of a license that is not good what the operator can do about it: the usual text
// sends people to the operator.
func withRemedy(id string, err error) error {
	for _, r := range []struct {
		is   error
		what string
	}{
		{
			account.ErrInactive,
			"is suspended: `account restore " + id + "` lets it have tokens again",
		},
		{
			account.ErrExpired,
			"has a license that has expired: `account update " + id +
				" --valid-until DATE` renews it",
		},
		{account.ErrRevoked, "was deleted permanently: make a new one"},
	} {
		if errors.Is(err, r.is) {
			return fmt.Errorf("account %s %s", id, r.what)
		}
	}
	return err
}

// listRefusal is refusal for a list that continues at a place which flag names.
func listRefusal(flag string, err error) error {
	if cursor, ok := errors.AsType[failure.Cursor](err); ok {
		return Usagef("%s: %s", flag, string(cursor))
	}
	return refusal(err)
}

// refusal makes a usage error of what a person has to give differently.
func refusal(err error) error {
	for _, e := range []error{failure.ErrInvalid, failure.ErrNotFound, failure.ErrConflict} {
		if errors.Is(err, e) {
			return UsageError{err}
		}
	}
	return err
}
