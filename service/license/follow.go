package license

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

// What GitHub tells of repositories. Ids decide about trust, so a new name changes what is shown and
// nothing else; a new owner, or the end of a repository, ends trust in it.

// ofGitHub says whether an issuer is the one of a GitHub, or one of its enterprises, which append
// their name: issuer, issuer/NAME.
func ofGitHub(p TrustPolicy, issuer string) bool {
	return issuer != "" && (p.Issuer == issuer || strings.HasPrefix(p.Issuer, issuer+"/"))
}

// RepositoryRenamed gives the policies of a repository, of the issuer that knows it by that id, the
// name that it has now. ErrInvalid: that is no name.
func (s *Policies) RepositoryRenamed(ctx context.Context, issuer, repositoryID, name string) error {
	if err := CheckRepository(name); err != nil {
		return err
	}
	return s.rename(ctx, repositoryID, "", func(p TrustPolicy) string {
		if ofGitHub(p, issuer) && p.RepositoryID == repositoryID && p.Repository != "" {
			return name
		}
		return p.Repository
	})
}

// OwnerRenamed gives the policies of an owner's repositories, of the issuer that knows it by that id,
// the name that the owner has now. ErrInvalid: that is no name.
func (s *Policies) OwnerRenamed(ctx context.Context, issuer, ownerID, login string) error {
	if err := CheckRepository(EveryRepository(login)); err != nil {
		return err
	}
	return s.rename(ctx, "", ownerID, func(p TrustPolicy) string {
		if _, repository, named := strings.Cut(p.Repository, "/"); named && ofGitHub(p, issuer) && p.OwnerID == ownerID {
			return login + "/" + repository
		}
		return p.Repository
	})
}

func (s *Policies) rename(ctx context.Context, repositoryID, ownerID string, name func(TrustPolicy) string) error {
	id, details := repositoryID, audit.Details{"change": "renamed"}
	if id == "" {
		id, details = ownerID, audit.Details{"change": "owner renamed"}
	}
	return s.store.RenamePolicies(ctx, repositoryID, ownerID, name, s.log.Act(ctx, audit.RepositoryChanged, "", id, details))
}

// RepositoryGone ends the policies of a repository, of the issuer that knows it by that id, that are
// not for its owner of now ("": it was deleted), and every license token that was issued under them.
// Policies for all repositories of an owner are about that owner, and stay.
func (s *Policies) RepositoryGone(ctx context.Context, issuer, repositoryID, ownerID string) error {
	if !IsRepositoryID(repositoryID) {
		return fmt.Errorf("%w: %q is not the id of a repository", failure.ErrInvalid, repositoryID)
	}
	list, err := s.store.PoliciesFor(ctx, repositoryID, "")
	if err != nil {
		return err
	}
	var faults []error
	for _, p := range list {
		if ofGitHub(p, issuer) && p.RepositoryID == repositoryID && p.OwnerID != ownerID {
			_, err := s.RemovePolicy(ctx, p.ID, true)
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
