package leak

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// identify finds which of our tokens a text is. What only looks like one is not ours: a forged text
// must not end anything. One that has ended or expired is ours all the same. Looking it up does not
// count as its use.
func (s *Service) identify(ctx context.Context, text string) (t Target, ours bool, err error) {
	hash := opaque.Hash(text)
	switch {
	case opaque.APIToken.Fits(text):
		found, owner, err := s.cfg.Store.APIToken(ctx, hash)
		return known(Target{Kind: APIToken, ID: found.ID, AccountID: owner.ID}, err)
	case opaque.AdminToken.Fits(text):
		found, err := s.cfg.Store.AdminToken(ctx, hash)
		return known(Target{Kind: AdminToken, ID: found.ID}, err)
	case opaque.LoginToken.Fits(text):
		found, owner, err := s.cfg.Store.LoginToken(ctx, hash)
		return known(Target{Kind: LoginToken, ID: found.ID, AccountID: owner.ID}, err)
	case opaque.DeviceCode.Fits(text):
		found, err := s.cfg.Store.DeviceLogin(ctx, hash)
		return known(Target{Kind: DeviceCode, ID: found.ID, AccountID: found.AccountID}, err)
	case opaque.Session.Fits(text):
		found, owner, err := s.cfg.Store.Session(ctx, hash)
		return known(Target{Kind: Session, ID: found.ID, AccountID: owner.ID}, err)
	case opaque.SignInLink.Fits(text): // a link that was used is gone, and nobody can tell that it was ours
		found, err := s.cfg.Store.SignInLink(ctx, hash)
		return known(Target{Kind: SignInLink, ID: found.AccountID, AccountID: found.AccountID, Subject: hash}, err)
	case opaque.SetupLink.Fits(text):
		return Target{Kind: SetupLink, ID: hash[:16], Subject: hash, Unproven: true}, true, nil
	}
	return s.licenseToken(ctx, text)
}

func known(t Target, err error) (Target, bool, error) {
	if errors.Is(err, failure.ErrNotFound) {
		return Target{}, false, nil
	}
	return t, err == nil, err
}

// licenseToken believes a text whose signature is good, expired or not. When the key is gone, which
// signed it, the record of the token has its hash: what it was refreshed to may live.
// What does not begin as all our tokens do is not looked at: an alert may have thousands of texts.
func (s *Service) licenseToken(ctx context.Context, text string) (Target, bool, error) {
	if !strings.HasPrefix(text, licenseBegin) {
		return Target{}, false, nil
	}
	claims, bad, err := s.cfg.Keys.Parse(ctx, text, s.cfg.Now())
	if err != nil {
		return Target{}, false, err
	}
	id, owner := opaque.TokenID(claims.ID), claims.Subject
	switch {
	case bad == nil, errors.Is(bad, token.ErrExpired), errors.Is(bad, token.ErrNotYetValid):
	case errors.Is(bad, token.ErrUnknownKey):
		if id, owner, err = s.recorded(ctx, text); err != nil {
			return Target{}, false, err
		}
	default:
		return Target{}, false, nil
	}
	family := id.Family()
	if family == "" {
		return Target{}, false, nil
	}
	t := Target{Kind: LicenseToken, ID: string(id), AccountID: owner, Subject: family}
	a, revoked, err := s.cfg.Store.AccountStatus(ctx, owner, family)
	if errors.Is(err, failure.ErrNotFound) { // as after an old backup was restored: it is refused already
		t.AccountID, t.Over = "", true
		return t, true, nil
	}
	t.Over = revoked || a.Status == account.Deleted
	return t, err == nil, err
}

// recorded is the id and the account of a token that we gave, by the hash in its record; empty when
// there is none.
func (s *Service) recorded(ctx context.Context, text string) (opaque.TokenID, string, error) {
	claims, err := token.Decode(text)
	if err != nil || opaque.TokenID(claims.ID).Family() == "" {
		return "", "", nil //nolint:nilerr // it is not one of ours
	}
	r, err := s.cfg.Store.Token(ctx, opaque.TokenID(claims.ID))
	if errors.Is(err, failure.ErrNotFound) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	hash := sha256.Sum256([]byte(text))
	if subtle.ConstantTimeCompare(hash[:], r.Hash[:]) != 1 {
		return "", "", nil
	}
	return r.ID, r.AccountID, nil
}
