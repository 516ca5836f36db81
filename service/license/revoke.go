package license

import (
	"context"
	"errors"
	"fmt"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// TokenQuery is which issued tokens to list.
type TokenQuery struct {
	Account string         // only those of this account; "": all
	Key     string         // only those that this key signed; "": all
	Before  opaque.TokenID // only those older than this one; "": from the newest
	Limit   int
}

// Tokens returns the issued tokens that are asked for, newest first. ErrNotFound: no such account.
// ErrInvalid: Before or Key is no id.
func (s *Service) Tokens(ctx context.Context, q TokenQuery) ([]TokenRecord, error) {
	if err := q.Before.CheckBefore(); err != nil {
		return nil, err
	}
	if q.Key != "" && !opaque.OfKey.Fits(q.Key) {
		return nil, failure.Invalid(fmt.Sprintf("kid %.100q is not an id such as k_0123456789abcdef",
			q.Key))
	}
	if q.Account != "" {
		if err := s.store.HasAccount(ctx, q.Account); err != nil {
			return nil, err
		}
	}
	return s.store.Tokens(ctx, q)
}

// Token returns the record of a token, by the token itself or its id. ErrNotFound.
func (s *Service) Token(ctx context.Context, tokenOrID string) (TokenRecord, error) {
	id, err := tokenID(tokenOrID)
	if err != nil {
		return TokenRecord{}, err
	}
	return s.store.Token(ctx, id)
}

// RevokeToken ends a token before its time, by the token itself or its id; with family, also the
// first token of its family and everything that descends from it, past and future. It holds with
// the next request, on other replicas within 250 ms. A token that we signed can be revoked also
// when its record is lost, as after an old backup was restored. ErrNotFound: no token of that id
// was issued. ErrInvalid: the text is neither an id nor a live token of ours.
func (s *Service) RevokeToken(ctx context.Context, tokenOrID string,
	family bool) (TokenRecord, error) {
	t, err := s.revocable(ctx, tokenOrID, family)
	if err != nil {
		return TokenRecord{}, err
	}
	r := Revocation{Subject: string(t.ID), AccountID: t.AccountID, At: s.cfg.Now()}
	if family {
		r.Subject = t.ID.Family()
	}
	act := s.log.Act(ctx, audit.TokenRevoked, t.AccountID, string(t.ID), nil)
	if family {
		act = s.log.Act(ctx, audit.FamilyRevoked, t.AccountID, t.ID.Family(),
			audit.Details{"by_token": t.ID})
	}
	t.Revoked = true
	return t, s.store.Revoke(ctx, r, act)
}

// revocable finds what to revoke. A token is believed only when its signature is good: a forged one
// could name anybody's id.
func (s *Service) revocable(ctx context.Context, tokenOrID string,
	family bool) (TokenRecord, error) {
	if id := opaque.TokenID(tokenOrID); id.Family() != "" {
		return s.store.Token(ctx, id)
	}
	c, bad, err := s.keys.Parse(ctx, tokenOrID, s.cfg.Now())
	if err != nil {
		return TokenRecord{}, err
	}
	expired := errors.Is(bad,
		token.ErrExpired) // it ended on its own, and what was made of it may live
	if expired && !family {
		return TokenRecord{},
			fmt.Errorf("%w: the token has expired already; its family can still be ended",
				failure.ErrInvalid)
	}
	if bad != nil && !expired {
		return TokenRecord{},
			fmt.Errorf("%w: neither a live token of this service nor a token id (40 letters and digits): %w", failure.ErrInvalid, bad)
	}
	t, err := s.store.Token(ctx, opaque.TokenID(c.ID))
	if errors.Is(err, failure.ErrNotFound) {
		return TokenRecord{
			ID: opaque.TokenID(c.ID), AccountID: c.Subject, IssuedAt: c.IssuedAt,
			ExpiresAt: c.ExpiresAt,
		}, nil
	}
	return t, err
}

// tokenID is the id in a token, or the text itself when it is an id.
func tokenID(tokenOrID string) (opaque.TokenID, error) {
	if id := opaque.TokenID(tokenOrID); id.Family() != "" {
		return id, nil
	}
	c, err := token.Decode(tokenOrID)
	if err != nil {
		return "", fmt.Errorf("%w: neither a token nor a token id (40 letters and digits)",
			failure.ErrInvalid)
	}
	return opaque.TokenID(c.ID), nil
}
