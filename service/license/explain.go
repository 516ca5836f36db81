package license

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/oidc"
)

// Explanation says clause by clause why a job is allowed or refused.
type Explanation struct {
	Outcome  oidc.Outcome    // Passed: an exchange would be granted now; NotChecked: it would be, if what was not checked is good
	Identity []oidc.Clause   // of the identity token itself
	Policies []PolicyVerdict // those for its repository or its owner; none: there is no policy for it
	Refused  *RefusedJob     // the job, when it is one that was refused before; else nil
}

// Verdict is the outcome in words, as people and programs are told it.
func (e Explanation) Verdict() string {
	switch e.Outcome {
	case oidc.Passed:
		return "allowed"
	case oidc.NotChecked:
		return "allowed if what was not checked is good"
	}
	return "refused"
}

// PolicyVerdict is what one policy, and the license that it gives, says of an identity.
type PolicyVerdict struct {
	Policy  TrustPolicy
	Clauses []oidc.Clause
}

// Explain adds to the clauses of an identity token what is known here: whether it was exchanged
// before, and what each policy for its repository or its whole owner says. It changes nothing.
func (s *Policies) Explain(ctx context.Context, id oidc.Identity,
	clauses []oidc.Clause) (Explanation, error) {
	used, err := s.explainUse(ctx, id)
	if err != nil {
		return Explanation{}, err
	}
	return s.explain(ctx, id, append(clauses, used))
}

// explain adds to clauses of an identity what each policy for its repository or its owner says.
func (s *Policies) explain(ctx context.Context, id oidc.Identity,
	clauses []oidc.Clause) (Explanation, error) {
	policies, err := s.store.PoliciesFor(ctx, id.RepositoryID, id.OwnerID)
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{Identity: clauses, Outcome: oidc.Failed}
	for _, p := range policies {
		a, err := s.store.Account(ctx, p.AccountID)
		if err != nil {
			return Explanation{}, err
		}
		v := PolicyVerdict{p, append(p.Explain(id), explainLicense(a, s.cfg.Now()))}
		if oidc.Met(v.Clauses) {
			out.Outcome = oidc.Sum(out.Identity)
		}
		out.Policies = append(out.Policies, v)
	}
	return out, nil
}

// explainUse is the clause that an identity token is good for one exchange.
func (s *Policies) explainUse(ctx context.Context, id oidc.Identity) (oidc.Clause, error) {
	c := oidc.Clause{
		Name: "not used before", Outcome: oidc.Passed,
		Want: "one exchange, and the same again within " + IdentityRetry.String(),
	}
	use, err := s.store.IdentityUse(ctx, hashIdentity(id))
	if errors.Is(err, failure.ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	c.Got = fmt.Sprintf("exchanged at %s for token %s", use.At.Format(time.RFC3339), use.Token)
	if s.cfg.Now().After(use.At.Add(IdentityRetry)) {
		c.Outcome, c.Hint = oidc.Failed, "request a new identity token for each exchange"
	}
	return c, nil
}

// explainLicense is the clause that the account of a policy may hold tokens.
func explainLicense(a account.Account, now time.Time) oidc.Clause {
	c := oidc.Clause{
		Name: "license", Outcome: oidc.Passed, Want: "an active account, valid after " +
			now.Format(time.RFC3339),
		Got: fmt.Sprintf("%s, valid until %s", a.Status, a.ValidUntil.Format(time.RFC3339)),
	}
	if err := account.MayHoldToken(a, now); err != nil {
		c.Outcome, c.Hint = oidc.Failed, err.Error()
	}
	return c
}
