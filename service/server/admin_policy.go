package server

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
	"github.com/pageflare/ci/service/show"
)

// Resolver finds the ids of a repository and of its owner by the name OWNER/NAME. license.ErrInvalid: there is none that can be seen;
// ErrNoAnswer: GitHub cannot tell now.
type Resolver func(ctx context.Context, name string) (repositoryID, ownerID string, err error)

// listPolicies answers GET /_api/admin/policies.
func (s *Server) listPolicies(c *gin.Context) error {
	cursor, limit, query, err := page(c, "account")
	if err != nil {
		return err
	}
	found, err := s.parts.Policies.Policies(c.Request.Context(), query.Get("account"), cursor, limit+1)
	return answer(c, func(list []license.TrustPolicy) api.PolicyPage {
		list, next := cut(list, limit, func(p license.TrustPolicy) string { return p.ID })
		return api.PolicyPage{Items: show.Each(list, show.Policy), NextCursor: next}
	}, found, err)
}

// addPolicy answers POST /_api/admin/policies.
func (s *Server) addPolicy(c *gin.Context) error {
	var in api.NewPolicy
	if err := bindJSON(c, &in); err != nil {
		return err
	}
	if !opaque.OfAccount.Fits(in.Account) {
		return errNoAccount
	}
	p := license.TrustPolicy{AccountID: in.Account, Repository: in.Repository, Policy: oidc.Policy{
		Issuer: in.Issuer, RepositoryID: in.RepositoryID, OwnerID: in.RepositoryOwnerID, Refs: in.Ref, Environments: in.Environment, Events: in.Event,
		JobWorkflowRefs: in.JobWorkflowRef, Visibilities: in.Visibility,
	}}
	if p.Issuer == "" {
		if s.parts.Identities == nil || len(s.parts.Identities.Issuers()) != 1 {
			return unfit("give issuer: the ids of one GitHub mean nothing to another, and not exactly one issuer is trusted here")
		}
		p.Issuer = s.parts.Identities.Issuers()[0]
	}
	if s.parts.Identities == nil || !slices.Contains(s.parts.Identities.Issuers(), p.Issuer) {
		return unfit("issuer %s is not trusted here, so a policy for it would let nobody in: see LICENSE_OIDC_ISSUERS", strconv.Quote(p.Issuer))
	}
	if err := s.nameRepository(c.Request.Context(), &p); err != nil {
		return err
	}
	made, err := s.parts.Policies.AddPolicy(c.Request.Context(), p)
	return answer(c, show.Policy, made, err)
}

// nameRepository finds the ids of a policy that names its repository alone.
func (s *Server) nameRepository(ctx context.Context, p *license.TrustPolicy) error {
	if p.RepositoryID != "" || p.OwnerID != "" || p.Repository == "" {
		return nil
	}
	if s.repository == nil {
		return unfit("give repository_id and repository_owner_id: this service cannot ask GitHub for them")
	}
	err := license.CheckRepository(p.Repository)
	if err != nil {
		return err
	}
	p.RepositoryID, p.OwnerID, err = s.repository(ctx, p.Repository)
	switch {
	case errors.Is(err, ErrNoAnswer):
		return fmt.Errorf("%w (%w)", errGitHub, err)
	case errors.Is(err, failure.ErrInvalid):
		return fmt.Errorf("%w; or give repository_id and repository_owner_id", err)
	}
	return err
}

// removePolicy answers DELETE /_api/admin/policies/{id}.
func (s *Server) removePolicy(c *gin.Context) error {
	withTokens, err := flag(c, "with_tokens")
	if err != nil {
		return err
	}
	families, err := s.parts.Policies.RemovePolicy(c.Request.Context(), c.Param("id"), withTokens)
	return answer(c, func(families int64) api.RemovedPolicy {
		return api.RemovedPolicy{ID: c.Param("id"), Status: "removed", FamiliesRevoked: families}
	}, families, err)
}

// explainPolicies answers POST /_api/admin/policies/explain.
func (s *Server) explainPolicies(c *gin.Context) error {
	var in api.IdentityToExplain
	if err := bindJSON(c, &in); err != nil {
		return err
	}
	if (in.Token == "") == (len(in.Claims) == 0) {
		return unfit("give one of token and claims")
	}
	if s.parts.Identities == nil {
		return unfit("no issuer of identities is trusted here: set LICENSE_OIDC_ISSUERS")
	}
	id, clauses, err := s.explainIdentity(c.Request.Context(), in)
	if err != nil {
		return fmt.Errorf("%w: %w", failure.ErrInvalid, err)
	}
	found, err := s.parts.Policies.Explain(c.Request.Context(), id, clauses)
	return answer(c, show.Explanation, found, err)
}

func (s *Server) explainIdentity(ctx context.Context, in api.IdentityToExplain) (oidc.Identity, []oidc.Clause, error) {
	if in.Token != "" {
		return s.parts.Identities.Explain(ctx, in.Token)
	}
	id, err := oidc.ParseClaims(in.Claims)
	if err != nil {
		return id, nil, err
	}
	return id, s.parts.Identities.ExplainClaims(id), nil
}
