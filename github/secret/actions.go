package secret

import (
	"context"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// repositoryActions is /repos/{owner}/{repo}/actions/secrets.
type repositoryActions struct {
	api  *gh.ActionsService
	repo github.Repo
}

func actionsOfRepository(s *session, _ Target) store { return repositoryActions{s.api.Actions, s.repo} }

func (r repositoryActions) publicKey(ctx context.Context) (*gh.PublicKey, *gh.Response, error) {
	return r.api.GetRepoPublicKey(ctx, r.repo.Owner, r.repo.Name)
}

func (r repositoryActions) read(ctx context.Context, name string) (*gh.Secret, *gh.Response, error) {
	return r.api.GetRepoSecret(ctx, r.repo.Owner, r.repo.Name, name)
}

func (r repositoryActions) put(ctx context.Context, sealed *gh.EncryptedSecret) (*gh.Response, error) {
	return r.api.CreateOrUpdateRepoSecret(ctx, r.repo.Owner, r.repo.Name, sealed)
}

// organizationActions is /orgs/{org}/actions/secrets.
type organizationActions struct {
	api *gh.ActionsService
	org string
}

var _ organization = organizationActions{}

func actionsOfOrganization(s *session, t Target) store {
	return organizationActions{s.api.Actions, t.name}
}

func (o organizationActions) publicKey(ctx context.Context) (*gh.PublicKey, *gh.Response, error) {
	return o.api.GetOrgPublicKey(ctx, o.org)
}

func (o organizationActions) read(ctx context.Context, name string) (*gh.Secret, *gh.Response, error) {
	return o.api.GetOrgSecret(ctx, o.org, name)
}

func (o organizationActions) put(ctx context.Context, sealed *gh.EncryptedSecret) (*gh.Response, error) {
	return o.api.CreateOrUpdateOrgSecret(ctx, o.org, sealed)
}

func (o organizationActions) selected(ctx context.Context, name string, page *gh.ListOptions) (
	*gh.SelectedReposList, *gh.Response, error,
) {
	return o.api.ListSelectedReposForOrgSecret(ctx, o.org, name, page)
}
