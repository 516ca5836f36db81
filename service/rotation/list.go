package rotation

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// Rotations returns the rotations that are asked for, in the order of ids. failure.ErrInvalid: After
// is no id, or Repository no name. failure.ErrNotFound: no such account.
func (r *Rotations) Rotations(ctx context.Context, q Query) ([]Rotation, error) {
	if err := opaque.OfRotation.CheckAfter(q.After); err != nil {
		return nil, err
	}
	if q.Repository != "" {
		if _, err := github.ParseRepo(q.Repository); err != nil {
			return nil, failure.Invalid(err.Error())
		}
	}
	if q.Account != "" {
		if err := r.store.HasAccount(ctx, q.Account); err != nil {
			return nil, err
		}
	}
	return r.store.Rotations(ctx, q)
}

// Rotation returns one rotation. failure.ErrNotFound.
func (r *Rotations) Rotation(ctx context.Context, id string) (Rotation, error) {
	found, err := r.store.Rotations(ctx, Query{ID: id, Limit: 1})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("rotation %.100s: %w", id, failure.ErrNotFound)
	}
	if err != nil {
		return Rotation{}, err
	}
	return found[0], nil
}

// Remove ends a rotation. The secrets stay as they are, and so does the token in each to its own
// end, unless withTokens revokes what was issued for the rotation in the same moment; the answer is
// how many families that were. Removing it twice is no error. failure.ErrNotFound.
func (r *Rotations) Remove(ctx context.Context, id string, withTokens bool) (families int64, err error) {
	var issued *audit.Act
	if withTokens {
		issued = new(r.cfg.Log.Act(ctx, audit.IssuesRevoked, "", id, nil))
	}
	return r.store.RemoveRotation(ctx, id, r.cfg.Log.Act(ctx, audit.RotationRemoved, "", id, nil), issued)
}

// Hurry has all secrets of an account written as soon as can be: a token of it has leaked.
func (r *Rotations) Hurry(ctx context.Context, accountID string) error {
	n, err := r.store.HurryTargets(ctx, accountID, "", r.cfg.Now())
	if err == nil && n > 0 {
		r.wake()
	}
	return err
}

// HurryOne has the secrets of one rotation written as soon as can be, due or not, and returns it.
// failure.ErrNotFound; failure.ErrInvalid: it is stopped, or its account may not hold a token.
func (r *Rotations) HurryOne(ctx context.Context, id string) (Rotation, error) {
	if err := r.mayRun(ctx, id); err != nil {
		return Rotation{}, err
	}
	if _, err := r.store.HurryTargets(ctx, "", id, r.cfg.Now()); err != nil {
		return Rotation{}, err
	}
	r.wake()
	return r.Rotation(ctx, id)
}

// RepositoryRenamed notes that a repository is called otherwise, as GitHub told. It is looked up by
// its id before each write in any case.
func (r *Rotations) RepositoryRenamed(ctx context.Context, repositoryID int64, owner, name string) error {
	repo, err := github.ParseRepo(owner + "/" + name)
	if err != nil {
		return failure.Invalid(err.Error())
	}
	_, err = r.store.RenameRepository(ctx, repositoryID, repo.String())
	return err
}

// OwnerRenamed notes that an owner of repositories is called otherwise, as GitHub told.
func (r *Rotations) OwnerRenamed(ctx context.Context, ownerID int64, login string) error {
	if _, err := github.ParseRepo(login + "/x"); err != nil {
		return failure.Invalid(err.Error())
	}
	return r.store.RenameOwner(ctx, ownerID, login)
}

// RepositoryGone stops the rotations of a repository that are not for its owner of now (0: it was
// deleted): nothing is written for them any more. why is for people.
func (r *Rotations) RepositoryGone(ctx context.Context, repositoryID, ownerID int64, why string) error {
	if why == "" {
		why = "the repository is gone"
	}
	_, err := r.store.StopRepository(ctx, repositoryID, ownerID, github.Plain(why))
	return err
}
