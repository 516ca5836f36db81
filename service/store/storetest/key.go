package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
)

var signingKeys = suite{
	"signing keys are listed until they are retired":     keys,
	"live tokens of a key are counted":                   liveTokens,
	"a first key is added once":                          firstKeys,
	"a key in use is not retired":                        keyInUse,
	"a retired key signs nothing any more":               retiredKey,
	"a key is retired or its token recorded, never both": retireRace,
}

func newKey(id string, from time.Time) keyring.SealedKey {
	return keyring.SealedKey{
		ID: id, Algorithm: keyring.HS256, Sealed: []byte{0, 1, 255}, CreatedAt: at, SignsFrom: from,
	}
}

func retire(t *testing.T, s Store, id string, alive time.Time) (live int64) {
	t.Helper()
	live, err := s.RetireKey(t.Context(), id, alive, did(at))
	must(t, err)
	return live
}

func keys(t *testing.T, s Store) {
	first, second := newKey("k_1", at), newKey("k_0", at.Add(time.Second))
	second.Algorithm, second.Sealed = keyring.EdDSA, []byte{2}
	must(t, s.AddKey(t.Context(), second, did(at)))
	must(t, s.AddKey(t.Context(), first, did(at)))
	list, err := s.Keys(t.Context())
	must(t, err)
	same(t, []keyring.SealedKey{second, first},
		list) // as they were added, though the first one signs from later on
	same(t, int64(0), retire(t, s, "k_1", at))
	_, err = s.RetireKey(t.Context(), "k_1", time.Time{}, did(at))
	wantErr(t, "RetireKey(again)", err, failure.ErrNotFound)
	list, err = s.Keys(t.Context())
	must(t, err)
	same(t, []keyring.SealedKey{second}, list)
}

func firstKeys(t *testing.T, s Store) {
	lease := newKey("k_lease", at)
	lease.Algorithm = keyring.EdDSA
	must(t, s.AddFirstKey(t.Context(), lease,
		did(at))) // of its algorithm: it stands in nobody's way
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = s.AddFirstKey(context.WithoutCancel(t.Context()),
				newKey(fmt.Sprintf("k_%d", i), at), did(at))
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	list, err := s.Keys(t.Context())
	must(t, err)
	same(t, 2, len(list))
	lines, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	same(t, 2, len(lines)) // what was not added leaves no line
	for _, k := range list {
		retire(t, s, k.ID, at)
	}
	must(t, s.AddFirstKey(t.Context(), newKey("k_next", at), did(at)))
	list, err = s.Keys(t.Context())
	must(t, err)
	same(t, []keyring.SealedKey{newKey("k_next", at)}, list)
}

func keyInUse(t *testing.T, s Store) {
	a := create(t, s, 1)
	must(t, s.AddKey(t.Context(), newKey("k_1", at), did(at)))
	r := newToken(a.ID, tokenID(1, 1, 1))
	must(t, s.RecordToken(t.Context(), r, did(at)))
	same(t, int64(1), retire(t, s, "k_1", r.ExpiresAt.Add(-time.Millisecond)))
	list, err := s.Keys(t.Context())
	must(t, err)
	same(t, 1, len(list))
	l := newLease(a.ID, tokenID(1, 1, 1), 1)
	l.ExpiresAt = r.ExpiresAt.Add(time.Minute)
	must(t, s.RecordLease(t.Context(), l, did(at)))
	same(t, int64(1), retire(t, s, "k_1", r.ExpiresAt))
	same(t, int64(0), retire(t, s, "k_1", l.ExpiresAt))

	must(t, s.AddKey(t.Context(), newKey("k_2", at), did(at)))
	r.KeyID, r.ID = "k_2", tokenID(2, 1, 2)
	must(t, s.RecordToken(t.Context(), r, did(at)))
	same(t, int64(0), retire(t, s, "k_2", time.Time{})) // whatever lives
	lines, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	same(t, 7, len(lines)) // a retirement that was refused leaves none
}

// retiredKey signs nothing any more, also for a replica that still thinks it does.
func retiredKey(t *testing.T, s Store) {
	a := create(t, s, 1)
	must(t, s.AddKey(t.Context(), newKey("k_1", at), did(at)))
	before := newToken(a.ID, tokenID(1, 1, 1))
	must(t, s.RecordToken(t.Context(), before, did(at)))
	retire(t, s, "k_1", time.Time{})
	wantErr(t, "RecordToken(retired key)",
		s.RecordToken(t.Context(), newToken(a.ID, tokenID(2, 1, 2)), did(at)), keyring.ErrRetired)
	wantErr(t, "RecordToken(again, retired key)", s.RecordToken(t.Context(), before, did(at)),
		keyring.ErrRetired)
	wantErr(t, "RecordLease(retired key)",
		s.RecordLease(t.Context(), newLease(a.ID, before.ID, 1), did(at)), keyring.ErrRetired)
	use := newUse("h", tokenID(3, 1, 3))
	_, err := s.RecordExchange(t.Context(), use, newToken(a.ID, use.Token), new(usedBy(a.ID)), did(at))
	wantErr(t, "RecordExchange(retired key)", err, keyring.ErrRetired)
	again := newToken(a.ID, use.Token)
	again.KeyID = "k_2"
	first, err := s.RecordExchange(t.Context(), use, again, new(usedBy(a.ID)),
		did(at)) // the identity was not used up by the attempt
	must(t, err)
	same(t, use, first)
	list, err := s.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Limit: 9})
	must(t, err)
	same(t, 2, len(list))
}

// retireRace retires keys while tokens are recorded under them: a token has a record and its key
// lives, or neither.
func retireRace(t *testing.T, s Store) {
	a := create(t, s, 1)
	const keys, writers = 20, 4
	for k := range keys {
		key := fmt.Sprintf("k_%d", k)
		must(t, s.AddKey(t.Context(), newKey(key, at), did(at)))
		errs := make([]error, writers)
		var live int64
		var retired error
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				r := newToken(a.ID, tokenID(k, w, w))
				r.KeyID = key
				errs[w] = s.RecordToken(context.WithoutCancel(t.Context()), r, did(at))
			})
		}
		wg.Go(func() {
			live, retired = s.RetireKey(context.WithoutCancel(t.Context()), key, at,
				did(at))
		})
		wg.Wait()
		must(t, retired)
		for _, err := range errs {
			switch {
			case live > 0:
				must(t, err)
			case !errors.Is(err, keyring.ErrRetired):
				t.Errorf("RecordToken = %v, though %s was retired with no live token", err, key)
			}
		}
	}
}

func liveTokens(t *testing.T, s Store) {
	a := create(t, s, 1)
	r := newToken(a.ID, tokenID(1, 1, 1))
	must(t, s.RecordToken(t.Context(), r, did(at)))
	for when, want := range map[time.Time]int64{
		r.ExpiresAt.Add(-time.Millisecond): 1, r.ExpiresAt: 0,
	} {
		n, err := s.LiveTokens(t.Context(), "k_1", when)
		must(t, err)
		same(t, want, n)
	}
	n, err := s.LiveTokens(t.Context(), "k_2", at)
	must(t, err)
	same(t, int64(0), n)
}
