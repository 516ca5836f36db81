package secret

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// Who may read a secret of an organization is part of every write, and what a write leaves out is
// taken away: so it is read first, whole, and sent again. What changes between the reading and the
// write is lost; there is no way to ask for a write on condition.

const selected = "selected"

// access is who may read a secret of an organization.
type access struct {
	visibility   string  // "all", "private" or "selected"
	repositories []int64 // of "selected"
}

// String gives "all", or "selected (3 repositories)".
func (a access) String() string {
	if a.visibility == selected {
		return fmt.Sprintf("selected (%d repositories)", len(a.repositories))
	}
	return a.visibility
}

// accessFor gives the access that a write must send. A secret that does not exist yet gets the
// least that is of use: the repository of the workflow, and nobody else.
func accessFor(ctx context.Context, o organization, s *session, t Target, name string) (access, error) {
	found, _, err := o.read(ctx, name)
	if github.StatusOf(err) == http.StatusNotFound {
		return firstAccess(ctx, s, t)
	}
	if err != nil {
		return access{}, err
	}
	return readAccess(ctx, o, found)
}

var errNewNowhere = errors.New("there is no such secret yet, and who may read it cannot be guessed: " +
	"create it there once, by hand, and choose its repositories")

var errNewElsewhere = errors.New("there is no such secret yet, and who may read it cannot be guessed, since this repository is not of " +
	"that organization: create it there once, by hand, and choose its repositories")

func firstAccess(ctx context.Context, s *session, t Target) (access, error) {
	if s.repo == (github.Repo{}) {
		return access{}, errNewNowhere
	}
	if !strings.EqualFold(t.name, s.repo.Owner) {
		return access{}, errNewElsewhere
	}
	id, err := s.repositoryID(ctx)
	return access{selected, []int64{id}}, err
}

func readAccess(ctx context.Context, o organization, found *gh.Secret) (access, error) {
	switch found.Visibility {
	case "":
		return access{}, errors.New("the answer does not say who may read the secret, and a write would change that")
	case selected:
		ids, err := selectedRepositories(ctx, o, found.Name)
		return access{selected, ids}, err
	}
	return access{visibility: found.Visibility}, nil
}

// selectedRepositories reads every page, and once more from the first when the list changed
// meanwhile.
func selectedRepositories(ctx context.Context, o organization, name string) ([]int64, error) {
	ids, total, err := listSelected(ctx, o, name)
	if err == nil && len(ids) != total {
		ids, total, err = listSelected(ctx, o, name)
	}
	if err == nil && len(ids) != total {
		return nil, fmt.Errorf("GitHub shows %d of the %d repositories that may read the secret, and a write would take it from the others: "+
			"give a token that sees all of them", len(ids), total)
	}
	return ids, err
}

func listSelected(ctx context.Context, o organization, name string) (ids []int64, total int, err error) {
	seen := make(map[int64]bool)
	for page := (&gh.ListOptions{Page: 1, PerPage: 100}); page.Page != 0; {
		list, resp, err := o.selected(ctx, name, page)
		if err != nil {
			return nil, 0, err
		}
		if list.TotalCount == nil {
			return nil, 0, errors.New("the answer does not say how many repositories may read the secret, and a write would change that")
		}
		for _, repo := range list.Repositories {
			if !seen[repo.GetID()] {
				seen[repo.GetID()] = true
				ids = append(ids, repo.GetID())
			}
		}
		total, page.Page = list.GetTotalCount(), resp.NextPage
	}
	return ids, total, nil
}
