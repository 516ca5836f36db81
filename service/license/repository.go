package license

import (
	"context"
	"strings"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
)

// RepositoryKey tells the uses of repositories apart.
type RepositoryKey struct {
	AccountID    string
	RepositoryID string // as the issuer calls it
	Issuer       string
}

// String is the key as the cursor of a list.
func (k RepositoryKey) String() string {
	return k.AccountID + "/" + k.RepositoryID + "/" + k.Issuer
}

// ParseRepositoryKey reads a cursor; "" is that of the first page. ErrInvalid.
func ParseRepositoryKey(cursor string) (RepositoryKey, error) {
	parts := strings.SplitN(cursor, "/", 3)
	switch {
	case cursor == "":
		return RepositoryKey{}, nil
	case len(parts) < 3 || !opaque.OfAccount.Fits(parts[0]) || !IsRepositoryID(parts[1]):
		return RepositoryKey{}, failure.Cursor("this is not a cursor that this list gave")
	}
	return RepositoryKey{parts[0], parts[1], parts[2]}, nil
}

// Repository is a repository whose jobs got license tokens of an account.
type Repository struct {
	RepositoryKey
	OwnerID    string
	Name       string    // OWNER/NAME as its newest job calls it; may be empty
	LastUsedAt time.Time // up to an hour behind
}

// repositoryOf is the use of the repository of a job.
func repositoryOf(id oidc.Identity, account string, now time.Time) Repository {
	return Repository{
		RepositoryKey: RepositoryKey{account, id.RepositoryID, id.Issuer},
		OwnerID:       id.OwnerID, Name: clean(id.Repository), LastUsedAt: now,
	}
}

// RepositoryQuery is which repositories to list.
type RepositoryQuery struct {
	Account     string        // only those of this account; "": all
	UnusedSince time.Time     // only those that no job has used since then; zero: all
	After       RepositoryKey // only those that come after this one
	Limit       int
}

// Repositories returns the repositories whose jobs got license tokens, in the order of account and
// id. One that a policy names and that never had a token is not among them. ErrNotFound: no such
// account.
func (j *Jobs) Repositories(ctx context.Context, q RepositoryQuery) ([]Repository, error) {
	if q.Account != "" {
		if err := j.store.HasAccount(ctx, q.Account); err != nil {
			return nil, err
		}
	}
	return j.store.Repositories(ctx, q)
}
