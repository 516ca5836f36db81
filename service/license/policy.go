package license

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// TrustPolicy gives license tokens of an account to the jobs that meet it.
type TrustPolicy struct {
	oidc.Policy
	AccountID  string
	Repository string // OWNER/NAME when it was added; for people, repositories change their names
	CreatedAt  time.Time
}

// The refusals of an identity. Each is final for the identity token that was shown.
var (
	// ErrNoPolicy says that the job is who it says, and that no trust policy lets it in.
	ErrNoPolicy = errors.New("no trust policy lets this job in: whoever runs this License service sees why by `pageflare-license policy explain`")
	// ErrIdentityUsed says that the identity token was exchanged before, longer ago than a lost answer excuses.
	ErrIdentityUsed = errors.New("this identity token was used before: request a new one for each exchange")
)

// IdentityRetry is how long after its first use an identity token gets the same license token once more, for a client that lost the answer.
const IdentityRetry = 60 * time.Second

// IdentityUse remembers that an identity token was exchanged.
type IdentityUse struct {
	Hash  string // SHA-256 of issuer and jti
	At    time.Time
	Until time.Time      // when it can be forgotten
	Token opaque.TokenID // what it was exchanged for
}

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}/[A-Za-z0-9._-]{1,100}$`)

// CheckRepository says whether a text can be the name of a repository, OWNER/NAME. ErrInvalid. It is for people, so it is printed, and it becomes a part
// of an address when GitHub is asked.
func CheckRepository(name string) error {
	if _, repository, _ := strings.Cut(name, "/"); !repositoryName.MatchString(name) || repository == "." || repository == ".." {
		return fmt.Errorf("%w: repository %.100q is not OWNER/NAME", failure.ErrInvalid, name)
	}
	return nil
}

// AddPolicy stores a trust policy; its ID, Version and CreatedAt are given here. Refusals: ErrInvalid for each fault, ErrNotFound: no such
// account, ErrRevoked: a deleted one.
func (s *Service) AddPolicy(ctx context.Context, p TrustPolicy) (TrustPolicy, error) {
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
	if p.ID, err = opaque.OfPolicy.New(s.cfg.Rand); err != nil {
		return TrustPolicy{}, err
	}
	p.CreatedAt = s.time()
	return s.store.AddPolicy(ctx, p, s.log.Act(ctx, audit.PolicyAdded, p.AccountID, p.ID, audit.Details{
		"repository_id": p.RepositoryID, "repository_owner_id": p.OwnerID, "issuer": p.Issuer, "ref": p.Refs, "environment": p.Environments,
		"event": p.Events, "job_workflow_ref": p.JobWorkflowRefs, "visibility": p.Visibilities,
	}))
}

// Policies returns up to limit policies whose id comes after the given one, in the order of ids; of one account, or of all when it is "". ErrInvalid: after
// is no id. ErrNotFound: no such account.
func (s *Service) Policies(ctx context.Context, account, after string, limit int) ([]TrustPolicy, error) {
	if err := opaque.OfPolicy.CheckAfter(after); err != nil {
		return nil, err
	}
	if account != "" {
		if _, err := s.store.Account(ctx, account); err != nil {
			return nil, err
		}
	}
	return s.store.Policies(ctx, account, after, limit)
}

// RemovePolicy ends a policy. Tokens that were issued under it live on to their end, which is near, unless withTokens ends them in the same moment;
// then the answer is how many families that were. Removing it twice is no error: whoever has a second thought about the tokens can still end them.
// ErrNotFound: there never was such a policy.
func (s *Service) RemovePolicy(ctx context.Context, id string, withTokens bool) (families int64, err error) {
	return s.store.RemovePolicy(ctx, id, s.log.Act(ctx, audit.PolicyRemoved, "", id, nil), s.endIssued(ctx, withTokens, id))
}

// PolicyFor finds the policy that lets an authentic identity in, and its account. Of several it is the one whose license is good, the oldest
// first. ErrNoPolicy; or why the license of the policy's account is not good.
func (s *Service) PolicyFor(ctx context.Context, id oidc.Identity) (TrustPolicy, account.Account, error) {
	policies, err := s.store.PoliciesFor(ctx, id.RepositoryID)
	if err != nil {
		return TrustPolicy{}, account.Account{}, err
	}
	refusal := ErrNoPolicy
	for _, p := range policies {
		if !p.Match(id) {
			continue
		}
		a, err := s.store.Account(ctx, p.AccountID)
		if err != nil {
			return TrustPolicy{}, account.Account{}, err
		}
		if err := account.MayHoldToken(a, s.time()); err == nil {
			return p, a, nil
		} else if errors.Is(refusal, ErrNoPolicy) {
			refusal = err
		}
	}
	return TrustPolicy{}, account.Account{}, refusal
}

// Exchange makes a short-lived license token for an authentic identity that a policy lets in. An identity is good for one exchange: the same
// one again gives the same token for IdentityRetry, on every replica, and then ErrIdentityUsed.
func (s *Service) Exchange(ctx context.Context, id oidc.Identity, p TrustPolicy, a account.Account) (Issued, error) {
	return keyring.Sign(ctx, s.keys, func(view *keyring.View) (Issued, error) { return s.exchange(ctx, id, p, a, view.Tokens) })
}

func (s *Service) exchange(ctx context.Context, id oidc.Identity, p TrustPolicy, a account.Account, set *token.KeySet) (Issued, error) {
	now := s.time()
	claims, capped, err := s.exchanged(id, p, a, now, set)
	if err != nil {
		return Issued{}, err
	}
	out, err := signWith(set, claims, capped)
	if err != nil {
		return Issued{}, err
	}
	// remembered for a little longer than it is accepted: by a request that was let in a moment ago, or by a replica whose clock is behind
	use := IdentityUse{Hash: hashIdentity(id), At: now, Until: id.UsableUntil().Add(oidc.Leeway), Token: out.ID}
	record := TokenRecord{
		ID: out.ID, AccountID: a.ID, IssuedBy: p.ID, KeyID: set.SigningKey(), IssuedAt: claims.IssuedAt, ExpiresAt: claims.ExpiresAt, Recorded: now,
	}
	first, err := s.store.RecordExchange(ctx, use, record, s.log.Act(ctx, audit.TokenExchanged, a.ID, string(out.ID), audit.Details{
		"token_sha256": opaque.Hash(out.Token.Reveal()), "kid": record.KeyID, "expires_at": record.ExpiresAt.Unix(), "policy": p.ID, "policy_version": p.Version,
		"repository_id": id.RepositoryID, "repository": id.Repository, "ref": id.Ref, "event": id.Event, "run_id": id.RunID, "identity_sha256": use.Hash,
	}))
	if err != nil || first.Token == out.ID {
		return out, err
	}
	if now.After(first.At.Add(IdentityRetry)) {
		return Issued{}, ErrIdentityUsed
	}
	return s.exchangedAgain(ctx, id, p, a, first, set)
}

// hashIdentity is what an identity token is remembered by. Each issuer names its tokens by itself.
func hashIdentity(id oidc.Identity) string {
	sum := sha256.Sum256([]byte(id.Issuer + "\x00" + id.ID))
	return hex.EncodeToString(sum[:])
}

// exchangedAgain makes once more the token that an identity was exchanged for, for a client that lost the answer: under the key of then, also when
// another signs now. When the account or the policy was changed in between, it would be another token: ErrIdentityUsed.
func (s *Service) exchangedAgain(ctx context.Context, id oidc.Identity, p TrustPolicy, a account.Account, first IdentityUse, set *token.KeySet) (Issued, error) {
	record, err := s.store.Token(ctx, first.Token)
	if err != nil {
		return Issued{}, err
	}
	then, ok := set.By(record.KeyID)
	if !ok {
		return Issued{}, ErrIdentityUsed
	}
	claims, capped, err := s.exchanged(id, p, a, first.At, then)
	if err != nil {
		return Issued{}, err
	}
	if opaque.TokenID(claims.ID) != first.Token {
		return Issued{}, ErrIdentityUsed
	}
	return signWith(then, claims, capped)
}

// exchanged is the token for an identity that was first shown at the given time. Its id is derived from all that stands in it.
func (s *Service) exchanged(id oidc.Identity, p TrustPolicy, a account.Account, at time.Time, set *token.KeySet) (token.Claims, bool, error) {
	iat := at.Truncate(time.Second)
	claims, capped := s.claims(a, iat, s.cfg.IdentityTokenTTL)
	content, err := json.Marshal([]any{"identity", id.Issuer, id.ID, p.ID, p.Version, at.UnixMilli(), set.SigningKey(), claims})
	if err != nil {
		return token.Claims{}, false, fmt.Errorf("derive a token id: %w", err)
	}
	claims.ID = string(opaque.DeriveExchangedID(iat, content, s.deriveKey))
	return claims, capped, nil
}
