package command

import (
	"context"
	"io"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// Key is the commands of signing keys.
type Key struct {
	List   keyList   `cmd:"" help:"List the signing keys and how many live tokens each has."`
	Rotate keyRotate `cmd:"" help:"Add a signing key; it signs when all who verify know it. Older keys go on verifying."`
	Retire keyRetire `cmd:"" help:"End a signing key; refused while live tokens depend on it."`
}

type keyList struct{ Output }

// Run lists the keys.
func (c keyList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		keys, err := l.Keys.Keys(ctx)
		if err != nil {
			return err
		}
		page := show.Keys(keys)
		return c.Print(a.Stdout, page, func(w io.Writer) {
			Row(w, "KID", "ALG", "STATE", "CREATED", "SIGNS FROM", "LIVE TOKENS")
			for _, k := range page.Items {
				Row(w, k.Kid, k.Alg, k.State, k.CreatedAt, k.SignsFrom, k.LiveTokens)
			}
		})
	})
}

type keyRotate struct {
	Output
	Lease bool `help:"A key for leases (Ed25519). Without: for license tokens (HS256)."`
}

// Run adds a key.
func (c keyRotate) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		algorithm := keyring.HS256
		if c.Lease {
			algorithm = keyring.EdDSA
		}
		k, err := l.Keys.Rotate(ctx, algorithm)
		if err != nil {
			return err
		}
		j := show.Key(k)
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "kid", j.Kid)
			Row(w, "alg", j.Alg)
			Row(w, "signs from", j.SignsFrom)
		})
	})
}

type keyRetire struct {
	Output
	Confirm
	ID    string `arg:"" name:"kid" help:"Id of the key."`
	Force bool   `help:"Also when live tokens depend on it: they are refused from then on."`
}

// Run ends the key.
func (c keyRetire) Run(ctx context.Context, a *App) error {
	what := "Key %s is erased"
	if c.Force {
		what += ", and the tokens that depend on it are refused from then on"
	}
	if err := c.confirm(a, what, c.ID); err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		if err := l.Keys.Retire(ctx, c.ID, c.Force); err != nil {
			return refusal(err)
		}
		j := api.RetiredKey{Kid: c.ID, State: "retired"}
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "kid", j.Kid)
			Row(w, "state", j.State)
		})
	})
}
