package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

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

// ErrAnonymousLimit is the ErrNoAnswer of a service that asks without a token, of which GitHub
// answers a few questions an hour.
var ErrAnonymousLimit = fmt.Errorf("%w: its limit for requests without a token is used up", ErrNoAnswer)

var errAnonymousLimit = errors.New("GitHub answers no more questions of a service without a token for now: set GITHUB_TOKEN for the service, " +
	"give repository_id and repository_owner_id, or try again in an hour")

var errGitHub = errors.New("GitHub does not answer: try again later, or give repository_id and repository_owner_id")

// Resolver finds the ids of a repository and of its owner by the name OWNER/NAME; of OWNER/*
// oidc.AnyRepository and the id of that organization. license.ErrInvalid: there is none that can be
// seen; ErrNoAnswer: GitHub cannot tell now.
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
	made, err := h.addPolicies(c, []api.NewPolicy{in})
	return route.Answer(c, func(made []license.TrustPolicy) api.Policy {
		return show.Policy(made[0])
	}, made, license.OnlyFault(err))
}

// BatchBody is the most bytes of a body with several policies: enough for license.MaxPolicies of
// the usual kind.
const BatchBody = 256 << 10

// lookupTime is how long GitHub may take to tell the ids of all repositories of a request.
const lookupTime = 2 * time.Minute

// addPolicyBatch answers POST /_api/admin/policies/batch.
func (h *Handlers) addPolicyBatch(c *gin.Context) error {
	var in api.NewPolicies
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	made, err := h.addPolicies(c, in.Items)
	return route.Answer(c, func(made []license.TrustPolicy) api.AddedPolicies {
		return api.AddedPolicies{Items: show.Each(made, show.Policy)}
	}, made, err)
}

// addPolicies adds all of the policies or none. license.PolicyFaults.
func (h *Handlers) addPolicies(c *gin.Context, in []api.NewPolicy) ([]license.TrustPolicy, error) {
	list := make([]license.TrustPolicy, len(in))
	var faults license.PolicyFaults
	for i, n := range in {
		p, err := h.policyOf(n)
		if err != nil {
			faults = append(faults, license.PolicyFault{Index: i, Err: err})
		}
		list[i] = p
	}
	if len(faults) > 0 {
		return nil, faults
	}
	ctx, end := h.Extend(c, lookupTime)
	defer end()
	if err := license.FindRepositories(ctx, list, h.findRepository); err != nil {
		return nil, err
	}
	return h.Policies.AddPolicies(c.Request.Context(), list)
}

// policyOf is the policy that a request asks for. ErrInvalid; ErrNotFound: its account cannot be
// one.
func (h *Handlers) policyOf(in api.NewPolicy) (license.TrustPolicy, error) {
	p := license.TrustPolicy{AccountID: in.Account, Repository: in.Repository, Policy: oidc.Policy{
		Issuer: in.Issuer, RepositoryID: in.RepositoryID, OwnerID: in.RepositoryOwnerID, Refs: in.Ref, Environments: in.Environment, Events: in.Event,
		JobWorkflowRefs: in.JobWorkflowRef, Visibilities: in.Visibility,
	}}
	if !opaque.OfAccount.Fits(in.Account) {
		return p, accountID.Refusal
	}
	var trusted []string
	if h.Identities != nil {
		trusted = h.Identities.Issuers()
	}
	if p.Issuer == "" {
		if len(trusted) != 1 {
			return p, failure.Invalid("give issuer: the ids of one GitHub mean nothing to another, and not exactly one issuer is trusted here")
		}
		p.Issuer = trusted[0]
	}
	if !slices.Contains(trusted, p.Issuer) {
		return p, failure.Invalid("issuer " + strconv.Quote(p.Issuer) +
			" is not trusted here, so a policy for it would allow nobody: see LICENSE_OIDC_ISSUERS")
	}
	if in.Organization == "" {
		return p, nil
	}
	if in.Repository != "" || in.RepositoryID != "" {
		return p, failure.Invalid("organization stands for every repository of it: leave repository and repository_id out")
	}
	p.Repository = license.EveryRepository(in.Organization)
	if p.OwnerID != "" {
		p.RepositoryID = oidc.AnyRepository
	}
	return p, nil
}

// findRepository is the Resolver, with what a caller of the API can do where it has no answer.
func (h *Handlers) findRepository(ctx context.Context,
	name string) (repositoryID, ownerID string, err error) {
	if h.Repository == nil {
		return "", "", failure.Invalid("give repository_id and repository_owner_id: this service cannot ask GitHub for them")
	}
	if err := license.CheckRepository(name); err != nil {
		return "", "", err
	}
	repositoryID, ownerID, err = h.Repository(ctx, name)
	switch {
	case errors.Is(err, ErrAnonymousLimit):
		err = fmt.Errorf("%w (%w)", errAnonymousLimit, err)
	case errors.Is(err, ErrNoAnswer):
		err = fmt.Errorf("%w (%w)", errGitHub, err)
	case errors.Is(err, failure.ErrInvalid):
		err = fmt.Errorf("%w; or give repository_id and repository_owner_id", err)
	}
	return repositoryID, ownerID, err
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
