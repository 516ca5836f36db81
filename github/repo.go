package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	gh "github.com/google/go-github/v60/github"
)

// Repo names a repository.
type Repo struct {
	Owner, Name string
}

// String gives "owner/name".
func (r Repo) String() string { return r.Owner + "/" + r.Name }

// ParseRepo reads "owner/name", the form of GITHUB_REPOSITORY. It takes only characters that mean
// nothing in a URL: go-github puts both parts into paths as they are.
func ParseRepo(s string) (Repo, error) {
	m := repoPattern().FindStringSubmatch(s)
	if m == nil || m[2] == "." || m[2] == ".." {
		return Repo{}, fmt.Errorf("repository %q: want OWNER/NAME, such as acme/site", s)
	}
	return Repo{Owner: m[1], Name: m[2]}, nil
}

func repoPattern() *regexp.Regexp {
	return regexp.MustCompile(`\A([A-Za-z0-9_-]{1,100})/([A-Za-z0-9._-]{1,100})\z`)
}

// A Repository is what GitHub says of one.
type Repository struct {
	ID, OwnerID int64
	FullName    string // OWNER/NAME as it is today: GitHub follows what was renamed or transferred
}

// Repository asks for a repository. The error is an *Error.
// https://docs.github.com/en/rest/repos/repos#get-a-repository
func (c *Client) Repository(ctx context.Context, r Repo) (Repository, error) {
	return c.repository(ctx, "repos/"+r.Owner+"/"+r.Name)
}

func (c *Client) repository(ctx context.Context, path string) (Repository, error) {
	found := new(gh.Repository)
	_, err := c.Call(ctx, http.MethodGet, path, nil, found)
	if err == nil && (found.GetID() == 0 || found.GetOwner().GetID() == 0) {
		err = errors.New("the answer lacks ids")
	}
	if err != nil {
		return Repository{}, Explain(ctx, err)
	}
	return Repository{ID: found.GetID(), OwnerID: found.GetOwner().GetID(), FullName: Plain(found.GetFullName())}, nil
}

// RepositoryByID asks for a repository by its id, which it keeps whatever it is called and whoever
// has it. The error is an *Error.
func (c *Client) RepositoryByID(ctx context.Context, id int64) (Repository, error) {
	return c.repository(ctx, fmt.Sprintf("repositories/%d", id))
}

// An Account is what GitHub says of an owner of repositories.
type Account struct {
	ID    int64  `json:"id"`
	Login string `json:"login"` // as it is today
	Type  string `json:"type"`  // "Organization" or "User"
}

// Account asks for an owner by its login. The error is an *Error.
// https://docs.github.com/en/rest/users/users#get-a-user
func (c *Client) Account(ctx context.Context, login string) (Account, error) {
	found := new(gh.User)
	_, err := c.Call(ctx, http.MethodGet, "users/"+login, nil, found)
	if err == nil && (found.GetID() == 0 || found.GetLogin() == "") {
		err = errors.New("the answer lacks id or name")
	}
	if err != nil {
		return Account{}, Explain(ctx, err)
	}
	return Account{ID: found.GetID(), Login: Plain(found.GetLogin()), Type: Plain(found.GetType())}, nil
}
