package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/webhook/in"
)

var receivedDeliveries = suite{
	"a delivery is there once, whoever sends it again":          receiveTwice,
	"a delivery is claimed by one, and finished by who has it":  claimReceived,
	"claims of several never meet":                              claimsMeet,
	"deliveries are listed newest first, and retried":           listReceived,
	"old bodies and old deliveries go, and what is due stays":   pruneReceived,
	"the ids that are known are told, however many are asked":   knownReceived,
	"a body is any bytes, and the first of an id is its body":   bodiesReceived,
	"a delivery that came and one that is due next are told of": nextReceived,
	"deliveries that wait, failed, or are late are counted":     receivedStock,
}

var places = suite{
	"installations and repositories follow what is newest": newestPlaces,
	"policies are renamed by the id of what they are for":  renamePolicies,
}

func delivery(n int) in.Delivery {
	return in.Delivery{ID: fmt.Sprintf("g-%03d", n), Event: "known", Action: "created", Body: []byte("{}"), ReceivedAt: at.Add(time.Duration(n) * time.Second)}
}

func receive(t *testing.T, s Store, n int) in.Delivery {
	t.Helper()
	d := delivery(n)
	before, err := s.ReceiveDelivery(t.Context(), d, in.Received, d.ReceivedAt)
	must(t, err)
	same(t, in.State(""), before)
	return d
}

func claimAll(t *testing.T, s Store, owner string, now time.Time, limit int) []in.Claim {
	t.Helper()
	claims, err := s.ClaimReceived(t.Context(), owner, now, now.Add(time.Minute), limit)
	must(t, err)
	return claims
}

func receiveTwice(t *testing.T, s Store) {
	ctx := t.Context()
	d := receive(t, s, 1)
	again := d
	again.ReceivedAt = at.Add(time.Hour)
	before, err := s.ReceiveDelivery(ctx, again, in.Received, again.ReceivedAt)
	must(t, err)
	same(t, in.Received, before)
	list, err := s.ListReceived(ctx, in.Query{Limit: 9})
	must(t, err)
	same(t, []in.Record{{ID: d.ID, Event: "known", Action: "created", State: in.Received, ReceivedAt: d.ReceivedAt, DueAt: again.ReceivedAt}}, list)
	c := claimAll(t, s, "a", again.ReceivedAt, 9)[0]
	must(t, s.FinishReceived(ctx, c, in.Outcome{State: in.Processed, At: at.Add(2 * time.Hour)}))
	before, err = s.ReceiveDelivery(ctx, again, in.Received, again.ReceivedAt)
	must(t, err)
	same(t, in.Processed, before)
	same(t, 0, len(claimAll(t, s, "b", at.AddDate(1, 0, 0), 9)))

	ignored := delivery(2)
	before, err = s.ReceiveDelivery(ctx, ignored, in.Ignored, time.Time{})
	must(t, err)
	same(t, in.State(""), before)
	before, err = s.ReceiveDelivery(ctx, ignored, in.Received, ignored.ReceivedAt) // this version knows the event
	must(t, err)
	same(t, in.Ignored, before)
	same(t, 1, len(claimAll(t, s, "b", ignored.ReceivedAt, 9)))
}

func claimReceived(t *testing.T, s Store) {
	ctx := t.Context()
	for n := range 3 {
		receive(t, s, n)
	}
	now := at.Add(time.Minute)
	first := claimAll(t, s, "a", now, 2)
	same(t, 2, len(first))
	rest := claimAll(t, s, "b", now, 9)
	same(t, 1, len(rest))
	same(t, "g-002", rest[0].ID)
	same(t, 0, len(claimAll(t, s, "c", now.Add(59*time.Second), 9)))
	taken := claimAll(t, s, "c", now.Add(time.Minute), 9) // none of them said that it has done
	same(t, 3, len(taken))
	same(t, int64(2), taken[0].Attempts)
	must(t, s.FinishReceived(ctx, first[0], in.Outcome{State: in.Failed, Error: "late", At: now}))
	for _, c := range taken {
		must(t, s.FinishReceived(ctx, c, in.Outcome{State: in.Failed, Error: "x", At: now, DueAt: now.Add(time.Hour)}))
	}
	list, err := s.ListReceived(ctx, in.Query{State: in.Failed, Limit: 9})
	must(t, err)
	same(t, 3, len(list))
	for _, r := range list {
		same(t, "x", r.Error)
		same(t, now.Add(time.Hour), r.DueAt)
	}
}

func receivedStock(t *testing.T, s Store) {
	ctx := t.Context()
	for n := range 3 {
		receive(t, s, n)
	}
	claims := claimAll(t, s, "a", at, 1)
	must(t, s.FinishReceived(ctx, claims[0], in.Outcome{State: in.Failed, Error: "x", At: at, DueAt: at.Add(time.Hour)}))
	later := delivery(3) // it takes effect in a month
	_, err := s.ReceiveDelivery(ctx, later, in.Received, at.AddDate(0, 1, 0))
	must(t, err)
	for after, late := range map[time.Duration]int{
		license.LateAfter - time.Second: 0, license.LateAfter + time.Second: 1, license.LateAfter + time.Minute: 2,
		license.LateAfter + time.Hour: 3,
	} {
		stock, err := s.Stock(ctx, at.Add(after))
		must(t, err)
		same(t, [3]int{3, 1, late}, [3]int{stock.Waiting, stock.Failed, stock.Late})
	}
}

func claimsMeet(t *testing.T, s Store) {
	for n := range 40 {
		receive(t, s, n)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]int{}
	for w := range 4 {
		wg.Go(func() {
			for range 40 {
				claims, err := s.ClaimReceived(t.Context(), fmt.Sprintf("w%d", w), at.Add(time.Hour), at.Add(2*time.Hour), 3)
				if err != nil {
					t.Errorf("ClaimReceived = %v", err)
					return
				}
				mu.Lock()
				for _, c := range claims {
					seen[c.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	same(t, 40, len(seen))
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
}

func listReceived(t *testing.T, s Store) {
	ctx := t.Context()
	for n := range 3 {
		receive(t, s, n)
	}
	list, err := s.ListReceived(ctx, in.Query{Event: "known", Limit: 2})
	must(t, err)
	same(t, "g-002 g-001", list[0].ID+" "+list[1].ID)
	list, err = s.ListReceived(ctx, in.Query{After: "g-001", Limit: 2})
	must(t, err)
	same(t, 1, len(list))
	_, err = s.ListReceived(ctx, in.Query{After: "g-none", Limit: 2})
	wantErr(t, "ListReceived(after none)", err, failure.ErrInvalid)
	_, err = s.RetryReceived(ctx, "g-none", at)
	wantErr(t, "RetryReceived(none)", err, failure.ErrNotFound)
	c := claimAll(t, s, "a", at, 1)[0]
	r, err := s.RetryReceived(ctx, c.ID, at.Add(time.Second)) // somebody works on it: when the claim ends
	must(t, err)
	same(t, at.Add(time.Minute), r.DueAt)
	must(t, s.FinishReceived(ctx, c, in.Outcome{State: in.Failed, Error: "x", At: at}))
	r, err = s.RetryReceived(ctx, c.ID, at.Add(2*time.Second))
	must(t, err)
	same(t, at.Add(2*time.Second), r.DueAt)
	same(t, in.Received, r.State)
}

func pruneReceived(t *testing.T, s Store) {
	ctx := t.Context()
	for n := range 4 {
		receive(t, s, n)
	}
	claims := claimAll(t, s, "a", at.Add(2*time.Second), 9) // all but the last
	must(t, s.FinishReceived(ctx, claims[0], in.Outcome{State: in.Processed, At: at}))
	must(t, s.FinishReceived(ctx, claims[1], in.Outcome{State: in.Failed, Error: "x", At: at}))
	late := at.AddDate(1, 0, 0)
	n, err := s.PruneReceived(ctx, late, at, 100)
	must(t, err)
	same(t, int64(1), n)
	_, err = s.ReceivedBody(ctx, claims[0].ID)
	wantErr(t, "ReceivedBody(pruned)", err, failure.ErrNotFound)
	_, err = s.RetryReceived(ctx, claims[0].ID, late)
	wantErr(t, "RetryReceived(pruned)", err, failure.ErrInvalid)
	_, err = s.ReceivedBody(ctx, claims[1].ID)
	must(t, err)
	n, err = s.PruneReceived(ctx, at, late, 100)
	must(t, err)
	same(t, int64(2), n)
	list, err := s.ListReceived(ctx, in.Query{Limit: 9})
	must(t, err)
	same(t, 2, len(list)) // the claimed one, and the one that is due
}

func knownReceived(t *testing.T, s Store) {
	var ids []string
	for n := range 250 {
		ids = append(ids, fmt.Sprintf("g-%03d", n))
	}
	receive(t, s, 7)
	receive(t, s, 249)
	known, err := s.KnownReceived(t.Context(), ids)
	must(t, err)
	same(t, map[string]bool{"g-007": true, "g-249": true}, known)
	known, err = s.KnownReceived(t.Context(), nil)
	must(t, err)
	same(t, 0, len(known))
}

func bodiesReceived(t *testing.T, s Store) {
	ctx := t.Context()
	d := delivery(1)
	d.Body = []byte{0, 0xff, '\'', '"', 0}
	_, err := s.ReceiveDelivery(ctx, d, in.Received, d.ReceivedAt)
	must(t, err)
	other := d
	other.Body = []byte("{}") // a captured one under the same id
	_, err = s.ReceiveDelivery(ctx, other, in.Received, d.ReceivedAt)
	must(t, err)
	got, err := s.ReceivedBody(ctx, d.ID)
	must(t, err)
	same(t, d.Body, got)
}

func nextReceived(t *testing.T, s Store) {
	next, err := s.NextReceived(t.Context())
	must(t, err)
	same(t, true, next.IsZero())
	d := receive(t, s, 1)
	receive(t, s, 2)
	next, err = s.NextReceived(t.Context())
	must(t, err)
	same(t, d.ReceivedAt, next)
}

func newestPlaces(t *testing.T, s Store) {
	ctx := t.Context()
	install := func(minute int, status, login string) {
		t.Helper()
		must(t, s.SaveInstallation(ctx, in.Installation{ID: 1, OwnerID: 70, Login: login, Status: status, UpdatedAt: at.Add(time.Duration(minute) * time.Minute)}))
	}
	want := func(login, status string) {
		t.Helper()
		list, err := s.GitHubInstallations(ctx)
		must(t, err)
		if login == "" {
			same(t, 0, len(list))
			return
		}
		same(t, login+" "+status, list[0].Login+" "+list[0].Status)
	}
	install(2, in.Suspended, "acme")
	install(1, in.Active, "old")
	want("acme", in.Suspended)
	install(3, in.Active, "acme-inc")
	want("acme-inc", in.Active)
	install(0, in.Deleted, "acme")
	install(9, in.Active, "acme")
	want("", "")

	repo := func(minute int, name, status string) {
		t.Helper()
		must(t, s.SaveRepository(ctx, in.Repository{ID: 7, OwnerID: 70, Name: name, Status: status, UpdatedAt: at.Add(time.Duration(minute) * time.Minute)}))
	}
	_, err := s.GitHubRepository(ctx, 7)
	wantErr(t, "GitHubRepository(none)", err, failure.ErrNotFound)
	repo(2, "acme/new", in.Active)
	repo(1, "acme/old", in.Active)
	got, err := s.GitHubRepository(ctx, 7)
	must(t, err)
	same(t, "acme/new", got.Name)
	repo(3, "acme/new", in.Deleted)
	repo(4, "acme/new", in.Active)
	got, err = s.GitHubRepository(ctx, 7)
	must(t, err)
	same(t, in.Deleted, got.Status)
}

func renamePolicies(t *testing.T, s Store) {
	a := create(t, s, 1)
	p, err := addPolicy(t, s, newPolicy(1, a.ID, "7"))
	must(t, err)
	other, err := addPolicy(t, s, newPolicy(2, a.ID, "8"))
	must(t, err)
	before := lines(t, s)
	name := func(license.TrustPolicy) string { return "acme/renamed" }
	for range 2 { // the second time there is nothing to change
		must(t, s.RenamePolicies(t.Context(), "7", "", name, did(at)))
	}
	same(t, before+1, lines(t, s))
	p.Repository = "acme/renamed"
	got, err := s.Policies(t.Context(), license.PolicyQuery{Limit: 9})
	must(t, err)
	same(t, []license.TrustPolicy{p, other}, got)
	must(t, s.RenamePolicies(t.Context(), "", "1", func(license.TrustPolicy) string { return "inc/all" }, did(at)))
	got, err = s.Policies(t.Context(), license.PolicyQuery{Limit: 9})
	must(t, err)
	same(t, "inc/all inc/all", got[0].Repository+" "+got[1].Repository)
}
