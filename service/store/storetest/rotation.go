package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/rotation"
)

var rotationRecords = suite{
	"a rotation is stored with its targets, once":                rotationOnce,
	"a secret is under one rotation":                             rotationConflict,
	"rotations are listed in pages":                              rotationPages,
	"what is due is claimed once, the first due first":           claimOnce,
	"several claim at once and no target is claimed twice":       claimTogether,
	"a claim ends, and what is noted under an older one is lost": claimLost,
	"of accounts without a good license nothing is due":          claimOfGoodAccounts,
	"a run that somebody waits for takes a target once":          claimByHand,
	"a token is recorded for a target and is its pending one":    recordRotated,
	"what a change of the account or a revocation makes due":     hurryTargets,
	"a repository is renamed, or its rotations are stopped":      changeRepository,
	"targets are counted by their state":                         rotationStock,
}

func newRotation(n int, account string, targets ...string) rotation.Rotation {
	r := rotation.Rotation{
		ID: fmt.Sprintf("rot_%d", n), AccountID: account, Repository: fmt.Sprintf("acme/Site%d", n), RepositoryID: int64(n), Owner: "acme", OwnerID: 9,
		SecretName: "PAGEFLARE_TOKEN", CreatedAt: at, AccountStatus: "active", ValidUntil: at.AddDate(1, 0, 0),
	}
	if len(targets) == 0 {
		targets = []string{"repository"}
	}
	for _, name := range targets {
		r.Targets = append(r.Targets, rotation.Target{Name: name, OwnerID: 9})
	}
	return r
}

func addRotation(t *testing.T, s Store, r rotation.Rotation) rotation.Rotation {
	t.Helper()
	made, err := s.AddRotation(t.Context(), r, did(at))
	must(t, err)
	return made
}

func rotationByID(t *testing.T, s Store, id string) rotation.Rotation {
	t.Helper()
	list, err := s.Rotations(t.Context(), rotation.Query{ID: id, Limit: 2})
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("rotation %s: %d of them", id, len(list))
	}
	return list[0]
}

func claimAt(now time.Time) rotation.Claim {
	return rotation.Claim{Now: now, Until: now.Add(10 * time.Minute), Limit: 10}
}

func claimTargets(t *testing.T, s Store, c rotation.Claim) []rotation.Work {
	t.Helper()
	work, err := s.ClaimTargets(t.Context(), c)
	must(t, err)
	return work
}

func rotationOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	want := newRotation(1, a.ID, "environment:prod", "repository")
	same(t, want, addRotation(t, s, want))
	same(t, want, rotationByID(t, s, want.ID))
	line := lastLine(t, s).Seq
	again := newRotation(1, a.ID, "repository", "environment:PROD")
	again.ID = "rot_2"
	same(t, want, addRotation(t, s, again))
	same(t, line, lastLine(t, s).Seq)

	_, err := s.RemoveRotation(t.Context(), "rot_none", did(at), nil)
	wantErr(t, "RemoveRotation(none)", err, failure.ErrNotFound)
	for range 2 {
		_, err = s.RemoveRotation(t.Context(), want.ID, did(at), nil)
		must(t, err)
	}
	same(t, a.ID, lastLine(t, s).Account)
	list, err := s.Rotations(t.Context(), rotation.Query{Limit: 9})
	must(t, err)
	same(t, 0, len(list))
	same(t, "rot_2", addRotation(t, s, again).ID)
	_, err = s.AddRotation(t.Context(), newRotation(3, "user_none"), did(at))
	wantErr(t, "AddRotation(no account)", err, failure.ErrNotFound)
	b := create(t, s, 2)
	_, err = s.ChangeAccount(t.Context(), b.ID, func(a *account.Account) error {
		a.Status, a.Email = account.Deleted, ""
		return nil
	}, did(at))
	must(t, err)
	_, err = s.AddRotation(t.Context(), newRotation(3, b.ID), did(at))
	wantErr(t, "AddRotation(a deleted account)", err, account.ErrDeleted)
}

func rotationConflict(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	addRotation(t, s, newRotation(1, a.ID, "repository", "organization:acme"))
	for i, other := range []rotation.Rotation{newRotation(1, b.ID), newRotation(1, a.ID), newRotation(2, b.ID, "organization:Acme")} {
		other.ID = fmt.Sprintf("rot_%d", i+5)
		_, err := s.AddRotation(t.Context(), other, did(at))
		wantErr(t, "AddRotation(a secret of another)", err, failure.ErrConflict)
	}
	other := newRotation(1, b.ID)
	other.ID, other.SecretName = "rot_8", "OTHER"
	addRotation(t, s, other)
	addRotation(t, s, newRotation(9, b.ID, "dependabot/organization:acme"))
}

func rotationPages(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	one, two, three := addRotation(t, s, newRotation(1, a.ID)), addRotation(t, s, newRotation(2, b.ID)), addRotation(t, s, newRotation(3, a.ID))
	for _, q := range []struct {
		rotation.Query
		want []rotation.Rotation
	}{
		{rotation.Query{Limit: 2}, []rotation.Rotation{one, two}},
		{rotation.Query{Limit: 2, After: two.ID}, []rotation.Rotation{three}},
		{rotation.Query{Limit: 9, Account: a.ID}, []rotation.Rotation{one, three}},
		{rotation.Query{Limit: 9, Repository: "ACME/site2"}, []rotation.Rotation{two}},
		{rotation.Query{Limit: 9, RepositoryID: 3}, []rotation.Rotation{three}},
	} {
		got, err := s.Rotations(t.Context(), q.Query)
		must(t, err)
		same(t, q.want, got)
	}
}

// finished is a target that was written.
func finished(w rotation.Work, a account.Account, due time.Time) rotation.Result {
	t := w.Target
	t.JTI, t.ExpiresAt, t.WrittenAt, t.Due, t.TriedAt = tokenID(1, 1, 1), at.AddDate(1, 0, 0), at, due, at
	t.Says = rotation.Says{Tier: a.Tier, Features: a.Features, ValidUntil: a.ValidUntil}
	t.Pending, t.Failure = "", nil
	return rotation.Result{Repository: w.Repository, Target: t}
}

func claimOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	addRotation(t, s, newRotation(1, a.ID, "environment:a", "repository"))
	addRotation(t, s, newRotation(2, a.ID))
	work := claimTargets(t, s, claimAt(at))
	same(t, 3, len(work))
	same(t, 0, len(claimTargets(t, s, claimAt(at))))
	for i, due := range []time.Duration{3, 2, 1} {
		result := finished(work[i], a, at.Add(due*time.Hour))
		must(t, s.FinishTarget(t.Context(), work[i], result, did(at)))
		same(t, result.Target, rotationByID(t, s, work[i].ID).Targets[indexOf(t, rotationByID(t, s, work[i].ID), work[i].Target.Name)])
	}
	same(t, 0, len(claimTargets(t, s, claimAt(at.Add(time.Minute)))))
	c := claimAt(at.Add(2 * time.Hour))
	got := claimTargets(t, s, c)
	same(t, []string{"rot_2 repository", "rot_1 repository"}, names(got))
	same(t, int64(2), got[0].Fence)
	failed := got[0].Target
	failed.Failure = &rotation.Failure{
		Code: rotation.Suspended, Text: "t", Remedy: "r", Since: at, ToldAt: at.Add(time.Second), Attempts: 2,
	}
	must(t, s.FinishTarget(t.Context(), got[0], rotation.Result{Repository: "acme/new", Target: failed}))
	after := rotationByID(t, s, "rot_2")
	same(t, failed, after.Targets[0])
	same(t, "acme/new", after.Repository)
	c = claimAt(at.Add(24 * time.Hour))
	c.NotOf = []int64{9, 8, 7}
	same(t, 0, len(claimTargets(t, s, c)))
}

func indexOf(t *testing.T, r rotation.Rotation, target string) int {
	t.Helper()
	for i, other := range r.Targets {
		if other.Name == target {
			return i
		}
	}
	t.Fatalf("no target %s", target)
	return 0
}

func names(work []rotation.Work) (out []string) {
	for _, w := range work {
		out = append(out, w.ID+" "+w.Target.Name)
	}
	return out
}

func claimTogether(t *testing.T, s Store) {
	a := create(t, s, 1)
	const rotations, claimers = 40, 5
	for n := range rotations {
		addRotation(t, s, newRotation(n+1, a.ID))
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var all sync.WaitGroup
	for range claimers {
		all.Go(func() {
			for {
				c := claimAt(at)
				c.Limit = 3
				work, err := s.ClaimTargets(t.Context(), c)
				if err != nil {
					t.Error(err)
					return
				}
				if len(work) == 0 {
					return
				}
				mu.Lock()
				for _, name := range names(work) {
					seen[name]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	same(t, rotations, len(seen))
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s was claimed %d times", name, n)
		}
	}
}

func claimLost(t *testing.T, s Store) {
	a := create(t, s, 1)
	addRotation(t, s, newRotation(1, a.ID))
	first := claimTargets(t, s, claimAt(at))[0]
	later := at.Add(10 * time.Minute)
	second := claimTargets(t, s, claimAt(later))[0]
	wantErr(t, "FinishTarget(an older claim)", s.FinishTarget(t.Context(), first, finished(first, a, later), did(at)), rotation.ErrLost)
	record := newToken(a.ID, tokenID(1, 1, 1))
	wantErr(t, "RecordRotated(an older claim)", s.RecordRotated(t.Context(), first, record, did(at)), rotation.ErrLost)
	_, err := s.Token(t.Context(), record.ID)
	wantErr(t, "Token", err, failure.ErrNotFound)
	// a lease of a clock that was a year ahead holds nobody up
	ahead := claimAt(later.AddDate(1, 0, -1))
	same(t, 1, len(claimTargets(t, s, ahead)))
	same(t, 1, len(claimTargets(t, s, claimAt(later))))
	wantErr(t, "FinishTarget(an older claim)", s.FinishTarget(t.Context(), second, finished(second, a, later)), rotation.ErrLost)
	_, err = s.RemoveRotation(t.Context(), "rot_1", did(at), nil)
	must(t, err)
	wantErr(t, "FinishTarget(removed)", s.FinishTarget(t.Context(), second, finished(second, a, later)), rotation.ErrLost)
}

func claimOfGoodAccounts(t *testing.T, s Store) {
	a := create(t, s, 1)
	addRotation(t, s, newRotation(1, a.ID))
	for _, change := range []func(*account.Account){
		func(a *account.Account) { a.Status = account.Suspended },
		func(a *account.Account) { a.Status, a.ValidUntil = account.Active, at },
	} {
		_, err := s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { change(a); return nil }, did(at))
		must(t, err)
		same(t, 0, len(claimTargets(t, s, claimAt(at))))
	}
	_, err := s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.ValidUntil = at.Add(time.Hour); return nil }, did(at))
	must(t, err)
	same(t, 1, len(claimTargets(t, s, claimAt(at))))
}

func claimByHand(t *testing.T, s Store) {
	a := create(t, s, 1)
	addRotation(t, s, newRotation(1, a.ID))
	addRotation(t, s, newRotation(2, a.ID))
	for _, w := range claimTargets(t, s, claimAt(at)) {
		result := finished(w, a, at.Add(time.Hour))
		if w.ID == "rot_2" {
			result.Target.Failure = &rotation.Failure{Code: rotation.Suspended}
		}
		must(t, s.FinishTarget(t.Context(), w, result))
	}
	c := claimAt(at.Add(time.Minute))
	c.Begun = at.Add(time.Second)
	due, err := s.DueTargets(t.Context(), c)
	must(t, err)
	same(t, []string{"rot_2 repository"}, names(due))
	one := c
	one.Rotation = "rot_1"
	work := claimTargets(t, s, one)
	same(t, []string{"rot_1 repository"}, names(work))
	result := finished(work[0], a, at.Add(time.Hour))
	result.Target.TriedAt = at.Add(2 * time.Second)
	must(t, s.FinishTarget(t.Context(), work[0], result))
	same(t, 0, len(claimTargets(t, s, one)))
}

func recordRotated(t *testing.T, s Store) {
	a := create(t, s, 1)
	addRotation(t, s, newRotation(1, a.ID))
	w := claimTargets(t, s, claimAt(at))[0]
	record := newToken(a.ID, tokenID(1, 1, 1))
	record.IssuedBy = w.ID
	must(t, s.RecordRotated(t.Context(), w, record, did(at)))
	same(t, record.ID, rotationByID(t, s, w.ID).Targets[0].Pending)
	got, err := s.Token(t.Context(), record.ID)
	must(t, err)
	same(t, w.ID, got.IssuedBy)
	families, err := s.RemoveRotation(t.Context(), w.ID, did(at), new(did(at)))
	must(t, err)
	same(t, int64(1), families)
	same(t, a.ID, lastLine(t, s).Account)
	got, err = s.Token(t.Context(), record.ID)
	must(t, err)
	same(t, true, got.Revoked)
	wantErr(t, "RecordRotated(removed)", s.RecordRotated(t.Context(), w, newToken(a.ID, tokenID(2, 2, 2)), did(at)), rotation.ErrLost)
}

func hurryTargets(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	addRotation(t, s, newRotation(1, a.ID))
	addRotation(t, s, newRotation(2, b.ID))
	write := func() {
		t.Helper()
		for _, w := range claimTargets(t, s, claimAt(at)) {
			must(t, s.FinishTarget(t.Context(), w, finished(w, newAccountOf(w.AccountID, a, b), at.Add(time.Hour))))
		}
	}
	write()
	hurry := func(of string, want int64) {
		t.Helper()
		n, err := s.HurryTargets(t.Context(), of, "", at)
		must(t, err)
		same(t, want, n)
	}
	hurry("", 0)
	hurry(a.ID, 1)
	write()
	change := func(f func(*account.Account)) {
		t.Helper()
		var err error
		a, err = s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { f(a); return nil }, did(at))
		must(t, err)
	}
	for _, f := range []func(*account.Account){
		func(a *account.Account) { a.Tier = account.Team },
		func(a *account.Account) { a.Features = []string{"spa_mode"} },
		func(a *account.Account) { a.ValidUntil = a.ValidUntil.AddDate(1, 0, 0) },
	} {
		change(f)
		hurry("", 1)
		hurry("", 0) // it is due already
		write()
		hurry("", 0)
	}
	change(func(a *account.Account) { a.Status, a.Tier = account.Suspended, account.Pro })
	hurry("", 0)
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: tokenID(1, 1, 1).Family(), AccountID: b.ID, At: at}, did(at)))
	hurry("", 1) // of b: the account of the other is suspended
	change(func(a *account.Account) { a.Status = account.Active })
	hurry("", 1)
}

func newAccountOf(id string, list ...account.Account) account.Account {
	for _, a := range list {
		if a.ID == id {
			return a
		}
	}
	return account.Account{}
}

func changeRepository(t *testing.T, s Store) {
	a := create(t, s, 1)
	addRotation(t, s, newRotation(1, a.ID))
	addRotation(t, s, newRotation(2, a.ID))
	ids, err := s.ChangeRepository(t.Context(), 1, "acme/new", "")
	must(t, err)
	same(t, []string{"rot_1"}, ids)
	same(t, "acme/new", rotationByID(t, s, "rot_1").Repository)
	_, err = s.ChangeRepository(t.Context(), 1, "", "it is gone")
	must(t, err)
	got := rotationByID(t, s, "rot_1")
	same(t, []string{"acme/new", "it is gone"}, []string{got.Repository, got.Stopped})
	same(t, []string{"rot_2 repository"}, names(claimTargets(t, s, claimAt(at))))
	ids, err = s.ChangeRepository(t.Context(), 77, "acme/x", "")
	must(t, err)
	same(t, 0, len(ids))
	again := newRotation(1, a.ID) // it was stopped: added again, it is another one
	again.ID = "rot_3"
	same(t, "rot_3", addRotation(t, s, again).ID)
	list, err := s.Rotations(t.Context(), rotation.Query{RepositoryID: 1, Limit: 9})
	must(t, err)
	same(t, 1, len(list))
}

func rotationStock(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	for n := range 5 {
		owner := a.ID
		if n == 4 {
			owner = b.ID
		}
		addRotation(t, s, newRotation(n+1, owner))
	}
	for _, w := range claimTargets(t, s, claimAt(at)) {
		result := finished(w, a, at.Add(time.Hour))
		switch w.ID {
		case "rot_1":
			continue
		case "rot_2":
			result.Target.Failure = &rotation.Failure{Code: rotation.Suspended}
		case "rot_3":
			result.Stopped = "gone"
		}
		must(t, s.FinishTarget(t.Context(), w, result, did(at)))
	}
	_, err := s.ChangeAccount(t.Context(), b.ID, func(a *account.Account) error { a.Status = account.Suspended; return nil }, did(at))
	must(t, err)
	stock, err := s.RotationStock(t.Context(), at)
	must(t, err)
	want := map[rotation.State]int64{rotation.IsDue: 1, rotation.Failing: 1, rotation.Halted: 1, rotation.Fresh: 1, rotation.Paused: 1}
	same(t, rotation.Stock{States: want}, stock)
	list, err := s.Rotations(t.Context(), rotation.Query{Limit: 9})
	must(t, err)
	states := map[rotation.State]int64{}
	for _, r := range list {
		states[r.StateOf(r.Targets[0], at)]++
	}
	same(t, want, states)

	// rot_1 was never written, and rot_4 was to be written again an hour after the others
	for after, overdue := range map[time.Duration]int64{
		rotation.OverdueAfter - time.Minute: 0, rotation.OverdueAfter: 1,
		time.Hour + rotation.OverdueAfter - time.Minute: 1, time.Hour + rotation.OverdueAfter: 2,
	} {
		stock, err := s.RotationStock(t.Context(), at.Add(after))
		must(t, err)
		if stock.Overdue != overdue {
			t.Errorf("%s later: %d are overdue of %v, want %d", after, stock.Overdue, stock.States, overdue)
		}
	}
}
