package secret

import (
	"context"
	"errors"

	"github.com/pageflare/ci/github"
)

// credential gives clients that may do what a target needs. Targets may be worked on concurrently.
type credential interface {
	// client gives one that may read or write the secrets of a target: level is "read" or "write".
	client(ctx context.Context, t Target, level string) (*github.Client, error)
	// reader gives one that may read what these permissions of the repository are for, or may turn
	// out not to.
	reader(ctx context.Context, permissions ...string) (*github.Client, error)
	// revoke ends what client made. The credential is not used after it.
	revoke(ctx context.Context) error
}

// given is the credential that is one token for everything.
type given struct{ api *github.Client }

func (g *given) client(context.Context, Target, string) (*github.Client, error) { return g.api, nil }
func (g *given) reader(context.Context, ...string) (*github.Client, error)      { return g.api, nil }
func (g *given) revoke(context.Context) error                                   { return nil }

// installed is the credential that is a GitHub App: a client of its own for each target.
type installed struct {
	at     *github.Installations
	repo   github.Repo
	repoID int64 // 0: not known
	shared bool  // at belongs to somebody else
}

func (i *installed) client(ctx context.Context, t Target, level string) (*github.Client, error) {
	return i.at.Client(ctx, i.grant(t, level))
}

// grant is what is needed for a target. An organization's token is not narrowed to a repository: it
// could then not see all the repositories that may read the secret.
func (i *installed) grant(t Target, level string) github.Grant {
	g := i.ofRepository(map[string]string{t.of().permission.key: level})
	if t.of().scope == ofOrganization {
		g.Organization = t.name
	}
	return g
}

func (i *installed) ofRepository(permissions map[string]string) github.Grant {
	return github.Grant{Repo: i.repo, RepoID: i.repoID, Permissions: permissions}
}

var errNotGranted = errors.New("the installation does not have the permission")

// reader asks for nothing that the installation does not say it has: so it meets no refusal.
func (i *installed) reader(ctx context.Context, permissions ...string) (*github.Client, error) {
	ask := map[string]string{}
	for _, p := range permissions {
		ask[p] = "read"
	}
	at, err := i.at.Find(ctx, i.ofRepository(ask))
	if err != nil {
		return nil, err
	}
	for _, p := range permissions {
		if !at.Has(p, "read") {
			return nil, errNotGranted
		}
	}
	return i.at.Client(ctx, i.ofRepository(ask))
}

// check says whether the installation has what writing to a target takes. It makes no token.
func (i *installed) check(ctx context.Context, t Target) error {
	at, err := i.at.Find(ctx, i.grant(t, "write"))
	if err != nil {
		return err
	}
	if fault := i.at.Granted(at, i.grant(t, "write")); fault != nil {
		return fault
	}
	return nil
}

func (i *installed) revoke(ctx context.Context) error {
	if i.shared {
		return nil
	}
	return i.at.Revoke(ctx)
}
