package secret

import (
	"context"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// repositoryCodespaces is /repos/{owner}/{repo}/codespaces/secrets.
type repositoryCodespaces struct {
	api  *gh.CodespacesService
	repo github.Repo
}

func codespacesOfRepository(s *session, _ Target) store {
	return repositoryCodespaces{s.api.Codespaces, s.repo}
}

func (r repositoryCodespaces) publicKey(ctx context.Context) (*gh.PublicKey, *gh.Response, error) {
	return r.api.GetRepoPublicKey(ctx, r.repo.Owner, r.repo.Name)
}

func (r repositoryCodespaces) read(ctx context.Context, name string) (*gh.Secret, *gh.Response, error) {
	return r.api.GetRepoSecret(ctx, r.repo.Owner, r.repo.Name, name)
}

func (r repositoryCodespaces) put(ctx context.Context, sealed *gh.EncryptedSecret) (*gh.Response, error) {
	return r.api.CreateOrUpdateRepoSecret(ctx, r.repo.Owner, r.repo.Name, sealed)
}

// organizationCodespaces is /orgs/{org}/codespaces/secrets.
type organizationCodespaces struct {
	api *gh.CodespacesService
	org string
}

var _ organization = organizationCodespaces{}

func codespacesOfOrganization(s *session, t Target) store {
	return organizationCodespaces{s.api.Codespaces, t.name}
}

func (o organizationCodespaces) publicKey(ctx context.Context) (*gh.PublicKey, *gh.Response, error) {
	return o.api.GetOrgPublicKey(ctx, o.org)
}

func (o organizationCodespaces) read(ctx context.Context, name string) (*gh.Secret, *gh.Response, error) {
	return o.api.GetOrgSecret(ctx, o.org, name)
}

func (o organizationCodespaces) put(ctx context.Context, sealed *gh.EncryptedSecret) (*gh.Response, error) {
	return o.api.CreateOrUpdateOrgSecret(ctx, o.org, sealed)
}

func (o organizationCodespaces) selected(ctx context.Context, name string, page *gh.ListOptions) (
	*gh.SelectedReposList, *gh.Response, error,
) {
	return o.api.ListSelectedReposForOrgSecret(ctx, o.org, name, page)
}
