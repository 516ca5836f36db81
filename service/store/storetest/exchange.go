package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

var exchanges = suite{
	"the last keys of an issuer are kept":      issuerKeys,
	"an identity is used once":                 identityOnce,
	"uses of identities are forgotten in time": identitiesForgotten,
}

func newUse(hash string, token opaque.TokenID) license.IdentityUse {
	return license.IdentityUse{Hash: hash, At: at, Until: at.Add(time.Minute), Token: token}
}

func identityOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	const n = 20
	firsts := make([]license.IdentityUse, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			id := tokenID(1, i, i)
			firsts[i], errs[i] = s.RecordExchange(context.WithoutCancel(t.Context()),
				newUse("h", id), newToken(a.ID, id), new(usedBy(a.ID)), did(at))
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	for i := range n {
		same(t, firsts[0], firsts[i])
	}
	list, err := s.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Limit: n})
	must(t, err)
	same(t, []license.TokenRecord{newToken(a.ID, firsts[0].Token)}, list)
	lines, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	same(t, 1, len(lines))
}

func identitiesForgotten(t *testing.T, s Store) {
	a := create(t, s, 1)
	use := newUse("h", tokenID(1, 1, 1))
	_, err := s.IdentityUse(t.Context(), "h")
	wantErr(t, "IdentityUse(unused)", err, failure.ErrNotFound)
	_, err = s.RecordExchange(t.Context(), use, newToken(a.ID, use.Token), new(usedBy(a.ID)), did(at))
	must(t, err)
	got, err := s.IdentityUse(t.Context(), "h")
	must(t, err)
	same(t, use, got)
	for i, test := range []struct {
		at   time.Time
		want opaque.TokenID // what the identity is found to be exchanged for
	}{
		{use.Until, use.Token}, // still remembered
		{use.Until.Add(time.Second), tokenID(9, 9,
			1)}, // forgotten: nobody accepts the identity token any more
	} {
		again := newUse("h", tokenID(9, 9, i))
		again.At = test.at
		first, err := s.RecordExchange(t.Context(), again, newToken(a.ID, again.Token), new(usedBy(a.ID)), did(at))
		must(t, err)
		same(t, test.want, first.Token)
	}
}

func issuerKeys(t *testing.T, s Store) {
	const issuer = "https://issuer.example"
	wantKept := func(want string, fetched time.Time) {
		t.Helper()
		jwks, at, err := s.IssuerKeys(t.Context(), issuer)
		must(t, err)
		same(t, want, string(jwks))
		same(t, fetched, at)
	}
	wantKept("", time.Time{})
	must(t, s.StoreIssuerKeys(t.Context(), issuer, []byte("one"), at))
	wantKept("one", at)
	must(t, s.StoreIssuerKeys(t.Context(), issuer, []byte("two"), at.Add(time.Second)))
	must(t, s.StoreIssuerKeys(t.Context(), "https://other.example", []byte("other"),
		at.Add(time.Hour)))
	wantKept("two", at.Add(time.Second))
	must(t, s.StoreIssuerKeys(t.Context(), issuer, []byte("three"),
		at)) // by a replica whose clock is behind
	wantKept("three", at)
}
