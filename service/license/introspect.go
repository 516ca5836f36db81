package license

import (
	"context"
	"errors"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// Introspection is what is known of a token that is good now. The zero value is a token that is
// not.
type Introspection struct {
	Active    bool
	APIToken  bool // else a license token
	Account   account.Account
	ID        string
	Issuer    string    // of a license token
	IssuedAt  time.Time // when it was made
	ExpiresAt time.Time // zero for an API token, which lasts until it is revoked
}

// Introspect tells whether a token is good now (RFC 7662). A caller with an API token learns of the
// tokens of its own account alone; all others are not active to it, whatever they are. Why a token
// is not active is not said: anyone who asks need not hold it.
func (s *Service) Introspect(ctx context.Context, by auth.Caller,
	text string) (Introspection, error) {
	shown := auth.Parse(text)
	if shown.Kind != auth.ByAPIToken && shown.Kind != auth.ByLicenseToken {
		return Introspection{}, nil
	}
	c, err := s.cfg.Auth.Authenticate(ctx, shown)
	if errors.Is(err, auth.ErrUnauthenticated) {
		return Introspection{}, nil
	}
	if err != nil {
		return Introspection{}, err
	}
	if !by.Reaches(c.Account.ID) || mayUse(c, s.cfg.Now()) != nil {
		return Introspection{}, nil
	}
	i := Introspection{Active: true, Account: c.Account, ID: c.Key()}
	if c.Kind == auth.ByAPIToken {
		i.APIToken = true
		return i, nil
	}
	i.Issuer, i.IssuedAt, i.ExpiresAt = c.Token.Issuer, c.Token.IssuedAt, c.Token.ExpiresAt
	return i, nil
}

// Revoke ends a token by its text (RFC 7009): an API token, a login token, or a license token with
// its whole family, for anyone who holds one can make others of it. A token that is no good already
// is no error. ErrScope: it belongs to another account.
func (s *Service) Revoke(ctx context.Context, by auth.Caller, text string) error {
	switch auth.Parse(text).Kind {
	case auth.ByLoginToken:
		return s.cfg.Devices.RevokeLogin(ctx, by, text)
	case auth.ByAPIToken:
		return s.cfg.Accounts.EndAPIToken(ctx, text, by.MayEnd)
	}
	claims, bad, err := s.keys.Parse(ctx, text, s.cfg.Now())
	if err != nil {
		return err
	}
	if bad != nil && !errors.Is(bad, token.ErrExpired) { // what was made of an expired one may live
		return nil // what is not ours is no good here, which is all the caller wants (RFC 7009, 2.2)
	}
	if err := by.MayEnd(claims.Subject); err != nil {
		return err
	}
	id := opaque.TokenID(claims.ID)
	return s.store.Revoke(ctx, Revocation{
		Subject: id.Family(), AccountID: claims.Subject, At: s.cfg.Now(),
	},
		s.log.Act(ctx, audit.FamilyRevoked, claims.Subject, id.Family(),
			audit.Details{"by_token": id}))
}
