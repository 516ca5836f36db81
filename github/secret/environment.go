package secret

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// environmentActions is the secrets of one environment, at today's path
//
//	/repos/{owner}/{repo}/environments/{name}/secrets
//
// or, where that is not known, at the one of GitHub Enterprise Server until 3.7
//
//	/repositories/{id}/environments/{name}/secrets
//
// The calls are made here, because go-github v60 knows the old path alone and escapes no name.
type environmentActions struct {
	*session
	name string // escaped
	path string // which of the two, as publicKey found it
}

func actionsOfEnvironment(s *session, t Target) store {
	name := url.PathEscape(t.name)
	return &environmentActions{s, name, fmt.Sprintf("repos/%s/%s/environments/%s/secrets", s.repo.Owner, s.repo.Name, name)}
}

// publicKey must be called first: it finds the path.
func (e *environmentActions) publicKey(ctx context.Context) (*gh.PublicKey, *gh.Response, error) {
	key, resp, err := e.keyAt(ctx, e.path)
	if github.StatusOf(err) != http.StatusNotFound {
		return key, resp, err
	}
	id, idErr := e.repositoryID(ctx)
	if idErr != nil {
		return nil, resp, err // the repository is out of sight, not only the environment
	}
	old := fmt.Sprintf("repositories/%d/environments/%s/secrets", id, e.name)
	key, resp, err = e.keyAt(ctx, old)
	if err == nil {
		e.path = old
	}
	return key, resp, err
}

func (e *environmentActions) keyAt(ctx context.Context, path string) (*gh.PublicKey, *gh.Response, error) {
	key := new(gh.PublicKey)
	resp, err := e.api.Call(ctx, http.MethodGet, path+"/public-key", nil, key)
	return key, resp, err
}

func (e *environmentActions) read(ctx context.Context, name string) (*gh.Secret, *gh.Response, error) {
	found := new(gh.Secret)
	resp, err := e.api.Call(ctx, http.MethodGet, e.path+"/"+name, nil, found)
	return found, resp, err
}

func (e *environmentActions) put(ctx context.Context, sealed *gh.EncryptedSecret) (*gh.Response, error) {
	return e.api.Call(ctx, http.MethodPut, e.path+"/"+sealed.Name, sealed, nil)
}
