package secret

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/go-github/v60/github"
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
func (e *environmentActions) publicKey(ctx context.Context) (*github.PublicKey, *github.Response, error) {
	key, resp, err := e.keyAt(ctx, e.path)
	if statusOf(err) != http.StatusNotFound {
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

func (e *environmentActions) keyAt(ctx context.Context, path string) (*github.PublicKey, *github.Response, error) {
	key := new(github.PublicKey)
	resp, err := e.do(ctx, http.MethodGet, path+"/public-key", nil, key)
	return key, resp, err
}

func (e *environmentActions) read(ctx context.Context, name string) (*github.Secret, *github.Response, error) {
	found := new(github.Secret)
	resp, err := e.do(ctx, http.MethodGet, e.path+"/"+name, nil, found)
	return found, resp, err
}

func (e *environmentActions) put(ctx context.Context, sealed *github.EncryptedSecret) (*github.Response, error) {
	return e.do(ctx, http.MethodPut, e.path+"/"+sealed.Name, sealed, nil)
}

// do makes one call; a nil body sends none, a nil answer is not read.
func (s *session) do(ctx context.Context, method, path string, body, answer any) (*github.Response, error) {
	req, err := s.api.NewRequest(method, path, body)
	if err != nil {
		return nil, err
	}
	return s.api.Do(ctx, req, answer)
}
