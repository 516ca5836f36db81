package main

import (
	"context"
	"io"

	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/parts"
)

type keyCmd struct {
	List   keyList   `cmd:"" help:"List the signing keys and how many live tokens each has."`
	Rotate keyRotate `cmd:"" help:"Add a signing key; it signs when all who verify know it. Older keys go on verifying."`
	Retire keyRetire `cmd:"" help:"End a signing key; refused while live tokens depend on it."`
}

// keyJSON is how a signing key is printed.
type keyJSON struct {
	ID         string `json:"kid"`
	Algorithm  string `json:"alg"`
	State      string `json:"state"`
	CreatedAt  string `json:"created_at"`
	SignsFrom  string `json:"signs_from"`
	LiveTokens int64  `json:"live_tokens"`
}

func toKeyJSON(k keyring.Key) keyJSON {
	return keyJSON{k.ID, string(k.Algorithm), string(k.State), stamp(k.CreatedAt), stamp(k.SignsFrom), k.LiveTokens}
}

type keyList struct{ asJSON }

// Run lists the keys.
func (c keyList) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		keys, err := l.Keys.Keys(ctx)
		if err != nil {
			return err
		}
		list := make([]keyJSON, 0, len(keys))
		for _, k := range keys {
			list = append(list, toKeyJSON(k))
		}
		return c.print(a.stdout, list, func(w io.Writer) {
			row(w, "KID", "ALG", "STATE", "CREATED", "SIGNS FROM", "LIVE TOKENS")
			for _, k := range list {
				row(w, k.ID, k.Algorithm, k.State, k.CreatedAt, k.SignsFrom, k.LiveTokens)
			}
		})
	})
}

type keyRotate struct {
	asJSON
	Lease bool `help:"A key for leases (Ed25519). Without: for license tokens (HS256)."`
}

// Run adds a key.
func (c keyRotate) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		algorithm := keyring.HS256
		if c.Lease {
			algorithm = keyring.EdDSA
		}
		k, err := l.Keys.Rotate(ctx, algorithm)
		if err != nil {
			return err
		}
		j := toKeyJSON(k)
		return c.print(a.stdout, j, func(w io.Writer) {
			row(w, "kid", j.ID)
			row(w, "alg", j.Algorithm)
			row(w, "signs from", j.SignsFrom)
		})
	})
}

type keyRetire struct {
	asJSON
	ID    string `arg:"" name:"kid" help:"Id of the key."`
	Force bool   `help:"Also when live tokens depend on it: they are refused from then on."`
}

// Run ends the key.
func (c keyRetire) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		if err := l.Keys.Retire(ctx, c.ID, c.Force); err != nil {
			return refusal(err)
		}
		j := struct {
			ID    string `json:"kid"`
			State string `json:"state"`
		}{c.ID, "retired"}
		return c.print(a.stdout, j, func(w io.Writer) {
			row(w, "kid", j.ID)
			row(w, "state", j.State)
		})
	})
}
