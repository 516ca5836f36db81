package secret

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// environmentSecrets is the secrets of one environment, at today's path
//
//	/repos/{owner}/{repo}/environments/{name}/secrets
//
// or, where that is not known, at the one of GitHub Enterprise Server until 3.7
//
//	/repositories/{id}/environments/{name}/secrets
//
// go-github v60 knows the old path alone and escapes no name.
type environmentSecrets struct {
	repositorySecrets // its path is the one of the two that publicKey found
	session           *session
	name              string // escaped
}

func inEnvironment(s *session, t Target) store {
	name := url.PathEscape(t.name)
	path := fmt.Sprintf("repos/%s/%s/environments/%s/secrets", s.repo.Owner, s.repo.Name, name)
	return &environmentSecrets{repositorySecrets{s.api, path}, s, name}
}

// publicKey must be called first: it finds the path.
func (e *environmentSecrets) publicKey(ctx context.Context) (*gh.PublicKey, *gh.Response, error) {
	key, resp, err := e.repositorySecrets.publicKey(ctx)
	if github.StatusOf(err) != http.StatusNotFound {
		return key, resp, err
	}
	id, idErr := e.session.repositoryID(ctx)
	if idErr != nil {
		return nil, resp, err // the repository is out of sight, not only the environment
	}
	old := repositorySecrets{e.api, fmt.Sprintf("repositories/%d/environments/%s/secrets", id, e.name)}
	key, resp, err = old.publicKey(ctx)
	if err == nil {
		e.repositorySecrets = old
	}
	return key, resp, err
}
