package license

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
)

// ErrChanged says that a token cannot be made once more: its account, or the key that signed it, is
// not what it was.
var ErrChanged = errors.New("its account or its signing key was changed since")

// IssueBy makes a new token, the first of a family, for an account on the word of the service
// itself: by is the id of what issues it, and what ends that ends its tokens too. record makes the
// record durable, with its act and what else belongs to it. The account is as the token says it is.
// Refusals: ErrNotFound, account.ErrExpired, ErrInactive, ErrRevoked, and those of record.
func (s *Service) IssueBy(ctx context.Context, accountID, by string,
	record func(context.Context, TokenRecord, audit.Act) error) (Issued, account.Account, error) {
	now := s.cfg.Now()
	a, err := s.mayHold(ctx, accountID, now)
	if err != nil {
		return Issued{}, a, err
	}
	issued, err := s.issue(ctx, a, TokenRecord{IssuedBy: by, Recorded: now}, s.cfg.TokenTTL, record)
	return issued, a, err
}

// Again makes a token that is on record once more, the very same text, for who must not lose it and
// does not store it. Refusals: ErrNotFound, ErrTokenRevoked, ErrChanged, and those of the account.
func (s *Service) Again(ctx context.Context, id opaque.TokenID) (Issued, account.Account, error) {
	r, err := s.store.Token(ctx, id)
	if err != nil {
		return Issued{}, account.Account{}, err
	}
	a, err := s.mayHold(ctx, r.AccountID, s.cfg.Now())
	if err != nil {
		return Issued{}, a, err
	}
	issued, err := keyring.Sign(ctx, s.keys,
		func(view *keyring.View) (Issued, error) { return s.again(a, r, view) })
	return issued, a, err
}

func (s *Service) mayHold(ctx context.Context, id string, now time.Time) (account.Account, error) {
	a, err := s.store.Account(ctx, id)
	if err == nil {
		err = account.MayHoldToken(a, now)
	}
	return a, err
}

// again makes a token on record once more, under the key of then. ErrTokenRevoked, ErrChanged.
func (s *Service) again(a account.Account, r TokenRecord, view *keyring.View) (Issued, error) {
	if r.Revoked {
		return Issued{}, ErrTokenRevoked
	}
	then, ok := view.Tokens.By(r.KeyID)
	if !ok {
		return Issued{}, ErrChanged
	}
	claims, _ := s.claims(a, r.IssuedAt, r.ExpiresAt.Sub(r.IssuedAt))
	claims.ID = string(r.ID)
	out, err := signWith(then, claims, r.ExpiresAt.Equal(a.ValidUntil.Truncate(time.Second)))
	if err == nil && sha256.Sum256([]byte(out.Token.Reveal())) != r.Hash {
		err = ErrChanged
	}
	if err != nil {
		return Issued{}, err
	}
	return out, nil
}
