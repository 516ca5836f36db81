package main

import (
	"context"
	"fmt"
	"io"

	"github.com/pageflare/ci/service/parts"
)

// signInJSON is how a sign-in link is printed.
type signInJSON struct {
	URL       string `json:"url"`
	ExpiresAt string `json:"expires_at"`
}

type accountSignIn struct {
	asJSON
	ID string `arg:"" help:"Id of the account."`
}

// Run prints the bare link. It begins with the public URL, so without one that people can call there is none.
func (c accountSignIn) Run(ctx context.Context, a *app) error {
	if advice := a.cfg.noLink(); advice != "" {
		return usagef("LICENSE_PUBLIC_URL %s", advice)
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		link, ends, err := l.Sessions.CreateSignInLink(ctx, c.ID)
		if err != nil {
			return refusal(err)
		}
		return c.print(a.stdout, signInJSON{link.Reveal(), stamp(ends)}, func(w io.Writer) { fmt.Fprintln(w, link.Reveal()) })
	})
}
