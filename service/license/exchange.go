package license

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// ErrIdentityUsed says that the identity token was exchanged before, longer ago than a lost answer
// excuses. It is final for the identity token that was shown.
var ErrIdentityUsed = errors.New("this identity token was used before: request a new one for each exchange")

// IdentityRetry is how long after its first use an identity token gets the same license token once
// more, for a client that lost the answer.
const IdentityRetry = 60 * time.Second

// IdentityUse remembers that an identity token was exchanged, or that a request which its sender
// named got its token.
type IdentityUse struct {
	Hash  string // SHA-256 of issuer and jti, or opaque.RequestName
	At    time.Time
	Until time.Time      // when it can be forgotten
	Token opaque.TokenID // what it was exchanged for
}

// Exchange makes a short-lived license token for an authentic identity that a policy allows. An
// identity is good for one exchange: the same one again gives the same token for IdentityRetry, on
// every replica, and then ErrIdentityUsed.
func (s *Service) Exchange(ctx context.Context, c auth.Caller) (Issued, error) {
	return keyring.Sign(ctx, s.keys,
		func(view *keyring.View) (Issued, error) { return s.exchangeWith(ctx, c, view) })
}

func (s *Service) exchangeWith(ctx context.Context, c auth.Caller, view *keyring.View) (Issued, error) {
	id, p, a, set := c.Job.Identity, c.Job.Policy, c.Account, view.Tokens
	now := s.cfg.Now()
	claims, capped, err := s.tokenFor(id, p, a, now, set)
	if err != nil {
		return Issued{}, err
	}
	out, err := signWith(set, claims, capped)
	if err != nil {
		return Issued{}, err
	}
	// remembered for a little longer than it is accepted: by a request that was allowed a moment
	// ago, or by a replica whose clock is behind
	use := IdentityUse{
		Hash: hashIdentity(id), At: now, Until: id.UsableUntil().Add(oidc.Leeway), Token: out.ID,
	}
	record := TokenRecord{
		ID: out.ID, AccountID: a.ID, IssuedBy: p.ID, KeyID: set.SigningKey(), IssuedAt: claims.IssuedAt, ExpiresAt: claims.ExpiresAt, Recorded: now,
		Hash: sha256.Sum256([]byte(out.Token.Reveal())), AsOf: min(c.AsOf, view.AsOf),
	}
	by := repositoryOf(id, a.ID, now)
	first, err := s.store.RecordExchange(ctx, use, record, &by, s.log.Act(ctx, audit.TokenExchanged, a.ID, string(out.ID), audit.Details{
		"policy": p.ID, "policy_version": p.Version,
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

// hashIdentity is what an identity token is remembered by. Each issuer names its tokens on its own.
func hashIdentity(id oidc.Identity) string {
	sum := sha256.Sum256([]byte(id.Issuer + "\x00" + id.ID))
	return hex.EncodeToString(sum[:])
}

// exchangedAgain makes once more the token that an identity was exchanged for, for a client that
// lost the answer: under the key of then, also when another signs now. When the account or the
// policy was changed in between, it would be another token: ErrIdentityUsed.
func (s *Service) exchangedAgain(ctx context.Context, id oidc.Identity, p oidc.Policy,
	a account.Account, first IdentityUse, set *token.KeySet) (Issued, error) {
	record, err := s.store.Token(ctx, first.Token)
	if err != nil {
		return Issued{}, err
	}
	then, ok := set.By(record.KeyID)
	if !ok {
		return Issued{}, ErrIdentityUsed
	}
	claims, capped, err := s.tokenFor(id, p, a, first.At, then)
	if err != nil {
		return Issued{}, err
	}
	if opaque.TokenID(claims.ID) != first.Token {
		return Issued{}, ErrIdentityUsed
	}
	return signWith(then, claims, capped)
}

// tokenFor is the token for an identity that was first shown at the given time. Its id is derived
// from all that stands in it.
func (s *Service) tokenFor(id oidc.Identity, p oidc.Policy, a account.Account, at time.Time,
	set *token.KeySet) (token.Claims, bool, error) {
	iat := at.Truncate(time.Second)
	claims, capped := s.claims(a, iat, s.cfg.IdentityTokenTTL)
	content, err := json.Marshal([]any{
		"identity", id.Issuer, id.ID, p.ID, p.Version, at.UnixMilli(), set.SigningKey(), claims,
	})
	if err != nil {
		return token.Claims{}, false, fmt.Errorf("derive a token id: %w", err)
	}
	claims.ID = string(s.names.ExchangedID(iat, content))
	return claims, capped, nil
}
