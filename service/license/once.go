package license

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
)

// RequestRetry is how long a request for a token that its sender named gets the same token again.
const RequestRetry = 24 * time.Hour

// issueOnce is issue for a request that its sender named: the first one remembers, in the
// transaction that records its token, which one that is. ErrTokenRevoked: it was revoked.
// failure.ErrConflict: the account, or the key that signed it, was changed since, so that it cannot be
// made once more.
func (s *Service) issueOnce(ctx context.Context, name string, a account.Account, r TokenRecord,
	ttl time.Duration) (Issued, error) {
	claims, capped, err := s.newClaims(a, r, ttl, s.cfg.Rand) // remembered, so it need not be derived
	if err != nil {
		return Issued{}, err
	}
	return keyring.Sign(ctx, s.keys, func(view *keyring.View) (Issued, error) {
		out, r, act, err := s.sign(ctx, view, claims, capped, r, audit.TokenIssued)
		if err != nil {
			return Issued{}, err
		}
		use := IdentityUse{Hash: name, At: r.Recorded, Until: r.Recorded.Add(RequestRetry), Token: out.ID}
		first, err := s.store.RecordExchange(ctx, use, r, nil, act)
		if err != nil {
			return Issued{}, err
		}
		if first.Token == out.ID {
			return out, nil
		}
		return s.issuedAgain(ctx, a, first.Token, ttl, view)
	})
}

// issuedAgain makes a token on record once more, under the key of then.
func (s *Service) issuedAgain(ctx context.Context, a account.Account, id opaque.TokenID,
	ttl time.Duration, view *keyring.View) (Issued, error) {
	r, err := s.store.Token(ctx, id)
	if err != nil {
		return Issued{}, err
	}
	asked, _ := Expiry(r.IssuedAt, ttl.Truncate(time.Second), a.ValidUntil)
	if r.Parent == "" && r.IssuedBy == "" && !asked.Equal(r.ExpiresAt) { // the operator says how long
		return Issued{}, fmt.Errorf("token: %w: %s was given for this Idempotency-Key, which expires at "+
			"another time: use a new one", failure.ErrConflict, id)
	}
	out, err := s.again(a, r, view)
	if errors.Is(err, ErrChanged) {
		err = fmt.Errorf("token: %w: %s was given for this Idempotency-Key, and %w: use a new one",
			failure.ErrConflict, id, ErrChanged)
	}
	return out, err
}
