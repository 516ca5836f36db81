package license

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// Introspection is what is known of a token that is good now. The zero value is a token that is not.
type Introspection struct {
	Active    bool
	APIToken  bool // else a license token
	Account   account.Account
	ID        string
	Issuer    string    // of a license token
	IssuedAt  time.Time // when it was made
	ExpiresAt time.Time // zero for an API token, which lasts until it is revoked
}

// Introspect tells whether a token is good now (RFC 7662). A caller with an API token learns of the tokens of its own account alone; all
// others are not active to it, whatever they are. Why a token is not active is not said: whoever asks need not hold it.
func (s *Service) Introspect(ctx context.Context, by Caller, text string) (Introspection, error) {
	c, err := s.Authenticate(ctx, text)
	if errors.Is(err, ErrUnauthenticated) {
		return Introspection{}, nil
	}
	if err != nil {
		return Introspection{}, err
	}
	if c.Admin != nil || c.Login != "" || !by.reaches(c.Account.ID) || s.mayUse(c, s.time()) != nil {
		return Introspection{}, nil
	}
	i := Introspection{Active: true, Account: c.Account, ID: c.Key()}
	if c.APIToken != "" {
		i.APIToken = true
		return i, nil
	}
	i.Issuer, i.IssuedAt, i.ExpiresAt = c.Token.Issuer, c.Token.IssuedAt, c.Token.ExpiresAt
	return i, nil
}

// reaches says whether what belongs to an account is any of the caller's business.
func (c Caller) reaches(account string) bool { return c.Admin != nil || c.Account.ID == account }

// Revoke ends a token by its text (RFC 7009): an API token, a login token, or a license token with its whole family, for whoever holds one can make others
// of it. A token that is no good already is no error. ErrScope: it belongs to another account.
func (s *Service) Revoke(ctx context.Context, by Caller, text string) error {
	if opaque.LoginToken.Fits(text) {
		return s.revokeLogin(ctx, by, text)
	}
	if opaque.APIToken.Fits(text) {
		t, _, err := s.store.APIToken(ctx, opaque.Hash(text))
		if errors.Is(err, failure.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := by.mayEnd(t.AccountID); err != nil {
			return err
		}
		_, _, err = s.RevokeAPIToken(ctx, t.ID, false)
		return err
	}
	claims, bad, err := s.keys.Parse(ctx, text, s.time())
	if err != nil {
		return err
	}
	if bad != nil && !errors.Is(bad, token.ErrExpired) { // what was made of an expired one may live
		return nil // what is not ours is no good here, which is all the caller wants (RFC 7009, 2.2)
	}
	if err := by.mayEnd(claims.Subject); err != nil {
		return err
	}
	id := opaque.TokenID(claims.ID)
	return s.store.Revoke(ctx, Revocation{Subject: id.Family(), AccountID: claims.Subject, At: s.time()},
		s.log.Act(ctx, audit.FamilyRevoked, claims.Subject, id.Family(), audit.Details{"by_token": id}))
}

func (c Caller) mayEnd(account string) error {
	if c.reaches(account) {
		return nil
	}
	return fmt.Errorf("%w: this token belongs to another account", ErrScope)
}
