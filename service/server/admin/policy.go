package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// ErrNoAnswer says that GitHub could not be asked: it is out of reach, has a fault, or lets us ask
// no more for now.
var ErrNoAnswer = errors.New("GitHub does not answer")

var errGitHub = errors.New("GitHub does not answer: try again later, or give repository_id and repository_owner_id")

// Resolver finds the ids of a repository and of its owner by the name OWNER/NAME.
// license.ErrInvalid: there is none that can be seen; ErrNoAnswer: GitHub cannot tell now.
type Resolver func(ctx context.Context, name string) (repositoryID, ownerID string, err error)

// listPolicies answers GET /_api/admin/policies.
func (h *Handlers) listPolicies(c *gin.Context) error {
	cursor, limit, query, err := route.List(c, "account", "repository")
	if err != nil {
		return err
	}
	found, err := h.Policies.Policies(c.Request.Context(), license.PolicyQuery{
		Account: query.Get("account"), Repository: query.Get("repository"), After: cursor,
		Limit: limit + 1,
	})
	return route.Answer(c, func(list []license.TrustPolicy) api.PolicyPage {
		return show.Policies(list, limit)
	}, found, err)
}

// addPolicy answers POST /_api/admin/policies.
func (h *Handlers) addPolicy(c *gin.Context) error {
	var in api.NewPolicy
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	if !opaque.OfAccount.Fits(in.Account) {
		return accountID.Refusal
	}
	p := license.TrustPolicy{AccountID: in.Account, Repository: in.Repository, Policy: oidc.Policy{
		Issuer: in.Issuer, RepositoryID: in.RepositoryID, OwnerID: in.RepositoryOwnerID, Refs: in.Ref, Environments: in.Environment, Events: in.Event,
		JobWorkflowRefs: in.JobWorkflowRef, Visibilities: in.Visibility,
	}}
	if p.Issuer == "" {
		if h.Identities == nil || len(h.Identities.Issuers()) != 1 {
			return route.BadRequest("give issuer: the ids of one GitHub mean nothing to another, and not exactly one issuer is trusted here")
		}
		p.Issuer = h.Identities.Issuers()[0]
	}
	if h.Identities == nil || !slices.Contains(h.Identities.Issuers(), p.Issuer) {
		return route.BadRequest("issuer %s is not trusted here, so a policy for it would let nobody in: see LICENSE_OIDC_ISSUERS", strconv.Quote(p.Issuer))
	}
	if err := h.nameRepository(c.Request.Context(), &p); err != nil {
		return err
	}
	made, err := h.Policies.AddPolicy(c.Request.Context(), p)
	return route.Answer(c, show.Policy, made, err)
}

// nameRepository finds the ids of a policy that names its repository alone.
func (h *Handlers) nameRepository(ctx context.Context, p *license.TrustPolicy) error {
	if p.RepositoryID != "" || p.OwnerID != "" || p.Repository == "" {
		return nil
	}
	if h.Repository == nil {
		return route.BadRequest("give repository_id and repository_owner_id: this service cannot ask GitHub for them")
	}
	err := license.CheckRepository(p.Repository)
	if err != nil {
		return err
	}
	p.RepositoryID, p.OwnerID, err = h.Repository(ctx, p.Repository)
	switch {
	case errors.Is(err, ErrNoAnswer):
		return fmt.Errorf("%w (%w)", errGitHub, err)
	case errors.Is(err, failure.ErrInvalid):
		return fmt.Errorf("%w; or give repository_id and repository_owner_id", err)
	}
	return err
}

// removePolicy answers DELETE /_api/admin/policies/{id}.
func (h *Handlers) removePolicy(c *gin.Context) error {
	withTokens, err := route.Flag(c, "with_tokens")
	if err != nil {
		return err
	}
	families, err := h.Policies.RemovePolicy(c.Request.Context(), c.Param("id"), withTokens)
	return route.Answer(c, func(families int64) api.RemovedPolicy {
		return api.RemovedPolicy{ID: c.Param("id"), Status: "removed", FamiliesRevoked: families}
	}, families, err)
}

// explainPolicies answers POST /_api/admin/policies/explain.
func (h *Handlers) explainPolicies(c *gin.Context) error {
	var in api.IdentityToExplain
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	given := 0
	for _, is := range []bool{in.Token != "", len(in.Claims) > 0, in.Request != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return route.BadRequest("give one of token, claims and request")
	}
	if h.Identities == nil {
		return route.BadRequest("no issuer of identities is trusted here: set LICENSE_OIDC_ISSUERS")
	}
	if in.Request != "" {
		found, err := h.Jobs.ExplainRefused(c.Request.Context(), in.Request, h.Identities.Issuers())
		return route.Answer(c, show.Explanation, found, err)
	}
	id, clauses, err := h.explainIdentity(c.Request.Context(), in)
	if err != nil {
		return fmt.Errorf("%w: %w", failure.ErrInvalid, err)
	}
	found, err := h.Policies.Explain(c.Request.Context(), id, clauses)
	return route.Answer(c, show.Explanation, found, err)
}

func (h *Handlers) explainIdentity(ctx context.Context,
	in api.IdentityToExplain) (oidc.Identity, []oidc.Clause, error) {
	if in.Token != "" {
		return h.Identities.Explain(ctx, in.Token)
	}
	id, err := oidc.ParseClaims(in.Claims)
	if err != nil {
		return id, nil, err
	}
	return id, h.Identities.ExplainClaims(id), nil
}
