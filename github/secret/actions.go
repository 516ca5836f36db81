package secret

import (
	"context"

	"github.com/google/go-github/v60/github"
)

// repositoryActions is /repos/{owner}/{repo}/actions/secrets.
type repositoryActions struct {
	api  *github.ActionsService
	repo Repo
}

func actionsOfRepository(s *session, _ Target) store { return repositoryActions{s.api.Actions, s.repo} }

func (r repositoryActions) publicKey(ctx context.Context) (*github.PublicKey, *github.Response, error) {
	return r.api.GetRepoPublicKey(ctx, r.repo.Owner, r.repo.Name)
}

func (r repositoryActions) read(ctx context.Context, name string) (*github.Secret, *github.Response, error) {
	return r.api.GetRepoSecret(ctx, r.repo.Owner, r.repo.Name, name)
}

func (r repositoryActions) put(ctx context.Context, sealed *github.EncryptedSecret) (*github.Response, error) {
	return r.api.CreateOrUpdateRepoSecret(ctx, r.repo.Owner, r.repo.Name, sealed)
}

// organizationActions is /orgs/{org}/actions/secrets.
type organizationActions struct {
	api *github.ActionsService
	org string
}

var _ organization = organizationActions{}

func actionsOfOrganization(s *session, t Target) store {
	return organizationActions{s.api.Actions, t.name}
}

func (o organizationActions) publicKey(ctx context.Context) (*github.PublicKey, *github.Response, error) {
	return o.api.GetOrgPublicKey(ctx, o.org)
}

func (o organizationActions) read(ctx context.Context, name string) (*github.Secret, *github.Response, error) {
	return o.api.GetOrgSecret(ctx, o.org, name)
}

func (o organizationActions) put(ctx context.Context, sealed *github.EncryptedSecret) (*github.Response, error) {
	return o.api.CreateOrUpdateOrgSecret(ctx, o.org, sealed)
}

func (o organizationActions) selected(ctx context.Context, name string, page *github.ListOptions) (
	*github.SelectedReposList, *github.Response, error,
) {
	return o.api.ListSelectedReposForOrgSecret(ctx, o.org, name, page)
}
