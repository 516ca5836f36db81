package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/upkeep"
	"github.com/pageflare/ci/service/webhook/out"
)

var events = suite{
	"what is done is told in its transaction":                toldTogether,
	"what is undone is told to nobody":                       undoneIsNotTold,
	"numbers of events grow in the order of commits":         eventOrder,
	"license tokens are told only while somebody hears them": tokensTold,
	"many acts of one transaction are told together":         manyTold,
	"the feed is read by account, by type and without tests": feed,
	"whoever waits learns of events":                         published,
	"old events are pruned in their order":                   prunedEvents,
}

// doing is an act that is told.
func doing(action audit.Action, account, object, details string) audit.Act {
	a := did(at)
	a.Action, a.Account, a.Object = action, account, object
	if details != "" {
		a.Details = details
	}
	return a
}

var nobody []string

// told are the events behind a number.
func told(t *testing.T, s Store, after int64) []out.Event {
	t.Helper()
	page, err := s.EventsAfter(t.Context(), out.FeedQuery{After: after, Limit: 1000, Tests: true})
	must(t, err)
	return page.Events
}

func toldTypes(list []out.Event) (types []string) {
	for _, e := range list {
		types = append(types, string(e.Type)+" "+e.AccountID)
	}
	return types
}

func toldTogether(t *testing.T, s Store) {
	a := newAccount(1)
	must(t, s.CreateAccount(t.Context(), a, newAPIToken(1), doing(audit.AccountCreated, a.ID, a.ID, `{"tier":"pro"}`), doing(audit.APITokenCreated, a.ID, "at_001", "")))
	_, err := s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Tier = account.Team; return nil },
		doing(audit.AccountUpdated, a.ID, a.ID, `{"tier":"team"}`))
	must(t, err)
	_, err = s.ChangeAccount(t.Context(), a.ID, func(*account.Account) error { return nil }, doing(audit.AccountUpdated, a.ID, a.ID, `{"tier":"team"}`))
	must(t, err)
	list := told(t, s, 0)
	same(t, []string{"account.created " + a.ID, "account.updated " + a.ID, "plan.changed " + a.ID}, toldTypes(list))
	ids := map[string]bool{}
	for i, e := range list {
		same(t, int64(i+1), e.Seq)
		same(t, at, e.At)
		if !opaque.OfEvent.Fits(e.ID) || ids[e.ID] {
			t.Errorf("id %q is not one, or not the first of its kind", e.ID)
		}
		ids[e.ID] = true
	}
	same(t, `{"account":"`+a.ID+`","tier":"pro"}`, list[0].Data)
}

func undoneIsNotTold(t *testing.T, s Store) {
	a := create(t, s, 1)
	other := newAccount(2)
	other.Email = a.Email
	wantErr(t, "CreateAccount(the same address)", s.CreateAccount(t.Context(), other, newAPIToken(2), doing(audit.AccountCreated, other.ID, other.ID, "")), failure.ErrConflict)
	_, err := s.ChangeAccount(t.Context(), a.ID, func(*account.Account) error { return failure.ErrInvalid }, doing(audit.AccountUpdated, a.ID, a.ID, ""))
	wantErr(t, "ChangeAccount(refused)", err, failure.ErrInvalid)
	same(t, 0, len(told(t, s, 0)))
	_, err = s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Tier = account.Team; return nil }, doing(audit.AccountUpdated, a.ID, a.ID, ""))
	must(t, err)
	same(t, int64(1), told(t, s, 0)[0].Seq) // no number was lost
}

// eventOrder reads the feed while several write: a number is never seen before one below it, so that
// nobody who goes on behind the last number misses one.
func eventOrder(t *testing.T, s Store) {
	const writers, each = 4, 15
	accounts := make([]account.Account, writers)
	for i := range accounts {
		accounts[i] = create(t, s, i)
	}
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i, a := range accounts {
		wg.Go(func() {
			for n := range each {
				_, err := s.ChangeAccount(context.WithoutCancel(t.Context()), a.ID, func(a *account.Account) error {
					a.Features = []string{fmt.Sprintf("f%d", n)}
					return nil
				}, doing(audit.AccountUpdated, a.ID, a.ID, fmt.Sprintf(`{"features":["f%d"]}`, n)))
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	var list []out.Event
	for over := false; ; {
		page, err := s.EventsAfter(t.Context(), out.FeedQuery{After: int64(len(list)), Limit: 7, Tests: true})
		must(t, err)
		list = append(list, page.Events...)
		if len(page.Events) == 0 && over {
			break
		}
		select {
		case <-ended:
			over = true
		default:
		}
	}
	must(t, errors.Join(errs...))
	same(t, 2*writers*each, len(list))
	next := map[string]int{}
	for i, e := range list {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d was read where %d belongs", e.Seq, i+1)
		}
		if e.Type != audit.EventPlanChanged {
			continue
		}
		if want := fmt.Sprintf(`"f%d"`, next[e.AccountID]); !strings.Contains(e.Data, want) {
			t.Fatalf("event %d of %s = %s, want %s", e.Seq, e.AccountID, e.Data, want)
		}
		next[e.AccountID]++
	}
}

func tokensTold(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	n := 0
	record := func(account string, did audit.Action) []string {
		t.Helper()
		n++
		newest, err := s.NewestEvent(t.Context())
		must(t, err)
		r := newToken(account, tokenID(n, n, n))
		must(t, s.RecordToken(t.Context(), r, doing(did, account, string(r.ID), "")))
		return toldTypes(told(t, s, newest))
	}
	refreshed := []string{"license.refreshed " + a.ID}
	same(t, nobody, record(a.ID, audit.TokenRefreshed))
	e := addEndpoint(t, s, 1, a.ID, audit.EventLicenseRefreshed, audit.EventAccountCreated)
	same(t, refreshed, record(a.ID, audit.TokenRefreshed))
	same(t, nobody, record(a.ID, audit.TokenIssued))
	same(t, nobody, record(b.ID, audit.TokenRefreshed))
	change := func(change func(*out.Sealed)) {
		t.Helper()
		_, err := s.ChangeEndpoint(t.Context(), e.ID, func(e *out.Sealed) error { change(e); return nil }, doing(audit.EndpointUpdated, "", e.ID, ""))
		must(t, err)
	}
	change(func(e *out.Sealed) { e.Events = []audit.EventType{audit.EventLicenseIssued} })
	same(t, nobody, record(a.ID, audit.TokenRefreshed))
	same(t, []string{"license.issued " + a.ID}, record(a.ID, audit.TokenIssued))
	change(func(e *out.Sealed) { e.Status = out.Disabled })
	same(t, nobody, record(a.ID, audit.TokenIssued))
	all := addEndpoint(t, s, 2, "")
	same(t, []string{"license.exchanged " + b.ID}, record(b.ID, audit.TokenExchanged))
	must(t, s.RemoveEndpoint(t.Context(), all.ID, doing(audit.EndpointRemoved, "", all.ID, "")))
	same(t, nobody, record(b.ID, audit.TokenExchanged))

	addEndpoint(t, s, 3, "")
	newest, err := s.NewestEvent(t.Context())
	must(t, err)
	r := newToken(a.ID, tokenID(90, 91, 92))
	r.Parent, r.IssuedBy = tokenID(80, 91, 81), "at_001"
	must(t, s.RecordToken(t.Context(), r, doing(audit.TokenRefreshed, a.ID, string(r.ID), "")))
	same(t, fmt.Sprintf(`{"account":%q,"expires_at":"2026-03-01T13:00:00.000Z","family":%q,"jti":%q,"parent":%q}`, a.ID, r.ID.Family(), r.ID, r.Parent),
		told(t, s, newest)[0].Data)
}

func manyTold(t *testing.T, s Store) {
	a := create(t, s, 1)
	const many = 400 // more than one statement writes
	list, acts := make([]license.TrustPolicy, many), make([]audit.Act, many)
	for i := range many {
		list[i] = newPolicy(i, a.ID, fmt.Sprint(i))
		list[i].Policy = oidc.Policy{ID: fmt.Sprintf("pol_%03d", i), Issuer: "https://issuer.example", RepositoryID: fmt.Sprint(i), OwnerID: "1"}
		acts[i] = doing(audit.PolicyAdded, a.ID, list[i].ID, "")
	}
	_, err := s.AddPolicies(t.Context(), list, acts)
	must(t, err)
	got := told(t, s, 0)
	same(t, many, len(got))
	for i, e := range got {
		same(t, int64(i+1), e.Seq)
		if !strings.Contains(e.Data, list[i].ID) {
			t.Fatalf("event %d = %s, want %s", e.Seq, e.Data, list[i].ID)
		}
	}
	addEndpoint(t, s, 1, "")
	var wg sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs { // they share transactions
		wg.Go(func() {
			r := newToken(a.ID, tokenID(i+1, i+1, i+1))
			errs[i] = s.RecordToken(context.WithoutCancel(t.Context()), r, doing(audit.TokenIssued, a.ID, string(r.ID), ""))
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	jtis := map[string]bool{}
	for _, e := range told(t, s, many) {
		jtis[e.ID+e.Data] = true
	}
	same(t, len(errs), len(jtis))
}

func feed(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	e := addEndpoint(t, s, 1, a.ID)
	change := func(id string) {
		t.Helper()
		_, err := s.ChangeAccount(t.Context(), id, func(a *account.Account) error { a.Features = append(a.Features, "x"); return nil },
			doing(audit.AccountUpdated, id, id, `{"email":"changed"}`))
		must(t, err)
	}
	change(a.ID)
	change(b.ID)
	test, err := s.TellEndpoint(t.Context(), e.ID, doing(audit.EndpointTested, "", e.ID, `{"type":"license.issued"}`))
	must(t, err)
	same(t, out.Event{Seq: 3, ID: test.ID, Type: audit.EventLicenseIssued, AccountID: a.ID, EndpointID: e.ID, At: at, Data: test.Data}, test)
	_, err = s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Status = account.Suspended; return nil }, doing(audit.AccountSuspended, a.ID, a.ID, ""))
	must(t, err)
	for name, c := range map[string]struct {
		q    out.FeedQuery
		want []int64
		next int64
	}{
		"all but tests":    {out.FeedQuery{Limit: 9}, []int64{1, 2, 4}, 4},
		"all":              {out.FeedQuery{Limit: 9, Tests: true}, []int64{1, 2, 3, 4}, 4},
		"a page":           {out.FeedQuery{Limit: 2}, []int64{1, 2}, 2},
		"the next page":    {out.FeedQuery{After: 2, Limit: 2}, []int64{4}, 4},
		"an account":       {out.FeedQuery{Limit: 9, Account: b.ID}, []int64{2}, 4},
		"a type":           {out.FeedQuery{Limit: 9, Type: audit.EventAccountSuspended}, []int64{4}, 4},
		"nothing is newer": {out.FeedQuery{After: 4, Limit: 9}, nil, 4},
		"ahead":            {out.FeedQuery{After: 9, Limit: 9}, nil, 9},
	} {
		page, err := s.EventsAfter(t.Context(), c.q)
		must(t, err)
		var got []int64
		for _, e := range page.Events {
			got = append(got, e.Seq)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || page.Next != c.next || page.Newest != 4 || page.Oldest != 1 {
			t.Errorf("%s: next %d, oldest %d, newest %d, want %d, 1, 4; (-want +got)\n%s", name, page.Next, page.Oldest, page.Newest, c.next, diff)
		}
	}
}

func published(t *testing.T, s Store) {
	next := s.NextPublished()
	a := create(t, s, 1)
	must(t, s.RecordToken(t.Context(), newToken(a.ID, tokenID(1, 1, 1)), doing(audit.TokenIssued, a.ID, "", "")))
	select {
	case <-next:
		t.Error("a transaction without an event woke those who wait for one")
	case <-s.Published():
		t.Error("a transaction without an event woke the one who sends them")
	default:
	}
	for range 2 {
		_, err := s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Features = append(a.Features, "x"); return nil },
			doing(audit.AccountUpdated, a.ID, a.ID, ""))
		must(t, err)
	}
	for _, woken := range []<-chan struct{}{next, s.Published()} {
		select {
		case <-woken:
		default:
			t.Error("nobody was woken")
		}
	}
}

func prunedEvents(t *testing.T, s Store) {
	held, err := s.ClaimUpkeep(t.Context(), upkeep.Lease{}, "a")
	must(t, err)
	a := create(t, s, 1)
	for n := range 6 {
		act := doing(audit.AccountUpdated, a.ID, a.ID, `{"email":"changed"}`)
		act.At = at.Add(time.Duration(n) * time.Hour)
		if n == 3 {
			act.At = at.Add(-time.Hour) // by a replica whose clock is behind
		}
		_, err := s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Features = append(a.Features, "x"); return nil }, act)
		must(t, err)
	}
	prune := func(hours int, want ...int64) {
		t.Helper()
		p := upkeep.Pruning{Now: at.AddDate(2, 0, 0), Before: at.Add(time.Duration(hours) * time.Hour), Act: func(int64, int64) audit.Act { return did(at) }}
		for more := true; more; {
			var err error
			more, err = s.Prune(t.Context(), held, p)
			must(t, err)
		}
		page, err := s.EventsAfter(t.Context(), out.FeedQuery{Limit: 9})
		must(t, err)
		got := []int64{page.Oldest, page.Newest}
		for _, e := range page.Events {
			got = append(got, e.Seq)
		}
		same(t, want, got)
	}
	prune(0, 1, 6, 1, 2, 3, 4, 5, 6)
	prune(2, 3, 6, 3, 4, 5, 6) // the fourth is older, and stays: there are no gaps
	prune(5, 6, 6, 6)
	prune(9, 7, 6)
	_, err = s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Features = nil; return nil }, doing(audit.AccountUpdated, a.ID, a.ID, ""))
	must(t, err)
	same(t, int64(7), told(t, s, 0)[0].Seq) // no number comes again
	_, err = s.ClaimUpkeep(t.Context(), held, "b")
	must(t, err)
	_, err = s.Prune(t.Context(), held, upkeep.Pruning{Now: at.AddDate(2, 0, 0), Before: at.AddDate(1, 0, 0), Act: func(int64, int64) audit.Act { return did(at) }})
	wantErr(t, "Prune(without the lease)", err, upkeep.ErrLost)
}

var endpoints = suite{
	"an endpoint is added, changed and removed": endpointLife,
	"there are not too many endpoints":          tooManyEndpoints,
}

func newEndpoint(n int, account string, types ...audit.EventType) out.Sealed {
	return out.Sealed{Endpoint: out.Endpoint{
		ID: fmt.Sprintf("wh_%03d", n), AccountID: account, URL: fmt.Sprintf("https://example.com/%d", n), Events: append([]audit.EventType{}, types...),
		Status: out.Active, CreatedAt: at,
	}, SealedSecret: []byte{0, 1, 2}}
}

func addEndpoint(t *testing.T, s Store, n int, account string, types ...audit.EventType) out.Sealed {
	t.Helper()
	e, err := s.AddEndpoint(t.Context(), newEndpoint(n, account, types...), doing(audit.EndpointAdded, account, "", ""))
	must(t, err)
	return e
}

func endpointLife(t *testing.T, s Store) {
	a := create(t, s, 1)
	_, err := s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Tier = account.Team; return nil }, doing(audit.AccountUpdated, a.ID, a.ID, ""))
	must(t, err)
	want := newEndpoint(1, a.ID, audit.EventPing)
	want.Since = 1
	same(t, want, addEndpoint(t, s, 1, a.ID, audit.EventPing))
	all := addEndpoint(t, s, 2, "")
	_, err = s.AddEndpoint(t.Context(), newEndpoint(1, a.ID), did(at))
	wantErr(t, "AddEndpoint(again)", err, failure.ErrConflict)
	_, err = s.AddEndpoint(t.Context(), newEndpoint(3, "user_none"), did(at))
	wantErr(t, "AddEndpoint(no account)", err, failure.ErrNotFound)
	got, err := s.Endpoint(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)

	before := lines(t, s)
	want.URL, want.Status, want.Reason, want.Events = "https://example.org", out.Disabled, "gone", []audit.EventType{}
	want.SealedSecret, want.SealedPrevious, want.PreviousUntil = []byte{9}, []byte{0, 1, 2}, at.Add(time.Hour)
	for range 2 { // the second changes nothing
		got, err = s.ChangeEndpoint(t.Context(), want.ID, func(e *out.Sealed) error { *e = want; return nil }, doing(audit.EndpointDisabled, "", want.ID, ""))
		must(t, err)
		same(t, want, got)
	}
	same(t, before+1, lines(t, s))
	same(t, a.ID, lastLine(t, s).Account)
	got, err = s.Endpoint(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
	_, err = s.ChangeEndpoint(t.Context(), want.ID, func(e *out.Sealed) error { e.URL = ""; return failure.ErrInvalid }, did(at))
	wantErr(t, "ChangeEndpoint(refused)", err, failure.ErrInvalid)

	for _, c := range []struct {
		q    out.Query
		want []out.Sealed
	}{
		{out.Query{Limit: 9}, []out.Sealed{want, all}}, {out.Query{Limit: 1}, []out.Sealed{want}},
		{out.Query{After: want.ID, Limit: 9}, []out.Sealed{all}}, {out.Query{Account: a.ID, Limit: 9}, []out.Sealed{want}},
	} {
		list, err := s.Endpoints(t.Context(), c.q)
		must(t, err)
		same(t, c.want, list)
	}
	must(t, s.RemoveEndpoint(t.Context(), want.ID, did(at)))
	wantErr(t, "RemoveEndpoint(again)", s.RemoveEndpoint(t.Context(), want.ID, did(at)), failure.ErrNotFound)
	_, err = s.Endpoint(t.Context(), want.ID)
	wantErr(t, "Endpoint(removed)", err, failure.ErrNotFound)
	_, err = s.TellEndpoint(t.Context(), want.ID, did(at))
	wantErr(t, "TellEndpoint(removed)", err, failure.ErrNotFound)
	_, err = s.ChangeEndpoint(t.Context(), want.ID, func(*out.Sealed) error { return nil }, did(at))
	wantErr(t, "ChangeEndpoint(removed)", err, failure.ErrNotFound)
	list, err := s.Endpoints(t.Context(), out.Query{Limit: 9})
	must(t, err)
	same(t, []out.Sealed{all}, list)
}

func tooManyEndpoints(t *testing.T, s Store) {
	a := create(t, s, 1)
	for n := range out.MaxOfAccount {
		addEndpoint(t, s, n, a.ID)
	}
	_, err := s.AddEndpoint(t.Context(), newEndpoint(99, a.ID), did(at))
	wantErr(t, "AddEndpoint(one too many)", err, out.ErrTooMany)
	addEndpoint(t, s, 99, "")
	must(t, s.RemoveEndpoint(t.Context(), "wh_003", did(at)))
	addEndpoint(t, s, 98, a.ID)
}

var notices = suite{
	"an account is told once of each end of its license": noticeOnce,
	"only those are looked at whose time has come":       noticesDue,
}

// tellEnds is what license does by account.Due: it tells each account that is due, and returns whom.
func tellEnds(t *testing.T, s Store, now time.Time, limit int) (list []string) {
	t.Helper()
	_, err := s.LookAtEnds(context.WithoutCancel(t.Context()), now, limit, func(a account.Account, told account.Notice) account.Look {
		due, tell, next := account.Due(a, told, now)
		look := account.Look{Told: due, Next: next}
		if tell {
			look.Give = new(doing(audit.LicenseExpiring, a.ID, a.ID, fmt.Sprintf(`{"days":%d}`, due.Days)))
			list = append(list, fmt.Sprintf("%s %d", a.ID, due.Days))
		}
		return look
	})
	if err != nil {
		t.Error(err)
	}
	return list
}

func noticeOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	end := a.ValidUntil
	day := 24 * time.Hour
	tell := func(now time.Time, want ...string) {
		t.Helper()
		newest, err := s.NewestEvent(t.Context())
		must(t, err)
		var wg sync.WaitGroup
		for range 3 { // several replicas
			wg.Go(func() { tellEnds(t, s, now, 9) })
		}
		wg.Wait()
		var got []string
		for _, e := range told(t, s, newest) {
			got = append(got, e.Data)
		}
		for i := range want {
			want[i] = `{"account":"` + a.ID + `","days":` + want[i] + `}`
		}
		same(t, want, got)
	}
	tell(at)
	tell(end.Add(-30*day), "30")
	tell(end.Add(-29 * day))
	tell(end.Add(-time.Hour), "1") // it was down meanwhile
	_, err := s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Tier = account.Team; return nil }, did(at))
	must(t, err)
	tell(end.Add(-time.Minute))
	_, err = s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.ValidUntil = end.Add(10 * day); return nil }, did(at))
	must(t, err)
	tell(end, "30")
	tell(end.Add(3*day), "7")
	tell(end.Add(10*day), "0")
	tell(end.Add(20 * day))
}

func noticesDue(t *testing.T, s Store) {
	for n := range 5 {
		a := newAccount(n)
		a.ValidUntil = at.AddDate(0, 0, 31+n)
		must(t, s.CreateAccount(t.Context(), a, newAPIToken(n)))
	}
	same(t, nobody, tellEnds(t, s, at, 9)) // now they are known
	looked := func(now time.Time, limit int) int {
		t.Helper()
		n, err := s.LookAtEnds(t.Context(), now, limit, func(a account.Account, told account.Notice) account.Look {
			due, _, next := account.Due(a, told, now)
			return account.Look{Told: due, Next: next}
		})
		must(t, err)
		return n
	}
	same(t, 0, looked(at, 9))
	same(t, 2, looked(at.AddDate(0, 0, 5), 2))
	same(t, 2, looked(at.AddDate(0, 0, 5), 2))
	same(t, 1, looked(at.AddDate(0, 0, 5), 2))
	same(t, 0, looked(at.AddDate(0, 0, 5), 2))
}
