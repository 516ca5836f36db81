package command

import (
	"context"
	"io"

	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// Repository is the commands of repositories.
type Repository struct {
	List repositoryList `cmd:"" help:"List the repositories whose jobs got license tokens, and when last."`
}

type repositoryList struct {
	Output
	Account     string `help:"Only those that got license tokens of this account." placeholder:"ID"`
	UnusedSince moment `help:"Only those that no job has used since then: a date, a time, or how long ago, such as 90d." placeholder:"TIME"`
	Limit       limit  `default:"100" help:"How many to list at most."`
	After       string `help:"Continue after this cursor." placeholder:"CURSOR"`
}

// Run lists the repositories.
func (c repositoryList) Run(ctx context.Context, a *App) error {
	after, err := license.ParseRepositoryKey(c.After)
	if err != nil {
		return listRefusal("--after", err)
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Jobs.Repositories(ctx, license.RepositoryQuery{
			Account: c.Account, UnusedSince: c.UnusedSince.Time, After: after, Limit: c.Limit.andOne(),
		})
		if err != nil {
			return listRefusal("--after", err)
		}
		page := show.Repositories(found, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
			Row(w, "ACCOUNT", "REPOSITORY", "REPOSITORY ID", "OWNER ID", "LAST USED")
			for _, r := range page.Items {
				Row(w, r.Account, dash(r.Repository), r.RepositoryID, r.RepositoryOwnerID, r.LastUsedAt)
			}
		})
	})
}
