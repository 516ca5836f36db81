package license

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/token"
)

// Tokens returns up to limit issued tokens of an account, newest first, starting after the given one ("" for the newest). ErrNotFound: no such account.
func (s *Service) Tokens(ctx context.Context, account string, before TokenID, limit int) ([]TokenRecord, error) {
	if _, err := s.store.Account(ctx, account); err != nil {
		return nil, err
	}
	return s.store.Tokens(ctx, account, before, limit)
}

// Token returns the record of a token, by the token itself or its id. ErrNotFound.
func (s *Service) Token(ctx context.Context, tokenOrID string) (TokenRecord, error) {
	id, err := tokenID(tokenOrID)
	if err != nil {
		return TokenRecord{}, err
	}
	return s.store.Token(ctx, id)
}

// RevokeToken ends a token before its time, by the token itself or its id; with family, also the first token of its family and everything
// that descends from it, past and future. It holds on every replica with the next request. ErrNotFound: no such token was issued.
func (s *Service) RevokeToken(ctx context.Context, tokenOrID string, family bool) (TokenRecord, error) {
	t, err := s.Token(ctx, tokenOrID)
	if err != nil {
		return TokenRecord{}, err
	}
	r := Revocation{Subject: string(t.ID), AccountID: t.AccountID, At: s.time()}
	if family {
		r.Subject = t.ID.Family()
	}
	t.Revoked = true
	return t, s.store.Revoke(ctx, r)
}

// tokenID is the id in a token, or the text itself when it is an id.
func tokenID(tokenOrID string) (TokenID, error) {
	if id := TokenID(tokenOrID); id.Family() != "" {
		return id, nil
	}
	c, err := token.Decode(tokenOrID)
	if err != nil {
		return "", fmt.Errorf("%w: neither a token nor a token id (40 letters and digits)", ErrInvalid)
	}
	return TokenID(c.ID), nil
}
