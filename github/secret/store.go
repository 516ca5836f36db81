package secret

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// store is the API of one target.
type store interface {
	publicKey(context.Context) (*gh.PublicKey, *gh.Response, error)
	read(ctx context.Context, name string) (*gh.Secret, *gh.Response, error)
	put(context.Context, *gh.EncryptedSecret) (*gh.Response, error)
}

// organization is a store whose secrets only some repositories may read.
type organization interface {
	store
	selected(ctx context.Context, name string, page *gh.ListOptions) (*gh.SelectedReposList, *gh.Response, error)
}

// repositorySecrets is the secrets of a repository, at
//
//	/repos/{owner}/{repo}/{actions|dependabot|codespaces}/secrets
//
// The calls are made here for all stores alike: go-github has a service for each, with the same
// methods.
type repositorySecrets struct {
	api  *github.Client
	path string
}

// publicKey asks for the key that values are sealed for.
func (s repositorySecrets) publicKey(ctx context.Context) (*gh.PublicKey, *gh.Response, error) {
	key := new(gh.PublicKey)
	resp, err := s.api.Call(ctx, http.MethodGet, s.path+"/public-key", nil, key)
	return key, resp, err
}

func (s repositorySecrets) read(ctx context.Context, name string) (*gh.Secret, *gh.Response, error) {
	found := new(gh.Secret)
	resp, err := s.api.Call(ctx, http.MethodGet, s.path+"/"+name, nil, found)
	return found, resp, err
}

func (s repositorySecrets) put(ctx context.Context, sealed *gh.EncryptedSecret) (*gh.Response, error) {
	return s.api.Call(ctx, http.MethodPut, s.path+"/"+sealed.Name, sealed, nil)
}

// organizationSecrets is the secrets of an organization, at
//
//	/orgs/{org}/{actions|dependabot|codespaces}/secrets
type organizationSecrets struct{ repositorySecrets }

var _ organization = organizationSecrets{}

func (o organizationSecrets) selected(ctx context.Context, name string, page *gh.ListOptions) (
	*gh.SelectedReposList, *gh.Response, error,
) {
	query := url.Values{"page": {strconv.Itoa(page.Page)}, "per_page": {strconv.Itoa(page.PerPage)}}
	list := new(gh.SelectedReposList)
	resp, err := o.api.Call(ctx, http.MethodGet, o.path+"/"+name+"/repositories?"+query.Encode(), nil, list)
	return list, resp, err
}

// dependabotSecrets is organizationSecrets with the ids of repositories as strings on the wire,
// where the other stores have integers: this store answers 422 to integers.
// https://github.com/google/go-github/issues/2400
type dependabotSecrets struct{ organizationSecrets }

func (d dependabotSecrets) put(ctx context.Context, sealed *gh.EncryptedSecret) (*gh.Response, error) {
	ids := make([]string, len(sealed.SelectedRepositoryIDs))
	for i, id := range sealed.SelectedRepositoryIDs {
		ids[i] = strconv.FormatInt(id, 10)
	}
	return d.api.Call(ctx, http.MethodPut, d.path+"/"+sealed.Name, struct {
		KeyID          string   `json:"key_id"`
		EncryptedValue string   `json:"encrypted_value"`
		Visibility     string   `json:"visibility,omitempty"`
		RepositoryIDs  []string `json:"selected_repository_ids,omitempty"`
	}{sealed.KeyID, sealed.EncryptedValue, sealed.Visibility, ids}, nil)
}

// ofRepositoryIn opens the secrets of the repository for "actions", "dependabot" or "codespaces".
func ofRepositoryIn(of string) func(*session, Target) store {
	return func(s *session, _ Target) store {
		return repositorySecrets{s.api, "repos/" + s.repo.Owner + "/" + s.repo.Name + "/" + of + "/secrets"}
	}
}

// ofOrganizationIn opens the secrets of an organization.
func ofOrganizationIn(of string) func(*session, Target) store {
	return func(s *session, t Target) store {
		secrets := organizationSecrets{repositorySecrets{s.api, "orgs/" + t.name + "/" + of + "/secrets"}}
		if of == "dependabot" {
			return dependabotSecrets{secrets}
		}
		return secrets
	}
}
