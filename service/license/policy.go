package license

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
)

// TrustPolicy gives license tokens of an account to the jobs that meet it.
type TrustPolicy struct {
	oidc.Policy
	AccountID  string
	Repository string // OWNER/NAME when it was added; for people, repositories change their names
	CreatedAt  time.Time
}

// PolicyStore is what trust policies need of a database. Every method that changes something has
// made it durable, its acts included, when it returns nil.
type PolicyStore interface {
	// Account returns one account. ErrNotFound.
	Account(ctx context.Context, id string) (account.Account, error)
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error
	// AddPolicy stores a trust policy under the next version of its account and repository, which
	// the answer has. ErrNotFound: no such account.
	AddPolicy(ctx context.Context, p TrustPolicy, act audit.Act) (TrustPolicy, error)
	// Policies returns the policies that are asked for, in the order of ids.
	Policies(ctx context.Context, q PolicyQuery) ([]TrustPolicy, error)
	// PoliciesFor returns all policies for a repository id, of any issuer and owner, oldest first.
	PoliciesFor(ctx context.Context, repositoryID string) ([]TrustPolicy, error)
	// RemovePolicy ends a policy; one that has ended keeps its first time. With issued it revokes
	// what was issued under it, as account.Store.RevokeAPIToken does. ErrNotFound: there never was
	// one.
	RemovePolicy(ctx context.Context, id string, act audit.Act,
		issued *audit.Act) (families int64, err error)
	// IdentityUse returns the use of an identity that is remembered under a hash. ErrNotFound.
	IdentityUse(ctx context.Context, hash string) (IdentityUse, error)
}

// Policies is the trust policies of a database.
type Policies struct {
	store PolicyStore
	cfg   auth.Config
	log   *audit.Log
}

// NewPolicies returns the trust policies of a database.
func NewPolicies(s PolicyStore, c auth.Config) *Policies { return &Policies{s, c, c.Log} }

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}/[A-Za-z0-9._-]{1,100}$`)

// CheckRepository says whether a text can be the name of a repository, OWNER/NAME. ErrInvalid. It
// is for people, so it is printed, and it becomes a part of an address when GitHub is asked.
func CheckRepository(name string) error {
	if _, repository, _ := strings.Cut(name, "/"); !repositoryName.MatchString(name) ||
		repository == "." || repository == ".." {
		return fmt.Errorf("%w: repository %.100q is not OWNER/NAME", failure.ErrInvalid, name)
	}
	return nil
}

// AddPolicy stores a trust policy; its ID, Version and CreatedAt are given here. Refusals:
// ErrInvalid for each fault, ErrNotFound: no such account, ErrRevoked: a deleted one. One that says
// the same as another of the account is that other one, and nothing is added.
func (s *Policies) AddPolicy(ctx context.Context, p TrustPolicy) (TrustPolicy, error) {
	if err := p.Check(); err != nil {
		return TrustPolicy{}, failure.Invalid(err.Error())
	}
	if p.Repository != "" {
		if err := CheckRepository(p.Repository); err != nil {
			return TrustPolicy{}, err
		}
	}
	a, err := s.store.Account(ctx, p.AccountID)
	if err != nil {
		return TrustPolicy{}, err
	}
	if a.Status == account.Deleted {
		return TrustPolicy{}, fmt.Errorf("account %s: %w", a.ID, account.ErrDeleted)
	}
	there, err := s.store.PoliciesFor(ctx, p.RepositoryID)
	if err != nil {
		return TrustPolicy{}, err
	}
	for _, other := range there {
		if other.AccountID == p.AccountID && other.Same(p.Policy) {
			return other, nil
		}
	}
	if p.ID, err = opaque.OfPolicy.New(s.cfg.Rand); err != nil {
		return TrustPolicy{}, err
	}
	p.CreatedAt = s.cfg.Now()
	return s.store.AddPolicy(ctx, p, s.log.Act(ctx, audit.PolicyAdded, p.AccountID, p.ID, audit.Details{
		"repository_id": p.RepositoryID, "repository_owner_id": p.OwnerID, "issuer": p.Issuer, "ref": p.Refs, "environment": p.Environments,
		"event": p.Events, "job_workflow_ref": p.JobWorkflowRefs, "visibility": p.Visibilities,
	}))
}

// PolicyQuery is which policies to list.
type PolicyQuery struct {
	Account    string // only those of this account; "": all
	Repository string // only those of this repository: its id, or the name that it was added by
	After      string // only those whose id comes after this one
	Limit      int
}

// Policies returns the policies that are asked for, in the order of ids. ErrInvalid: After is no id,
// or Repository neither an id nor a name. ErrNotFound: no such account.
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
// Removing it twice is no error: anyone who has a second thought about the tokens can still end them.
// ErrNotFound: there never was such a policy.
func (s *Policies) RemovePolicy(ctx context.Context, id string,
	withTokens bool) (families int64, err error) {
	var issued *audit.Act
	if withTokens {
		issued = new(s.log.Act(ctx, audit.IssuesRevoked, "", id, nil))
	}
	return s.store.RemovePolicy(ctx, id, s.log.Act(ctx, audit.PolicyRemoved, "", id, nil), issued)
}

// PolicyFor finds the policy that lets an authentic identity in, and its account. Of several it is
// the one whose license is good, the oldest first. A refusal is a *Refusal, which wraps ErrNoPolicy,
// or why the license of the policy's account is not good.
func (s *Policies) PolicyFor(ctx context.Context,
	id oidc.Identity) (oidc.Policy, account.Account, error) {
	policies, err := s.store.PoliciesFor(ctx, id.RepositoryID)
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
		a, err := s.store.Account(ctx, p.AccountID)
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
