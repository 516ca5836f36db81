package command

import (
	"context"
	"fmt"
	"io"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

type accountSignIn struct {
	Output
	ID string `arg:"" help:"Id of the account."`
}

// Run prints the bare link. It begins with the public URL, so without one that people can call
// there is none.
func (c accountSignIn) Run(ctx context.Context, a *App) error {
	if a.NoLink != "" {
		return Usagef("LICENSE_PUBLIC_URL %s", a.NoLink)
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		link, ends, err := l.Sessions.CreateSignInLink(ctx, c.ID)
		if err != nil {
			return refusal(err)
		}
		return c.Print(a.Stdout, api.SignInLink{URL: link.Reveal(), ExpiresAt: show.Time(ends)},
			func(w io.Writer) { fmt.Fprintln(w, link.Reveal()) })
	})
}
