package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

var tokens = suite{
	"a token is recorded once":                              tokenOnce,
	"tokens are listed newest first":                        tokenPages,
	"tokens are found by their key":                         tokensOfKey,
	"a token for no account is refused, others still go in": tokenWithoutAccount,
	"a revoked token is revoked":                            revokedToken,
	"a revoked family is revoked":                           revokedFamily,
	"what an API token began is revoked":                    revokedIssuedBy,
	"many writers at once all find what they wrote":         manyWriters,
}

func newToken(account string, id opaque.TokenID) license.TokenRecord {
	return license.TokenRecord{
		ID: id, AccountID: account, KeyID: "k_1", IssuedAt: at.Truncate(time.Second), ExpiresAt: at.Add(time.Hour).Truncate(time.Second), Recorded: at,
	}
}

func tokenOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	want := newToken(a.ID, tokenID(1, 1, 1))
	want.Parent = tokenID(0, 1, 0)
	must(t, s.RecordToken(t.Context(), want, did(at)))
	again := want
	again.Recorded = at.Add(time.Hour)
	must(t, s.RecordToken(t.Context(), again, did(at)))
	got, err := s.Token(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
	recorded, err := s.RecordedAt(t.Context(), want.ID)
	must(t, err)
	same(t, at, recorded)
}

func tokenPages(t *testing.T, s Store) {
	a, other := create(t, s, 1), create(t, s, 2)
	for n := 1; n <= 3; n++ {
		must(t, s.RecordToken(t.Context(), newToken(a.ID, tokenID(n, 1, n)), did(at)))
		must(t, s.RecordToken(t.Context(), newToken(other.ID, tokenID(n, 2, n)), did(at)))
	}
	first, err := s.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Limit: 2})
	must(t, err)
	same(t, []license.TokenRecord{
		newToken(a.ID, tokenID(3, 1, 3)), newToken(a.ID, tokenID(2, 1, 2)),
	}, first)
	rest, err := s.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Before: first[1].ID, Limit: 2})
	must(t, err)
	same(t, []license.TokenRecord{newToken(a.ID, tokenID(1, 1, 1))}, rest)
}

func tokensOfKey(t *testing.T, s Store) {
	a, other := create(t, s, 1), create(t, s, 2)
	must(t, s.AddKey(t.Context(), newKey("k_2", at), did(at)))
	var want []license.TokenRecord
	for n, r := range []license.TokenRecord{newToken(a.ID, tokenID(1, 1, 1)), newToken(other.ID, tokenID(2, 2, 2)), newToken(a.ID, tokenID(3, 3, 3))} {
		if n < 2 {
			r.KeyID = "k_2"
			want = append([]license.TokenRecord{r}, want...)
		}
		must(t, s.RecordToken(t.Context(), r, did(at)))
	}
	got, err := s.Tokens(t.Context(), license.TokenQuery{Key: "k_2", Limit: 9})
	must(t, err)
	same(t, want, got)
	got, err = s.Tokens(t.Context(), license.TokenQuery{Key: "k_2", Account: a.ID, Limit: 9})
	must(t, err)
	same(t, want[1:], got)
	got, err = s.Tokens(t.Context(), license.TokenQuery{Limit: 1})
	must(t, err)
	same(t, tokenID(3, 3, 3), got[0].ID)
}

func tokenWithoutAccount(t *testing.T, s Store) {
	a := create(t, s, 1)
	const n = 20
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		owner := a.ID
		if i == 7 {
			owner = "user_none"
		}
		wg.Go(func() {
			errs[i] = s.RecordToken(context.WithoutCancel(t.Context()),
				newToken(owner, tokenID(i, 1, i)), did(at))
		})
	}
	wg.Wait()
	for i, err := range errs {
		if i == 7 {
			wantErr(t, "RecordToken(no account)", err, failure.ErrNotFound)
			continue
		}
		must(t, err)
	}
	list, err := s.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Limit: n})
	must(t, err)
	same(t, n-1, len(list))
}

func revokedToken(t *testing.T, s Store) {
	a := create(t, s, 1)
	bad, sibling := newToken(a.ID, tokenID(1, 1, 1)), newToken(a.ID, tokenID(2, 1, 2))
	must(t, s.RecordToken(t.Context(), bad, did(at)))
	must(t, s.RecordToken(t.Context(), sibling, did(at)))
	must(t, s.Revoke(t.Context(),
		license.Revocation{Subject: string(bad.ID), AccountID: a.ID, At: at}, did(at)))
	must(t, s.Revoke(t.Context(),
		license.Revocation{Subject: string(bad.ID), AccountID: a.ID, At: at.Add(time.Hour)}, did(at)))
	for _, want := range []struct {
		token   license.TokenRecord
		revoked bool
	}{{bad, true}, {sibling, false}} {
		owner, revoked, err := s.AccountStatus(t.Context(), a.ID, string(want.token.ID),
			want.token.ID.Family())
		must(t, err)
		same(t, want.revoked, revoked)
		same(t, a, owner)
		got, err := s.Token(t.Context(), want.token.ID)
		must(t, err)
		same(t, want.revoked, got.Revoked)
	}
}

func revokedFamily(t *testing.T, s Store) {
	a := create(t, s, 1)
	member, stranger := newToken(a.ID, tokenID(1, 1, 1)), newToken(a.ID, tokenID(1, 2, 1))
	must(t, s.RecordToken(t.Context(), member, did(at)))
	must(t, s.RecordToken(t.Context(), stranger, did(at)))
	must(t, s.Revoke(t.Context(),
		license.Revocation{Subject: member.ID.Family(), AccountID: a.ID, At: at}, did(at)))
	list, err := s.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Limit: 10})
	must(t, err)
	revoked := map[opaque.TokenID]bool{}
	for _, r := range list {
		revoked[r.ID] = r.Revoked
	}
	same(t, map[opaque.TokenID]bool{member.ID: true, stranger.ID: false}, revoked)
	_, gone, err := s.AccountStatus(t.Context(), a.ID, string(tokenID(9, 1, 9)),
		tokenID(9, 1, 9).Family())
	must(t, err)
	same(t, true, gone)
}

func revokedIssuedBy(t *testing.T, s Store) {
	a := create(t, s, 1)
	for n, by := range []string{"at_001", "at_001", "at_002", ""} {
		r := newToken(a.ID, tokenID(n, n/2*2+n%2, n))
		r.IssuedBy = by
		must(t, s.RecordToken(t.Context(), r, did(at)))
	}
	child := newToken(a.ID, tokenID(9, 0, 9)) // of the first family, made by a refresh
	must(t, s.RecordToken(t.Context(), child, did(at)))
	same(t, int64(0), revokeAPIToken(t, s, did(at), nil)) // what it issued stays good
	same(t, int64(2), revokeAPIToken(t, s, did(at), new(did(at))))
	same(t, a.ID, lastLine(t, s).Account) // that of the API token
	same(t, int64(0), revokeAPIToken(t, s, did(at), new(did(at))))
	list, err := s.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Limit: 10})
	must(t, err)
	revoked := map[string]bool{}
	for _, r := range list {
		revoked[string(r.ID[:8])] = r.Revoked
	}
	same(t, map[string]bool{
		"00000000": true, "00000001": true, "00000002": false, "00000003": false, "00000009": true,
	}, revoked)
}

func manyWriters(t *testing.T, s Store) {
	a := create(t, s, 1)
	const writers, each = 16, 25
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := tokenID(i, w, i)
				if err := s.RecordToken(context.WithoutCancel(t.Context()), newToken(a.ID, id),
					did(at)); err != nil {
					errs[w] = err
					return
				}
				if _, err := s.RecordedAt(context.WithoutCancel(t.Context()), id); err != nil {
					errs[w] = fmt.Errorf("not there after it was acknowledged: %w", err)
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	list, err := s.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Limit: writers*each + 1})
	must(t, err)
	same(t, writers*each, len(list))
}
