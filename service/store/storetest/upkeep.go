package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/upkeep"
)

var upkeeping = suite{
	"one at a time holds the lease of upkeep":       lease,
	"a holder of before writes nothing":             staleHolder,
	"what the index covers is found as before":      indexed,
	"a key in the index is needed for hours":        indexedLives,
	"old records are pruned, and a line says so":    prunedRecords,
	"a token that is good keeps its records":        notPruned,
	"few old records are pruned a day later":        prunedLater,
	"what was issued ends after it was pruned":      prunedIssuer,
	"old revocations go with the records":           prunedRevocations,
	"a repository is found by any name that it had": renamedRepository,
}

// Index makes the whole index of a database, as upkeep does. Nobody else may do upkeep meanwhile.
func Index(ctx context.Context, s upkeep.Store) error {
	seen, err := s.UpkeepLease(ctx)
	if err != nil {
		return err
	}
	held, err := s.ClaimUpkeep(ctx, seen, "index")
	for more := true; more && err == nil; {
		more, err = s.Index(ctx, held)
	}
	if err != nil {
		return err
	}
	return s.ReleaseUpkeep(ctx, held)
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

// day is the unit of the tests of pruning: records are made on day 0, and tokens expire an hour
// later.
const day = 24 * time.Hour

// prune prunes on a day what is older than another day, and returns which records it says are gone. A
// holder of before tries each step first.
func prune(t *testing.T, s Store, held upkeep.Lease, now, before time.Duration) (said [][2]int64) {
	t.Helper()
	p := upkeep.Pruning{Now: at.Add(now), Before: at.Add(before), Act: func(from, through int64) audit.Act {
		said = append(said, [2]int64{from, through})
		act := did(at.Add(now))
		act.Action, act.Details = audit.RecordsPruned, fmt.Sprintf(`{"from":%d,"through":%d}`, from, through)
		return act
	}}
	stale := held
	stale.Fence--
	for {
		_, lost := s.Prune(t.Context(), stale, p)
		more, err := s.Prune(t.Context(), held, p)
		must(t, err)
		if !more {
			must(t, lost)
			return said
		}
		wantErr(t, "Prune(a holder of before)", lost, upkeep.ErrLost)
	}
}

// isThere says which tokens have records.
func isThere(t *testing.T, s Store, ids ...opaque.TokenID) (there []bool) {
	t.Helper()
	for _, id := range ids {
		_, err := s.Token(t.Context(), id)
		if err != nil {
			wantErr(t, "Token", err, failure.ErrNotFound)
		}
		there = append(there, err == nil)
	}
	return there
}

func acted(r license.TokenRecord) audit.Act {
	act := did(r.Recorded)
	act.Account, act.Object = r.AccountID, string(r.ID)
	return act
}

func prunedRecords(t *testing.T, s Store) {
	a := create(t, s, 1)
	held := claim(t, s)
	records := manyTokens(a.ID, 4200)
	recordAll(t, s, records, acted)
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: "x", AccountID: a.ID, At: at.Add(day)}, did(at.Add(day))))
	young := newToken(a.ID, tokenID(9999, 9999, 9999))
	young.Recorded = at.Add(9 * day)
	must(t, s.RecordToken(t.Context(), young, acted(young)))
	if n := index(t, s, held); n != 1 {
		t.Fatalf("segments = %d, want 1", n)
	}
	before, err := s.AuditAfter(t.Context(), 0, 10000)
	must(t, err)
	if said := prune(t, s, held, 9*day, 0); len(said) > 0 {
		t.Errorf("pruned %v before they were old enough", said)
	}
	same(t, []bool{true}, isThere(t, s, records[0].ID))

	said := prune(t, s, held, 9*day, 8*day)
	last := said[len(said)-1]
	same(t, 2, len(said)) // a segment, and the rest of that day
	same(t, [2]int64{1, 4200}, [2]int64{said[0][0], last[1]})
	same(t, []bool{false, false, true}, isThere(t, s, records[0].ID, records[4199].ID, young.ID))
	lines, err := s.AuditLines(t.Context(), audit.Query{Account: a.ID, Limit: 10})
	must(t, err)
	same(t, 1, len(lines)) // the young one
	lines, err = s.AuditLines(t.Context(), audit.Query{Action: audit.RecordsPruned, Limit: 10})
	must(t, err)
	same(t, 2, len(lines))

	entries, err := s.AuditAfter(t.Context(), 0, 10000)
	must(t, err)
	same(t, len(before)+2, len(entries))
	for i, e := range before {
		if got := entries[i]; got.Hash != e.Hash || (got.Block == nil) != (e.Block == nil) {
			t.Errorf("entry %d = %+v, want it as before", i, got)
		}
		if b := entries[i].Block; b != nil && (b.Body == nil) != (e.Seq <= 4200) {
			t.Errorf("records of lines %d to %d: there: %t", b.First, e.Seq, b.Body != nil)
		} else if b != nil {
			b.Body = e.Block.Body
		}
	}
	chained(t, entries)
	if said := prune(t, s, held, 9*day, 8*day); len(said) > 0 {
		t.Errorf("pruned %v twice", said)
	}
}

func notPruned(t *testing.T, s Store) {
	a := create(t, s, 1)
	held := claim(t, s)
	records := manyTokens(a.ID, 4200)
	records[17].ExpiresAt = at.Add(20 * day).Truncate(time.Second)
	recordAll(t, s, records, acted)
	index(t, s, held)
	prune(t, s, held, 19*day, 8*day)
	same(t, []bool{true}, isThere(t, s, records[17].ID))
	prune(t, s, held, 21*day, 8*day)
	same(t, []bool{false, false}, isThere(t, s, records[17].ID, records[0].ID))
	n, err := s.LiveTokens(t.Context(), "k_1", at.Add(21*day))
	must(t, err)
	same(t, int64(0), n)
}

func prunedLater(t *testing.T, s Store) {
	a := create(t, s, 1)
	held := claim(t, s)
	r := newToken(a.ID, tokenID(1, 1, 1))
	must(t, s.RecordToken(t.Context(), r, acted(r)))
	prune(t, s, held, 9*day, day)
	same(t, []bool{true}, isThere(t, s, r.ID))
	same(t, [][2]int64{{1, 1}}, prune(t, s, held, 9*day, day+time.Second))
	same(t, []bool{false}, isThere(t, s, r.ID))
}

// prunedIssuer has a family that is refreshed every second day. Its first token was issued by an API
// token, is pruned, and then the next one.
func prunedIssuer(t *testing.T, s Store) {
	a := create(t, s, 1)
	held := claim(t, s)
	record := func(n int, on time.Duration) license.TokenRecord {
		r := newToken(a.ID, tokenID(n, 1, n))
		r.Recorded, r.IssuedAt, r.ExpiresAt = at.Add(on), at.Add(on).Truncate(time.Second), at.Add(on+3*day).Truncate(time.Second)
		if n == 1 {
			r.IssuedBy = "at_001"
		} else {
			r.Parent = tokenID(n-1, 1, n-1)
		}
		must(t, s.RecordToken(t.Context(), r, acted(r)))
		return r
	}
	over := newToken(a.ID, tokenID(1, 7, 1)) // issued too, and never refreshed
	over.IssuedBy = "at_001"
	must(t, s.RecordToken(t.Context(), over, acted(over)))
	first, second := record(1, 0), record(2, 2*day)
	record(3, 4*day)
	prune(t, s, held, 6*day, day+time.Minute)
	same(t, []bool{false, true}, isThere(t, s, first.ID, second.ID))
	prune(t, s, held, 6*day, 3*day+30*time.Minute)
	same(t, []bool{false, false}, isThere(t, s, first.ID, second.ID))
	alive := record(4, 6*day)
	issued := did(at.Add(7 * day))
	same(t, int64(1), revokeAPIToken(t, s, did(at.Add(7*day)), &issued))
	_, revoked, err := s.AccountStatus(t.Context(), a.ID, alive.ID.Family())
	must(t, err)
	same(t, true, revoked)

	prune(t, s, held, 30*day, 20*day)
	_, err = s.RevokeAPIToken(t.Context(), "at_001", did(at), &issued)
	must(t, err)
	_, revoked, err = s.AccountStatus(t.Context(), a.ID, alive.ID.Family())
	must(t, err)
	same(t, false, revoked) // it ended, and nobody has to know
}

func prunedRevocations(t *testing.T, s Store) {
	a := create(t, s, 1)
	held := claim(t, s)
	long := newToken(a.ID, tokenID(1, 1, 1))
	long.ExpiresAt = at.Add(20 * day).Truncate(time.Second)
	must(t, s.RecordToken(t.Context(), long, acted(long)))
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: long.ID.Family(), AccountID: a.ID, At: at.Add(day)}, did(at.Add(day))))
	revoked := func() bool {
		_, revoked, err := s.AccountStatus(t.Context(), a.ID, long.ID.Family())
		must(t, err)
		return revoked
	}
	prune(t, s, held, 19*day, 8*day)
	if !revoked() {
		t.Error("a token that is good is not revoked any more")
	}
	prune(t, s, held, 21*day, 8*day)
	if revoked() {
		t.Error("a revocation is still there when all that it was meant for has expired")
	}
}
