package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/upkeep"
)

var upkeeping = suite{
	"one at a time holds the lease of upkeep":       lease,
	"a holder of before writes nothing":             staleHolder,
	"what the index covers is found as before":      indexed,
	"a key in the index is needed for hours":        indexedLives,
	"a repository is found by any name that it had": renamedRepository,
}

func claim(t *testing.T, s Store) upkeep.Lease {
	t.Helper()
	seen, err := s.UpkeepLease(t.Context())
	must(t, err)
	held, err := s.ClaimUpkeep(t.Context(), seen, "test")
	must(t, err)
	return held
}

// index makes the index and returns how many segments it added.
func index(t *testing.T, s Store, held upkeep.Lease) (segments int) {
	t.Helper()
	for {
		more, err := s.Index(t.Context(), held)
		must(t, err)
		if !more {
			return segments
		}
		segments++
	}
}

// recordAll records tokens at once, and their acts.
func recordAll(t *testing.T, s Store, records []license.TokenRecord, act func(license.TokenRecord) audit.Act) {
	t.Helper()
	errs := make([]error, len(records))
	var wg sync.WaitGroup
	free := make(chan struct{}, 512)
	for i, r := range records {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			errs[i] = s.RecordToken(context.WithoutCancel(t.Context()), r, act(r))
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
}

func lease(t *testing.T, s Store) {
	ctx := t.Context()
	free, err := s.UpkeepLease(ctx)
	must(t, err)
	same(t, upkeep.Lease{}, free)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = s.ClaimUpkeep(context.WithoutCancel(ctx), free, fmt.Sprint("replica ", i)) })
	}
	wg.Wait()
	claimed := 0
	for _, err := range errs {
		if err == nil {
			claimed++
		} else if !errors.Is(err, upkeep.ErrLost) {
			t.Error(err)
		}
	}
	same(t, 1, claimed)

	first, err := s.UpkeepLease(ctx)
	must(t, err)
	beat, err := s.BeatUpkeep(ctx, first)
	must(t, err)
	_, err = s.ClaimUpkeep(ctx, first, "late")
	wantErr(t, "ClaimUpkeep(as it was before the beat)", err, upkeep.ErrLost)
	second, err := s.ClaimUpkeep(ctx, beat, "second")
	must(t, err)
	same(t, upkeep.Lease{Owner: "second", Fence: first.Fence + 1}, second)
	_, err = s.BeatUpkeep(ctx, beat)
	wantErr(t, "BeatUpkeep(a holder of before)", err, upkeep.ErrLost)
	wantErr(t, "ReleaseUpkeep(a holder of before)", s.ReleaseUpkeep(ctx, beat), upkeep.ErrLost)
	must(t, s.ReleaseUpkeep(ctx, second))
	free, err = s.UpkeepLease(ctx)
	must(t, err)
	same(t, upkeep.Lease{Fence: second.Fence}, free)
}

func staleHolder(t *testing.T, s Store) {
	a := create(t, s, 1)
	stale := claim(t, s)
	held := claim(t, s)
	recordAll(t, s, manyTokens(a.ID, 4200), func(license.TokenRecord) audit.Act { return did(at) })
	_, err := s.Index(t.Context(), stale)
	wantErr(t, "Index(a holder of before)", err, upkeep.ErrLost)
	if n := index(t, s, held); n != 1 {
		t.Errorf("segments = %d, want 1: nothing was written for the holder of before", n)
	}
}

// manyTokens is first tokens of an account; every tenth was issued by at_001, and its successor
// descends from it.
func manyTokens(account string, n int) (records []license.TokenRecord) {
	for i := range n {
		r := newToken(account, tokenID(i, i, i))
		switch i % 10 {
		case 1:
			r.IssuedBy = "at_001"
		case 2:
			r.ID, r.Parent = tokenID(i, i-1, i), tokenID(i-1, i-1, i-1)
		}
		records = append(records, r)
	}
	return records
}

func indexed(t *testing.T, s Store) {
	a, other := create(t, s, 1), create(t, s, 2)
	records := manyTokens(a.ID, 9000)
	for i := range records {
		if i%3000 == 7 {
			records[i].AccountID = other.ID
		}
	}
	recordAll(t, s, records, func(r license.TokenRecord) audit.Act {
		act := did(at)
		act.Account, act.Object = r.AccountID, string(r.ID)
		return act
	})
	look := func() (found []any) {
		for _, id := range []opaque.TokenID{records[0].ID, records[12].ID, records[8999].ID} {
			r, err := s.Token(t.Context(), id)
			must(t, err)
			found = append(found, r)
		}
		for _, q := range []license.TokenQuery{
			{Account: a.ID, Limit: 10000}, {Account: other.ID, Limit: 10}, {Key: "k_1", Limit: 3}, {Account: other.ID, Before: records[3007].ID, Limit: 10},
		} {
			list, err := s.Tokens(t.Context(), q)
			must(t, err)
			found = append(found, list)
		}
		for _, q := range []audit.Query{
			{Account: a.ID, Limit: 10000}, {Account: other.ID, Limit: 10}, {Action: "test.act", Limit: 9}, {Actor: "test", Limit: 9, Before: 100},
			{Actor: string(records[1].ID), Limit: 9}, {Since: at.Add(time.Second), Limit: 9}, {Until: at, Limit: 9},
		} {
			lines, err := s.AuditLines(t.Context(), q)
			must(t, err)
			var seqs []int64
			for _, l := range lines {
				seqs = append(seqs, l.Seq)
			}
			found = append(found, seqs)
		}
		return found
	}
	before := look()
	if n := index(t, s, claim(t, s)); n != 2 {
		t.Errorf("segments = %d, want 2", n)
	}
	same(t, before, look())
	_, err := s.Token(t.Context(), tokenID(1, 2, 3))
	if err == nil {
		t.Error("a token that is not there was found")
	}
	issued := did(at)
	same(t, int64(900), revokeAPIToken(t, s, did(at), &issued))
}

func indexedLives(t *testing.T, s Store) {
	a := create(t, s, 1)
	ends := at.Truncate(time.Hour).Add(90 * time.Minute)
	records := manyTokens(a.ID, 4200)
	for i := range records {
		records[i].ExpiresAt = ends
	}
	recordAll(t, s, records, func(license.TokenRecord) audit.Act { return did(at) })
	count := func(at time.Time) int64 {
		n, err := s.LiveTokens(t.Context(), "k_1", at)
		must(t, err)
		return n
	}
	same(t, int64(4200), count(ends.Add(-time.Second)))
	same(t, int64(0), count(ends))
	if n := index(t, s, claim(t, s)); n != 1 {
		t.Fatalf("segments = %d, want 1", n)
	}
	same(t, int64(4200), count(ends.Add(-time.Second)))
	if n := count(ends.Add(29 * time.Minute)); n == 0 {
		t.Error("tokens in the index are counted by whole hours, and none was in the hour of their end")
	}
	same(t, int64(0), count(ends.Add(30*time.Minute)))
}

func renamedRepository(t *testing.T, s Store) {
	a := create(t, s, 1)
	records := manyTokens(a.ID, 4200)
	names := map[opaque.TokenID]string{
		records[5].ID: `{"repository_id":"7","repository":"acme/Old"}`, records[3000].ID: `{"repository_id":"7","repository":"acme/new"}`,
		records[3001].ID: `{"repository_id":"8","repository":"acme/other"}`,
	}
	recordAll(t, s, records, func(r license.TokenRecord) audit.Act {
		act := did(at)
		act.Object = string(r.ID)
		if d := names[r.ID]; d != "" {
			act.Details = d
		}
		return act
	})
	row := did(at)
	row.Object, row.Details = "a row", `{"repository_id":"7","repository":"acme/third"}`
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: "x", AccountID: a.ID, At: at}, row))
	newest := newToken(a.ID, tokenID(9999, 9999, 9999))
	act := did(at)
	act.Object, act.Details = string(newest.ID), `{"repository_id":"7","repository":"acme/fourth"}`
	must(t, s.RecordToken(t.Context(), newest, act))
	look := func(when string) {
		for _, repository := range []string{"7", "acme/old", "ACME/new", "acme/third", "acme/fourth"} {
			lines, err := s.AuditLines(t.Context(), audit.Query{Repository: repository, Limit: 9})
			must(t, err)
			found := map[string]bool{}
			for _, l := range lines {
				found[l.Object] = true
			}
			want := map[string]bool{string(records[5].ID): true, string(records[3000].ID): true, "a row": true, string(newest.ID): true}
			if len(lines) != len(want) {
				t.Errorf("%s: %d lines of %s, want %d", when, len(lines), repository, len(want))
			}
			same(t, want, found)
		}
		lines, err := s.AuditLines(t.Context(), audit.Query{Repository: "acme/other", Limit: 9})
		must(t, err)
		same(t, 1, len(lines))
		lines, err = s.AuditLines(t.Context(), audit.Query{Repository: "acme/none", Limit: 9})
		must(t, err)
		same(t, 0, len(lines))
	}
	look("before the index")
	index(t, s, claim(t, s))
	look("in the index")
}
