package license

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// Lease is the answer to Service.Lease: a signed text that says, to anybody who has the public key,
// that a license was good just now, and until when its holder may go by that while the service
// cannot be asked.
type Lease struct {
	Text         opaque.Secret // no credential here, but anyone who shows it elsewhere is taken for its holder
	ID           string
	GraceUntil   time.Time
	ValidUntil   time.Time // end of the license
	RefreshAfter time.Time // when two thirds of its lifetime are over
	CappedBy     LeaseCap
}

// Lease makes a lease for the caller's license token. Within one LeaseWindow a token gets one and
// the same lease, on every replica. It is only for those whom Refresh would not refuse: who gets a
// no must not live on by grace. Refusals: as for Refresh, and ErrNoLeases.
func (s *Service) Lease(ctx context.Context, c auth.Caller) (Lease, error) {
	if s.cfg.LeaseGrace <= 0 {
		return Lease{}, ErrNoLeases
	}
	if c.Token.ID == "" {
		return Lease{},
			fmt.Errorf("%w: a lease is made for a license token", auth.ErrUnauthenticated)
	}
	now := s.cfg.Now()
	if err := mayUse(c, now); err != nil {
		return Lease{}, err
	}
	iat := Bucket(c.Token.IssuedAt, now, LeaseWindow(s.cfg.LeaseGrace))
	end, by := GraceUntil(iat, s.cfg.LeaseGrace, c.Account.ValidUntil, c.Token.ExpiresAt)
	if !end.After(now) || !end.After(iat) {
		return Lease{}, account.ErrExpired // within this very second
	}
	says := token.Lease{
		Issuer: s.cfg.Issuer, Subject: c.Account.ID, LicenseID: c.Token.ID, Tier: string(c.Account.Tier), Features: c.Account.Features,
		ValidUntil: c.Account.ValidUntil, IssuedAt: iat, GraceUntil: end,
	}
	text, err := keyring.Sign(ctx, s.keys,
		func(view *keyring.View) (opaque.Secret, error) { return s.signLease(ctx, view, c.AsOf, &says) })
	if err != nil {
		return Lease{}, err
	}
	return Lease{
		Text: text, ID: says.ID, GraceUntil: end, ValidUntil: says.ValidUntil, RefreshAfter: RefreshAfter(iat, end), CappedBy: by,
	}, nil
}

// signLease names a lease by all that it says and by its key, signs it, and returns only when its
// record is durable.
func (s *Service) signLease(ctx context.Context, view *keyring.View, asOf int64,
	says *token.Lease) (opaque.Secret, error) {
	if len(view.Leases) == 0 {
		return "", errors.New("there is no lease key") // firstKeys made one
	}
	key := view.Leases[0]
	says.ID = ""
	content, err := json.Marshal([]any{key.ID(), says})
	if err != nil {
		return "", fmt.Errorf("derive a lease id: %w", err)
	}
	says.ID = s.names.LeaseID(content)
	text, err := key.Sign(*says)
	if err != nil {
		return "", fmt.Errorf("sign a lease: %w", err)
	}
	r := LeaseRecord{
		ID: says.ID, TokenID: opaque.TokenID(says.LicenseID), AccountID: says.Subject, KeyID: key.ID(), IssuedAt: says.IssuedAt, ExpiresAt: says.GraceUntil,
		AsOf: min(asOf, view.AsOf),
	}
	return opaque.Secret(text), s.store.RecordLease(ctx, r, s.log.Act(ctx, audit.LeaseIssued, r.AccountID, r.ID, audit.Details{
		"lease_sha256": opaque.Hash(text), "license_jti": r.TokenID, "kid": r.KeyID, "grace_until": r.ExpiresAt.Unix(),
	}))
}
