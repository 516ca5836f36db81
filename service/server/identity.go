package server

import (
	"errors"
	"fmt"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
)

const jobKey = "job"

// errStranger marks every refusal of an identity: any job of the world can prove who it is, so what is refused is counted by address, whatever for.
var errStranger = errors.New("refused identity")

// stranger marks an error. Its text stays as it is.
type stranger struct{ error }

func (s stranger) Unwrap() []error { return []error{s.error, errStranger} }

// job is who exchanges an identity, and what for.
type job struct {
	identity oidc.Identity
	policy   license.TrustPolicy
	account  account.Account
}

// admitJob proves an identity token, finds the policy that lets the job in, and counts the request: by repository, at the limit of the account's
// tier. A token that is not proven is 401 like every other; whether a proven one may is for the policies to say.
func (s *Server) admitJob(c *gin.Context, token string) error {
	if s.identities == nil {
		return fmt.Errorf("%w: no issuer of identities is trusted here", license.ErrUnauthenticated)
	}
	ctx := c.Request.Context()
	id, err := s.identities.Verify(ctx, token)
	switch {
	case errors.Is(err, oidc.ErrUnreachable):
		return stranger{fmt.Errorf("%w: %w", errIssuer, err)}
	case err != nil:
		return fmt.Errorf("%w: %w", license.ErrUnauthenticated, err)
	}
	actAs(c, audit.Actor{Kind: audit.ActorJob, ID: "repository " + id.RepositoryID + " run " + id.RunID})
	policy, owner, err := s.license.PolicyFor(ctx, id)
	switch {
	case errors.Is(err, license.ErrNoPolicy), errors.Is(err, account.ErrExpired), errors.Is(err, account.ErrInactive), errors.Is(err, account.ErrRevoked):
		return stranger{err}
	case err != nil:
		return err
	}
	c.Set(jobKey, job{id, policy, owner})
	return s.limits.takeJob(ctx, owner.Tier, id.Issuer+" "+id.RepositoryID)
}

// exchange answers POST /_api/license/issue for a job.
func (s *Server) exchange(c *gin.Context, j job) error {
	issued, err := s.license.Exchange(c.Request.Context(), j.identity, j.policy, j.account)
	return answer(c, issuedToken, issued, err)
}
