package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
)

var auditLog = suite{
	"acts stand in the log, chained, when they did change": acts,
	"lines are found by their repository":                  linesOfRepository,
	"writers at once make one chain":                       oneChain,
	"the end of the log is sealed with each line":          sealedEnd,
	"lines give no seal to an end that had none":           unsealedEnd,
}

// lastLine is the newest line of the audit log.
func lastLine(t *testing.T, s Store) audit.Line {
	t.Helper()
	lines, err := s.AuditLines(t.Context(), audit.Query{Limit: 1})
	must(t, err)
	return lines[0]
}

// acts makes some changes and some that change nothing, and reads the log.
func acts(t *testing.T, s Store) {
	act := func(action audit.Action, account string) audit.Act {
		a := did(at)
		a.Action, a.Account, a.Object, a.Details = action, account, "x", `{"n":1}`
		a.Actor.Address, a.Actor.RequestID = "192.0.2.7", "r1"
		return a
	}
	a := newAccount(1)
	must(t, s.CreateAccount(t.Context(), a, newAPIToken(1), act("one", a.ID), act("two", a.ID)))
	wantErr(t, "CreateAccount(again)",
		s.CreateAccount(t.Context(), a, newAPIToken(1), act("refused", a.ID)), failure.ErrConflict)
	r := newToken(a.ID, tokenID(1, 1, 1))
	three := act("three", a.ID)
	three.Object = string(r.ID)
	must(t, s.RecordToken(t.Context(), r, three))
	must(t, s.RecordToken(t.Context(), r, act("nothing new", a.ID)))
	revokeAPIToken(t, s, act("four", ""), nil)
	revokeAPIToken(t, s, act("ended before", ""), nil)
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: "y", AccountID: a.ID, At: at},
		act("five", a.ID)))
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: "y", AccountID: a.ID, At: at},
		act("revoked before", a.ID)))

	lines, err := s.AuditLines(t.Context(), audit.Query{Limit: 100})
	must(t, err)
	slices.Reverse(lines)
	entries, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	previous := chained(t, entries)
	var want []audit.Line
	for i, action := range []audit.Action{"one", "two", "three", "four", "five"} {
		l := audit.Line{Seq: int64(i + 1), Act: act(action,
			a.ID), Hash: entries[i].Hash} // that of "four" comes from the API token
		if action == "three" {
			l.Object, l.Hash = string(r.ID), "" // in a block, which has one hash for all
		}
		want = append(want, l)
	}
	if diff := cmp.Diff(want, lines, cmpopts.IgnoreUnexported(audit.Act{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	head, err := s.AuditHead(t.Context())
	must(t, err)
	same(t, audit.Head{Seq: 5, Hash: previous}, head)

	numbers := func(q audit.Query) any {
		var out []int64
		lines, err := s.AuditLines(t.Context(), q)
		must(t, err)
		for _, l := range lines {
			out = append(out, l.Seq)
		}
		if out == nil {
			return nil
		}
		return out
	}
	same(t, []int64{5, 4, 3}, numbers(audit.Query{Limit: 3}))
	same(t, []int64{2, 1}, numbers(audit.Query{Before: 3, Limit: 3}))
	same(t, []int64{5, 4, 3, 2, 1}, numbers(audit.Query{Account: a.ID, Limit: 9}))
	same(t, nil, numbers(audit.Query{Account: "user_none", Limit: 9}))
	same(t, []int64{3}, numbers(audit.Query{Action: "three", Limit: 9}))
	same(t, []int64{5, 4, 3, 2, 1}, numbers(audit.Query{Actor: "test", Limit: 9}))
	same(t, nil, numbers(audit.Query{Actor: "tes", Limit: 9}))
	same(t, []int64{5, 4, 3, 2, 1}, numbers(audit.Query{Since: at, Until: at.Add(time.Millisecond), Limit: 9}))
	same(t, nil, numbers(audit.Query{Since: at.Add(time.Millisecond), Limit: 9}))
	same(t, nil, numbers(audit.Query{Until: at, Limit: 9}))
}

// linesOfRepository has one that was renamed, and a line that knows its id alone.
func linesOfRepository(t *testing.T, s Store) {
	var lines []audit.Act
	for _, details := range []string{
		`{"repository_id":"7"}`, `{"repository_id":"7","repository":"acme/Old"}`, `{"repository_id":"8","repository":"acme/other"}`, `{"n":1}`,
		`{"repository_id":"7","repository":"acme/new"}`, `{"repository_id":7}`,
	} {
		act := did(at)
		act.Details = details
		lines = append(lines, act)
	}
	must(t, s.CreateAccount(t.Context(), newAccount(1), newAPIToken(1), lines...))
	for repository, want := range map[string][]int64{
		"7": {5, 2, 1}, "8": {3}, "9": nil, "acme/old": {5, 2, 1}, "ACME/new": {5, 2, 1}, "acme/other": {3}, "acme/none": nil,
	} {
		var got []int64
		found, err := s.AuditLines(t.Context(), audit.Query{Repository: repository, Limit: 9})
		must(t, err)
		for _, l := range found {
			got = append(got, l.Seq)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lines of %s (-want +got)\n%s", repository, diff)
		}
	}
}

func oneChain(t *testing.T, s Store) {
	a := create(t, s, 1)
	const writers, each = 8, 30
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := tokenID(i, w, i)
				act := did(at)
				act.Object = string(id)
				err := s.RecordToken(context.WithoutCancel(t.Context()), newToken(a.ID, id), act)
				if i%10 == 0 {
					err = errors.Join(err,
						s.Revoke(context.WithoutCancel(t.Context()),
							license.Revocation{Subject: string(id), AccountID: a.ID, At: at}, act))
				}
				if err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	lines, err := s.AuditLines(t.Context(), audit.Query{Limit: 1000})
	must(t, err)
	same(t, writers*each+writers*each/10, len(lines))
	for i, l := range lines {
		same(t, int64(len(lines)-i), l.Seq)
	}
	var all []audit.Entry
	for seq := int64(0); seq < int64(len(lines)); seq = all[len(all)-1].Seq {
		page, err := s.AuditAfter(t.Context(), seq, 100)
		must(t, err)
		all = append(all, page...)
	}
	chained(t, all)
}

// chained tests that entries are the log from its start, and returns the hash of the last one.
func chained(t *testing.T, entries []audit.Entry) (last string) {
	t.Helper()
	next := int64(1)
	for _, e := range entries {
		hash := e.Link(e.Seq, last)
		if b := e.Block; b != nil {
			same(t, sha256.Sum256(b.Body), b.Digest)
			hash = did(at).LinkBlock(b.First, e.Seq, b.Digest, last)
		}
		if e.First() != next || e.Hash != hash {
			t.Fatalf("the entry with numbers %d to %d does not follow the one before", e.First(), e.Seq)
		}
		next, last = e.Seq+1, e.Hash
	}
	return last
}

// sealedEnd seals an empty log and adds to it.
func sealedEnd(t *testing.T, s Store) {
	end, err := s.AuditEnd(t.Context())
	must(t, err)
	if diff := cmp.Diff(audit.End{}, end, cmpopts.IgnoreUnexported(audit.Act{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	seal := func(seal string) {
		t.Helper()
		must(t, s.SealAuditEnd(t.Context(), func(e audit.End) string { return seal }))
	}
	seal("") // nobody can say what it is
	empty := did(at).Seal(audit.Head{})
	seal(empty)
	seal("another") // it has one
	end, err = s.AuditEnd(t.Context())
	must(t, err)
	same(t, empty, end.Seal)
	a := newAccount(1)
	must(t, s.CreateAccount(t.Context(), a, newAPIToken(1), did(at), did(at)))
	end, err = s.AuditEnd(t.Context())
	must(t, err)
	lines, err := s.AuditAfter(t.Context(), 0, 9)
	must(t, err)
	want := audit.End{Head: lines[1].Head(), Last: lines[1], Before: lines[0].Hash, Used: true}
	if !did(at).Sealed(want.Head, end.Seal) {
		t.Errorf("the seal of %v is not its own", end.Head)
	}
	end.Seal = ""
	if diff := cmp.Diff(want, end, cmpopts.IgnoreUnexported(audit.Act{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// unsealedEnd adds to a log that was never sealed.
func unsealedEnd(t *testing.T, s Store) {
	create(t, s, 1)
	must(t, s.AddKey(t.Context(), newKey("k_1", at), did(at)))
	end, err := s.AuditEnd(t.Context())
	must(t, err)
	same(t, "", end.Seal)
}
