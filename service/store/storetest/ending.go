package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
)

var endings = suite{
	"no token is recorded whose right has ended":        endedRights,
	"a token beside a revocation is refused or revoked": endingRace,
}

// Anyone who asks for a token is looked at before; here is what happens when their right ends in
// between.
func endedRights(t *testing.T, s Store) {
	a := create(t, s, 1)
	policy, err := addPolicy(t, s, newPolicy(1, a.ID, "7"))
	must(t, err)
	login := newDeviceLogin(1)
	must(t, s.AddDeviceLogin(t.Context(), login))
	_, err = s.ChangeDeviceLogin(t.Context(), login.DeviceHash, func(d *auth.DeviceLogin) ([]audit.Act, error) {
		d.State, d.TokenHash, d.TokenEnds = auth.DeviceUsed, "hash", at.Add(time.Minute)
		return nil, nil
	})
	must(t, err)
	parent := tokenID(1, 7, 1)
	for n, c := range []struct {
		name string
		by   func(*license.TokenRecord)
		end  func() error
		want error
	}{
		{
			"API token", func(r *license.TokenRecord) { r.IssuedBy = "at_001" },
			func() error {
				_, err := s.RevokeAPIToken(t.Context(), "at_001", did(at),
					nil)
				return err
			},
			auth.ErrUnauthenticated,
		},
		{
			"policy", func(r *license.TokenRecord) { r.IssuedBy = policy.ID },
			func() error {
				_, err := s.RemovePolicy(t.Context(), policy.ID, did(at),
					nil)
				return err
			},
			auth.ErrNoPolicy,
		},
		{"login", func(r *license.TokenRecord) { r.IssuedBy = login.ID }, func() error {
			_, err := s.ChangeDeviceLogin(t.Context(), login.DeviceHash, func(d *auth.DeviceLogin) ([]audit.Act, error) {
				d.TokenEnds = at
				return nil, nil
			})
			return err
		}, auth.ErrUnauthenticated},
		{"parent", func(r *license.TokenRecord) { r.Parent = parent }, func() error {
			return s.Revoke(t.Context(),
				license.Revocation{Subject: string(parent), AccountID: a.ID, At: at}, did(at))
		}, license.ErrTokenRevoked},
		{"family", func(r *license.TokenRecord) { r.Parent = tokenID(1, 8, 1) }, func() error {
			return s.Revoke(t.Context(),
				license.Revocation{
					Subject: tokenID(1, 8, 1).Family(), AccountID: a.ID, At: at,
				}, did(at))
		}, license.ErrTokenRevoked},
	} {
		before, after := newToken(a.ID, tokenID(2, n, 1)), newToken(a.ID, tokenID(2, n, 2))
		c.by(&before)
		c.by(&after)
		must(t, s.RecordToken(t.Context(), before, did(at)))
		must(t, c.end())
		wantErr(t, "RecordToken when its "+c.name+" has ended",
			s.RecordToken(t.Context(), after, did(at)), c.want)
		_, err := s.Token(t.Context(), after.ID)
		wantErr(t, "Token, whose "+c.name+" had ended", err, failure.ErrNotFound)
	}
}

// A token is refused, or it is among those that are revoked with its API token: it never slips
// between the two.
func endingRace(t *testing.T, s Store) {
	a := create(t, s, 1)
	const rounds, writers = 10, 8
	for n := range rounds {
		key := newAPIToken(1)
		key.ID, key.Hash = "at_race"+string(rune('a'+n)), "hash race"+string(rune('a'+n))
		must(t, s.AddAPIToken(t.Context(), key, did(at)))
		errs := make([]error, writers)
		var ended error
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				r := newToken(a.ID, tokenID(n, n*writers+w, w))
				r.IssuedBy = key.ID
				errs[w] = s.RecordToken(context.WithoutCancel(t.Context()), r, did(at))
			})
		}
		wg.Go(func() {
			issued := did(at)
			_, ended = s.RevokeAPIToken(context.WithoutCancel(t.Context()), key.ID, did(at),
				&issued)
		})
		wg.Wait()
		must(t, ended)
		for w, err := range errs {
			if err != nil && !errors.Is(err, auth.ErrUnauthenticated) {
				t.Errorf("RecordToken = %v", err)
			}
			if err != nil {
				continue
			}
			if r, err := s.Token(t.Context(),
				tokenID(n, n*writers+w, w)); err != nil || !r.Revoked {
				t.Errorf("a token that was recorded beside the revocation is revoked: %t, %v, want true", r.Revoked, err)
			}
		}
	}
}
