package secret

import (
	"context"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// repositoryDependabot is /repos/{owner}/{repo}/dependabot/secrets.
type repositoryDependabot struct {
	api  *gh.DependabotService
	repo github.Repo
}

func dependabotOfRepository(s *session, _ Target) store {
	return repositoryDependabot{s.api.Dependabot, s.repo}
}

func (r repositoryDependabot) publicKey(ctx context.Context) (*gh.PublicKey, *gh.Response, error) {
	return r.api.GetRepoPublicKey(ctx, r.repo.Owner, r.repo.Name)
}

func (r repositoryDependabot) read(ctx context.Context, name string) (*gh.Secret, *gh.Response, error) {
	return r.api.GetRepoSecret(ctx, r.repo.Owner, r.repo.Name, name)
}

func (r repositoryDependabot) put(ctx context.Context, sealed *gh.EncryptedSecret) (*gh.Response, error) {
	return r.api.CreateOrUpdateRepoSecret(ctx, r.repo.Owner, r.repo.Name, dependabotForm(sealed))
}

// organizationDependabot is /orgs/{org}/dependabot/secrets.
type organizationDependabot struct {
	api *gh.DependabotService
	org string
}

var _ organization = organizationDependabot{}

func dependabotOfOrganization(s *session, t Target) store {
	return organizationDependabot{s.api.Dependabot, t.name}
}

func (o organizationDependabot) publicKey(ctx context.Context) (*gh.PublicKey, *gh.Response, error) {
	return o.api.GetOrgPublicKey(ctx, o.org)
}

func (o organizationDependabot) read(ctx context.Context, name string) (*gh.Secret, *gh.Response, error) {
	return o.api.GetOrgSecret(ctx, o.org, name)
}

func (o organizationDependabot) put(ctx context.Context, sealed *gh.EncryptedSecret) (*gh.Response, error) {
	return o.api.CreateOrUpdateOrgSecret(ctx, o.org, dependabotForm(sealed))
}

func (o organizationDependabot) selected(ctx context.Context, name string, page *gh.ListOptions) (
	*gh.SelectedReposList, *gh.Response, error,
) {
	return o.api.ListSelectedReposForOrgSecret(ctx, o.org, name, page)
}

// dependabotForm has the ids of repositories as strings on the wire, where the other stores have integers: this store answers
// 422 to integers. https://github.com/google/go-github/issues/2400
func dependabotForm(sealed *gh.EncryptedSecret) *gh.DependabotEncryptedSecret {
	return &gh.DependabotEncryptedSecret{
		Name:                  sealed.Name,
		KeyID:                 sealed.KeyID,
		EncryptedValue:        sealed.EncryptedValue,
		Visibility:            sealed.Visibility,
		SelectedRepositoryIDs: gh.DependabotSecretsSelectedRepoIDs(sealed.SelectedRepositoryIDs),
	}
}
