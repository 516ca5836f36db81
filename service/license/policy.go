package license

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/rights"
)

// TrustPolicy gives license tokens of an account to the jobs that meet it.
type TrustPolicy struct {
	oidc.Policy
	AccountID  string
	Repository string // OWNER/NAME, or OWNER/*, when it was added; for people, names change
	CreatedAt  time.Time
}

// PolicyStore is what trust policies need of a database. Every method that changes something has
// made it durable, its acts included, when it returns nil.
type PolicyStore interface {
	// Account returns one account. ErrNotFound.
	Account(ctx context.Context, id string) (account.Account, error)
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error
	// AddPolicies stores trust policies, all of them or none, each under the next version of its
	// account and repository (of its account and owner, if it is for a whole owner). One that says
	// the same as another of its account, which may stand before it in the list, is that other
	// one: it is not stored, and its act is not noted. The answer has the policies as they are
	// stored, in the order of the list. PolicyFaults with ErrNotFound: no such account;
	// account.ErrDeleted.
	AddPolicies(ctx context.Context, list []TrustPolicy, acts []audit.Act) ([]TrustPolicy, error)
	// Policies returns the policies that are asked for, in the order of ids.
	Policies(ctx context.Context, q PolicyQuery) ([]TrustPolicy, error)
	// PoliciesFor returns the policies for a repository id, of any issuer and owner, oldest first;
	// and after them those for the whole owner of that id, oldest first.
	PoliciesFor(ctx context.Context, repositoryID, ownerID string) ([]TrustPolicy, error)
	// RemovePolicy ends a policy; one that has ended keeps its first time. With issued it revokes
	// what was issued under it, as account.Store.RevokeAPIToken does. ErrNotFound: there never was
	// one.
	RemovePolicy(ctx context.Context, id string, act audit.Act,
		issued *audit.Act) (families int64, err error)
	// RenamePolicies gives each policy of a repository id, or of all repositories of an owner id
	// where that is "", the name that name tells. The act is noted when that changed one.
	RenamePolicies(ctx context.Context, repositoryID, ownerID string, name func(TrustPolicy) string,
		act audit.Act) error
	// IdentityUse returns the use of an identity that is remembered under a hash. ErrNotFound.
	IdentityUse(ctx context.Context, hash string) (IdentityUse, error)
	// Rights returns the state of rights, at most 250 ms old; see service/rights.
	Rights(ctx context.Context) (int64, error)
}

// Policies is the trust policies of a database.
type Policies struct {
	store PolicyStore
	cfg   auth.Config
	log   *audit.Log

	known    rights.Cache[[]TrustPolicy] // by the ids of a repository and its owner
	accounts rights.Cache[account.Account]
}

// NewPolicies returns the trust policies of a database.
func NewPolicies(s PolicyStore, c auth.Config) *Policies {
	return &Policies{store: s, cfg: c, log: c.Log}
}

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}/([A-Za-z0-9._-]{1,100}|\*)$`)

// CheckRepository says whether a text can be the name of a repository, OWNER/NAME, or stand for all
// repositories of an owner, OWNER/*. ErrInvalid. It is for people, so it is printed, and it becomes
// a part of an address when GitHub is asked.
func CheckRepository(name string) error {
	if _, repository, _ := strings.Cut(name, "/"); !repositoryName.MatchString(name) ||
		repository == "." || repository == ".." {
		return fmt.Errorf("%w: repository %.100q is not OWNER/NAME", failure.ErrInvalid, name)
	}
	return nil
}

// allOf stands behind the name of an owner whose repositories are all meant.
const allOf = "/*"

// EveryRepository is the name that stands for all repositories of an owner, OWNER/*.
func EveryRepository(owner string) string { return owner + allOf }

// OwnerOfEvery is the owner of a name OWNER/*; false for the name of a repository.
func OwnerOfEvery(name string) (owner string, all bool) { return strings.CutSuffix(name, allOf) }

// AddPolicy is AddPolicies for one.
func (s *Policies) AddPolicy(ctx context.Context, p TrustPolicy) (TrustPolicy, error) {
	made, err := s.AddPolicies(ctx, []TrustPolicy{p})
	if err != nil {
		return TrustPolicy{}, OnlyFault(err)
	}
	return made[0], nil
}

// AddPolicies stores trust policies, all of them or none; ID, Version and CreatedAt of each are
// given here. One that says the same as another of the account is that other one, and is not added
// again, however many ask for it at the same time. Refusals: ErrInvalid: none, or more than
// MaxPolicies; PolicyFaults with ErrInvalid for each that is wrong, or, when none is, with the
// first whose account is ErrNotFound or ErrDeleted.
func (s *Policies) AddPolicies(ctx context.Context, list []TrustPolicy) ([]TrustPolicy, error) {
	if err := checkNumber(len(list)); err != nil {
		return nil, err
	}
	var faults PolicyFaults
	for i, p := range list {
		faults = faults.with(i, p.check())
	}
	if len(faults) > 0 {
		return nil, faults
	}
	list = slices.Clone(list)
	acts := make([]audit.Act, len(list))
	now := s.cfg.Now()
	for i := range list {
		p := &list[i]
		var err error
		if p.ID, err = opaque.OfPolicy.New(s.cfg.Rand); err != nil {
			return nil, err
		}
		p.CreatedAt = now
		acts[i] = s.log.Act(ctx, audit.PolicyAdded, p.AccountID, p.ID, audit.Details{
			"repository_id": p.RepositoryID, "repository_owner_id": p.OwnerID, "issuer": p.Issuer, "ref": p.Refs, "environment": p.Environments,
			"event": p.Events, "job_workflow_ref": p.JobWorkflowRefs, "visibility": p.Visibilities,
		})
	}
	return s.store.AddPolicies(ctx, list, acts)
}

// check returns what is wrong with a policy by itself. ErrInvalid.
func (p TrustPolicy) check() error {
	if err := invalid(p.Check()); err != nil || p.Repository == "" {
		return err
	}
	if err := CheckRepository(p.Repository); err != nil {
		return err
	}
	if _, all := OwnerOfEvery(p.Repository); all != p.WholeOwner() {
		return fmt.Errorf("%w: the repository %s and the repository id %s do not go together: OWNER/* has the id *, and nothing else has",
			failure.ErrInvalid, p.Repository, p.RepositoryID)
	}
	return nil
}

// PolicyQuery is which policies to list.
type PolicyQuery struct {
	Account    string // only those of this account; "": all
	Repository string // only those of this repository: its id, or the name that it was added by
	After      string // only those whose id comes after this one
	Limit      int
}

// Policies returns the policies that are asked for, in the order of ids. ErrInvalid: After is no
// id, or Repository neither an id nor a name. ErrNotFound: no such account.
func (s *Policies) Policies(ctx context.Context, q PolicyQuery) ([]TrustPolicy, error) {
	if err := opaque.OfPolicy.CheckAfter(q.After); err != nil {
		return nil, err
	}
	if q.Repository != "" && !IsRepositoryID(q.Repository) {
		if err := CheckRepository(q.Repository); err != nil {
			return nil, fmt.Errorf("%w, and not the id of one", err)
		}
	}
	if q.Account != "" {
		if err := s.store.HasAccount(ctx, q.Account); err != nil {
			return nil, err
		}
	}
	return s.store.Policies(ctx, q)
}

// IsRepositoryID tells the id of a repository, a number, from its name.
func IsRepositoryID(text string) bool {
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil
}

// RemovePolicy ends a policy. Tokens that were issued under it live on to their end, which is near,
// unless withTokens ends them in the same moment; then the answer is how many families that were.
// Removing it twice is no error: anyone who has a second thought about the tokens can still end
// them. ErrNotFound: there never was such a policy.
func (s *Policies) RemovePolicy(ctx context.Context, id string,
	withTokens bool) (families int64, err error) {
	var issued *audit.Act
	if withTokens {
		issued = new(s.log.Act(ctx, audit.IssuesRevoked, "", id, nil))
	}
	return s.store.RemovePolicy(ctx, id, s.log.Act(ctx, audit.PolicyRemoved, "", id, nil), issued)
}

// PolicyFor finds the policy that allows an authentic identity, and its account. Of several it is
// the one whose license is good: those for its very repository first, then those for its whole
// owner, of each the oldest first, whatever their accounts. A refusal is a *Refusal, which wraps
// ErrNoPolicy, or why the license of the policy's account is not good.
func (s *Policies) PolicyFor(ctx context.Context,
	id oidc.Identity) (oidc.Policy, account.Account, error) {
	asOf, err := s.store.Rights(ctx)
	if err != nil {
		return oidc.Policy{}, account.Account{}, err
	}
	policies, err := s.policiesFor(ctx, asOf, id)
	if err != nil {
		return oidc.Policy{}, account.Account{}, err
	}
	refusal := newRefusal(id)
	for _, p := range policies {
		clauses := p.Explain(id)
		if !oidc.Met(clauses) {
			refusal.consider(p, clauses, auth.ErrNoPolicy)
			continue
		}
		a, err := s.accounts.Get(asOf, p.AccountID,
			func() (account.Account, error) { return s.store.Account(ctx, p.AccountID) })
		if err != nil {
			return oidc.Policy{}, account.Account{}, err
		}
		now := s.cfg.Now()
		if err := account.MayHoldToken(a, now); err != nil {
			refusal.consider(p, append(clauses, explainLicense(a, now)), err)
			continue
		}
		return p.Policy, a, nil
	}
	return oidc.Policy{}, account.Account{}, refusal
}

// policiesFor is the policies that may allow a job. A repository without one is asked for each
// time: anyone who has an account at GitHub can have as many as they like.
func (s *Policies) policiesFor(ctx context.Context, asOf int64, id oidc.Identity) ([]TrustPolicy, error) {
	list, err := s.known.Get(asOf, id.RepositoryID+" "+id.OwnerID, func() ([]TrustPolicy, error) {
		list, err := s.store.PoliciesFor(ctx, id.RepositoryID, id.OwnerID)
		if err == nil && len(list) == 0 {
			err = failure.ErrNotFound
		}
		return list, err
	})
	if errors.Is(err, failure.ErrNotFound) {
		return nil, nil
	}
	return list, err
}
