package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/out"
)

var sends = suite{
	"an endpoint gets what it hears, from when it was made":      sendsHeard,
	"six claimers get nothing twice, and nothing is left out":    sixClaimers,
	"no more is claimed than an endpoint gets at once":           sendsAtOnce,
	"a lease that ended is claimed again, and fences the first":  sendLease,
	"a backlog is a cursor, and a window of it is prepared":      sendWindow,
	"a delivery that fails comes back, and first ones go first":  sendRetries,
	"an endpoint that fails is left alone, and found again":      sendCircuit,
	"a disabled endpoint holds what it has, and goes on with it": sendHeld,
	"a new address begins anew, and hears nothing of the old":    sendMoved,
	"an event that is gone fails alone":                          sendGone,
	"what was sent is listed by state and event":                 sendList,
	"what was sent is sent again":                                replays,
	"the feed tells of replays to those who ask, and of what":    feedOfReplays,
	"what is skipped is not sent, and can be replayed":           sendSkipped,
	"deliveries are pruned with their events":                    sendPruned,
}

var publishedBefore atomic.Int64

// publish makes n events of an account.
func publish(t *testing.T, s Store, account string, n int) {
	t.Helper()
	at := publishedBefore.Add(1)
	list, acts := make([]license.TrustPolicy, n), make([]audit.Act, n)
	for i := range n {
		list[i] = newPolicy(i, account, fmt.Sprintf("%d%05d", at, i))
		list[i].Policy = oidc.Policy{ID: fmt.Sprintf("pol_%d_%05d", at, i), Issuer: "https://issuer.example", RepositoryID: fmt.Sprintf("%d%05d", at, i), OwnerID: "1"}
		acts[i] = doing(audit.PolicyAdded, account, list[i].ID, "")
	}
	_, err := s.AddPolicies(t.Context(), list, acts)
	must(t, err)
}

// claimer claims deliveries of some endpoints as a replica.
type claimer struct {
	s     Store
	owner string
	of    []out.Sealed
}

func (c claimer) claim(t *testing.T, now time.Time, limit int) []deliver.Claimed {
	t.Helper()
	ask := deliver.Claim{Owner: c.owner, Now: now, Until: now.Add(deliver.LeaseTime)}
	for _, e := range c.of {
		ask.Of = append(ask.Of, deliver.ClaimOf{Receiver: deliver.Receiver{Sealed: e}, Limit: limit})
	}
	got, err := c.s.ClaimSends(t.Context(), ask)
	must(t, err)
	slices.SortFunc(got, func(a, b deliver.Claimed) int { return cmp.Compare(a.Receiver.ID, b.Receiver.ID) })
	return got
}

// seqs are the events that were claimed.
func seqs(got ...deliver.Claimed) (list []int64) {
	for _, c := range got {
		for _, send := range c.Sends {
			list = append(list, send.Event.Seq)
		}
	}
	return list
}

// note notes that all that was claimed was answered so.
func (c claimer) note(t *testing.T, now time.Time, a deliver.Answer, got ...deliver.Claimed) deliver.Noted {
	t.Helper()
	var notes []deliver.Note
	for _, of := range got {
		for _, send := range of.Sends {
			notes = append(notes, deliver.Note{Endpoint: of.Receiver.ID, Owner: c.owner, Send: send, Answer: a})
		}
	}
	noted, err := c.s.NoteSends(t.Context(), notes, now)
	must(t, err)
	return noted
}

var accepted, refused = deliver.Answer{Status: 200, Body: "ok", Addr: "192.0.2.1:443", Took: 7 * time.Millisecond}, deliver.Answer{Status: 500}

func sendsHeard(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	publish(t, s, a.ID, 2) // before
	one, all := addEndpoint(t, s, 1, a.ID), addEndpoint(t, s, 2, "")
	typed := addEndpoint(t, s, 3, "", audit.EventAccountDeleted, audit.EventPing, audit.EventKeyRotated)
	publish(t, s, a.ID, 2)
	publish(t, s, b.ID, 1)
	_, err := s.TellEndpoint(t.Context(), typed.ID, doing(audit.EndpointTested, "", typed.ID, `{"type":"token.leaked"}`))
	must(t, err)
	c := claimer{s, "a", []out.Sealed{one, all, typed}}
	got := c.claim(t, at, 9)
	same(t, []int64{3, 4}, seqs(got[0]))
	same(t, []int64{3, 4, 5}, seqs(got[1]))
	same(t, []int64{6}, seqs(got[2]))
	if e := got[1].Sends[2].Event; e.AccountID != b.ID || e.Type != audit.EventPolicyAdded || e.ID == "" || e.Data == "" {
		t.Errorf("event = %+v, want it whole", e)
	}
	same(t, one.SealedSecret, got[0].Receiver.SealedSecret)
	for _, again := range c.claim(t, at, 9) {
		same(t, 0, len(again.Sends))
	}
}

func sixClaimers(t *testing.T, s Store) {
	a := create(t, s, 1)
	const n, many = 4, 1500
	var of []out.Sealed
	for i := range n {
		of = append(of, addEndpoint(t, s, i, a.ID))
	}
	publish(t, s, a.ID, many)
	var mu sync.Mutex
	times := map[string]int{}
	done := 0
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			c := claimer{s, fmt.Sprint("replica ", i), of}
			for {
				got := c.claim(t, at, 16)
				mu.Lock()
				for _, of := range got {
					for _, send := range of.Sends {
						times[fmt.Sprint(of.Receiver.ID, " ", send.Event.Seq)]++
						done++
					}
				}
				all := done >= n*many
				mu.Unlock()
				for _, o := range c.note(t, at, accepted, got...).Outcomes {
					if o != deliver.Delivered {
						t.Errorf("outcome = %q, want it delivered", o)
					}
				}
				if all || t.Failed() {
					return
				}
			}
		})
	}
	wg.Wait()
	same(t, n*many, len(times))
	for send, n := range times {
		if n != 1 {
			t.Fatalf("%s was claimed %d times", send, n)
		}
	}
	for _, e := range of {
		list, err := s.Sends(t.Context(), deliver.Query{Endpoint: e.ID, State: deliver.IsDelivered, Limit: 10_000})
		must(t, err)
		same(t, many, len(list))
	}
}

func sendsAtOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	publish(t, s, a.ID, 40)
	one, two := claimer{s, "a", []out.Sealed{e}}, claimer{s, "b", []out.Sealed{e}}
	first := one.claim(t, at, 10)
	second := two.claim(t, at, 10)
	same(t, 10, len(seqs(first...)))
	same(t, deliver.PerEndpoint-10, len(seqs(second...)))
	due, err := s.DueReceivers(t.Context(), at, 9)
	must(t, err)
	same(t, 0, len(due)) // nothing can be done before one of them ends
	noted := one.note(t, at, accepted, first...)
	same(t, true, noted.More[e.ID])
	due, err = s.DueReceivers(t.Context(), at, 9)
	must(t, err)
	same(t, []string{e.ID}, due)
	same(t, 10, len(seqs(two.claim(t, at, 99)...)))
}

func sendLease(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	publish(t, s, a.ID, 1)
	one, two := claimer{s, "a", []out.Sealed{e}}, claimer{s, "b", []out.Sealed{e}}
	first := one.claim(t, at, 9)
	same(t, []int64{1}, seqs(first...))
	same(t, 0, len(seqs(two.claim(t, at.Add(deliver.LeaseTime-time.Millisecond), 9)...)))
	later := at.Add(deliver.LeaseTime)
	due, err := s.DueReceivers(t.Context(), later, 9)
	must(t, err)
	same(t, []string{e.ID}, due)
	second := two.claim(t, later, 9)
	same(t, []int64{1}, seqs(second...))
	same(t, []deliver.Outcome{""}, one.note(t, later, accepted, first...).Outcomes)
	for _, state := range []deliver.State{deliver.IsDelivered, deliver.Sending} {
		list, err := s.Sends(t.Context(), deliver.Query{Endpoint: e.ID, State: state, Limit: 9})
		must(t, err)
		same(t, map[deliver.State]int{deliver.Sending: 1}[state], len(list))
	}
	same(t, []deliver.Outcome{""}, one.note(t, later, refused, first...).Outcomes)
	same(t, []deliver.Outcome{deliver.Delivered}, two.note(t, later, accepted, second...).Outcomes)
	same(t, []deliver.Outcome{""}, two.note(t, later, accepted, second...).Outcomes)
	// the same replica is fenced from what it claims later
	publish(t, s, a.ID, 1)
	before := one.claim(t, later, 9)
	even := later.Add(deliver.LeaseTime)
	now := one.claim(t, even, 9)
	same(t, seqs(before...), seqs(now...))
	same(t, []deliver.Outcome{""}, one.note(t, even, accepted, before...).Outcomes)
	same(t, []deliver.Outcome{deliver.Delivered}, one.note(t, even, accepted, now...).Outcomes)
}

func sendWindow(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	const many = 3*deliver.Window + 7
	publish(t, s, a.ID, many)
	c := claimer{s, "a", []out.Sealed{e}}
	got := c.claim(t, at, 9)
	q, err := s.QueueOf(t.Context(), e.Endpoint)
	must(t, err)
	same(t, deliver.Queue{Pending: deliver.Window, Waiting: many - deliver.Window}, q)
	same(t, true, got[0].Behind)
	var all []int64
	for len(got[0].Sends) > 0 {
		all = append(all, seqs(got...)...)
		c.note(t, at, accepted, got...)
		got = c.claim(t, at, 99)
	}
	same(t, many, len(all))
	if !slices.IsSorted(all) {
		t.Error("they were not sent in their order")
	}
	same(t, false, got[0].Behind)
}

func sendRetries(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	publish(t, s, a.ID, 2)
	c := claimer{s, "a", []out.Sealed{e}}
	got := c.claim(t, at, 1)
	same(t, []deliver.Outcome{deliver.Retry}, c.note(t, at, deliver.Answer{Status: 500, Body: "oh"}, got...).Outcomes)
	same(t, []int64{2}, seqs(c.claim(t, at, 9)...))
	later := at.Add(5 * time.Second)
	publish(t, s, a.ID, 1)
	same(t, []int64{3}, seqs(c.claim(t, later, 1)...)) // before the one that comes back
	ask := deliver.Claim{Owner: "a", Now: later, Until: later.Add(time.Minute), Of: []deliver.ClaimOf{{Receiver: deliver.Receiver{Sealed: e}, Limit: 9, FirstOnly: true}}}
	none, err := s.ClaimSends(t.Context(), ask)
	must(t, err)
	same(t, 0, len(seqs(none...)))
	got = c.claim(t, later, 9)
	same(t, []int64{1}, seqs(got...))
	same(t, int64(1), got[0].Sends[0].Tries)
	same(t, at, got[0].Sends[0].FirstAt)
	c.note(t, later, accepted, got...)
	list, err := s.Sends(t.Context(), deliver.Query{Endpoint: e.ID, State: deliver.IsDelivered, Limit: 9})
	must(t, err)
	same(t, int64(2), list[0].Tries)
	same(t, at, list[0].FirstAt)
	same(t, later, list[0].TriedAt)
}

func sendCircuit(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	publish(t, s, a.ID, 100)
	c := claimer{s, "a", []out.Sealed{e}}
	got := c.claim(t, at, 99)
	same(t, deliver.PerEndpoint, len(seqs(got...)))
	c.note(t, at, refused, got...)
	same(t, 0, len(seqs(c.claim(t, at.Add(4*time.Second), 99)...)))
	due, err := s.DueReceivers(t.Context(), at.Add(4*time.Second), 9)
	must(t, err)
	same(t, 0, len(due))
	now := at.Add(5 * time.Second)
	due, err = s.DueReceivers(t.Context(), now, 9)
	must(t, err)
	same(t, []string{e.ID}, due)
	for _, n := range []int{1, 2, 4, 8, 16, 16} {
		got = c.claim(t, now, 99)
		same(t, n, len(seqs(got...)))
		c.note(t, now, accepted, got...)
	}
	q, err := s.QueueOf(t.Context(), e.Endpoint)
	must(t, err)
	same(t, time.Time{}, q.FailingSince)
	// nothing but failures for three days
	var disabled string
	for range 200 {
		got = c.claim(t, now, 99)
		disabled = c.note(t, now, refused, got...).Disable[e.ID]
		if disabled != "" {
			break
		}
		q, err := s.QueueOf(t.Context(), e.Endpoint)
		must(t, err)
		now = now.Add(time.Second)
		if q.NextAt.After(now) {
			now = q.NextAt
		}
	}
	if disabled == "" {
		t.Error("after three days of failures nobody is told to disable it")
	}
	left, err := s.Sends(t.Context(), deliver.Query{Endpoint: e.ID, State: deliver.GaveUp, Limit: 99})
	must(t, err)
	same(t, 0, len(left)) // they are kept
}

func setStatus(t *testing.T, s Store, e out.Sealed, to out.Status) out.Sealed {
	t.Helper()
	e, err := s.ChangeEndpoint(t.Context(), e.ID, func(e *out.Sealed) error { e.Status = to; return nil }, doing(audit.EndpointUpdated, "", e.ID, ""))
	must(t, err)
	return e
}

func sendHeld(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	publish(t, s, a.ID, 3)
	c := claimer{s, "a", []out.Sealed{e}}
	got := c.claim(t, at, 1)
	noted := c.note(t, at, deliver.Answer{Status: 410}, got...)
	same(t, map[string]string{e.ID: "its receiver answered 410 Gone"}, noted.Disable)
	same(t, 0, len(seqs(c.claim(t, at, 9)...))) // also before it is disabled
	disabled := setStatus(t, s, e, out.Disabled)
	publish(t, s, a.ID, 2)
	c.of = []out.Sealed{disabled}
	later := at.Add(1000 * time.Hour)
	same(t, 0, len(seqs(c.claim(t, later, 9)...)))
	due, err := s.DueReceivers(t.Context(), later, 9)
	must(t, err)
	same(t, 0, len(due))
	list, err := s.Sends(t.Context(), deliver.Query{Endpoint: e.ID, State: deliver.Held, Limit: 9})
	must(t, err)
	same(t, 3, len(list))
	stock, err := s.SendStock(t.Context())
	must(t, err)
	same(t, deliver.Stock{
		Pending: map[out.Status]int64{out.Disabled: 3}, Oldest: map[out.Status]time.Time{out.Disabled: at}, Endpoints: map[out.Status]int64{out.Disabled: 1},
	}, stock)
	c.of = []out.Sealed{setStatus(t, s, disabled, out.Active)}
	ask := deliver.Claim{Owner: "a", Now: later, Until: later.Add(time.Minute), Of: []deliver.ClaimOf{{Receiver: deliver.Receiver{Sealed: c.of[0]}, Limit: 9, Changed: true}}}
	all, err := s.ClaimSends(t.Context(), ask)
	must(t, err)
	same(t, []int64{1, 2, 3, 4, 5}, seqs(all...))
	same(t, int64(0), all[0].Sends[0].Tries) // it begins anew
	if why := c.note(t, later, refused, all...).Disable; len(why) > 0 {
		t.Errorf("the first failure after it was enabled disables it: %v", why)
	}
}

// A new address starts with a closed circuit, and what the old one answers counts for nothing.
func sendMoved(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	publish(t, s, a.ID, 40)
	c := claimer{s, "a", []out.Sealed{e}}
	old := c.claim(t, at, 10)
	first := []deliver.Claimed{{Receiver: old[0].Receiver, Sends: old[0].Sends[:6]}}
	c.note(t, at, refused, first...)
	q, err := s.QueueOf(t.Context(), e.Endpoint)
	must(t, err)
	same(t, true, q.NextAt.After(at)) // its circuit is open

	e, err = s.ChangeEndpoint(t.Context(), e.ID, func(e *out.Sealed) error {
		e.URL = "https://example.com/moved"
		return nil
	}, doing(audit.EndpointUpdated, "", e.ID, ""))
	must(t, err)
	q, err = s.QueueOf(t.Context(), e.Endpoint)
	must(t, err)
	same(t, deliver.Queue{Pending: 40}, q)

	late := []deliver.Claimed{{Receiver: old[0].Receiver, Sends: old[0].Sends[6:9]}}
	for _, a := range []deliver.Answer{refused, {Status: 410}} {
		noted := c.note(t, at, a, late...)
		same(t, []deliver.Outcome{"", "", ""}, noted.Outcomes)
		same(t, map[string]string{}, noted.Disable)
	}
	ask := deliver.Claim{Owner: "b", Now: at, Until: at.Add(deliver.LeaseTime), Of: []deliver.ClaimOf{{
		Receiver: deliver.Receiver{Sealed: e}, Limit: 99, Changed: true,
	}}}
	got, err := s.ClaimSends(t.Context(), ask)
	must(t, err)
	if n := len(seqs(got...)); n != deliver.PerEndpoint {
		t.Fatalf("the new address gets %d at once, want %d", n, deliver.PerEndpoint)
	}
	same(t, seqs(old...), seqs(got...)[:10]) // those that failed, and those on their way
	for _, send := range got[0].Sends {
		if send.Tries != 0 || !send.FirstAt.IsZero() {
			t.Errorf("event %d was tried %d times at the new address", send.Event.Seq, send.Tries)
		}
	}
	same(t, "https://example.com/moved", got[0].Receiver.URL)
	late[0].Sends = old[0].Sends[9:] // also when another replica has it by now
	same(t, map[string]string{}, c.note(t, at, deliver.Answer{Status: 410}, late...).Disable)
}

func sendGone(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	publish(t, s, a.ID, 3)
	c := claimer{s, "a", []out.Sealed{e}}
	got := c.claim(t, at, 9)
	c.note(t, at, deliver.Answer{Cut: true, Err: "stopped"}, got...)
	// a disabled endpoint does not keep events from being pruned
	disabled := setStatus(t, s, e, out.Disabled)
	prune(t, s, claim(t, s), 9*day, 8*day)
	same(t, 0, len(told(t, s, 0)))
	c.of = []out.Sealed{setStatus(t, s, disabled, out.Active)}
	publish(t, s, a.ID, 1)
	got = c.claim(t, at, 9)
	same(t, []int64{1, 2, 3, 4}, seqs(got...))
	for i, send := range got[0].Sends {
		if (send.Fault != "") != (i < 3) {
			t.Errorf("event %d: fault %q", send.Event.Seq, send.Fault)
		}
	}
	same(t, []deliver.Outcome{deliver.Failed, deliver.Failed, deliver.Failed, deliver.Delivered}, c.note(t, at, accepted, got...).Outcomes)
}

func sendList(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	publish(t, s, a.ID, 5)
	c := claimer{s, "a", []out.Sealed{e}}
	got := c.claim(t, at, 2)
	event := got[0].Sends[0].Event
	c.note(t, at, accepted, got...)
	must(t, s.AddReplay(t.Context(), deliver.Replay{ID: "rpl_1", EndpointID: e.ID, Extent: deliver.Extent{After: 0, To: 1, Total: 1}, CreatedAt: at}, did(at)))
	got = c.claim(t, at, 1) // the oldest
	c.note(t, at, refused, got...)
	var found []string
	q := deliver.Query{Endpoint: e.ID, Limit: 2}
	for {
		list, err := s.Sends(t.Context(), q)
		must(t, err)
		if len(list) == 0 {
			break
		}
		for _, d := range list {
			found = append(found, fmt.Sprint(d.Event.Seq, " ", d.State, " ", d.Last.Status, " ", d.Replay))
			q.After = deliver.Position{Seq: d.Event.Seq, N: d.N}
			if d.EndpointID != e.ID || d.Event.ID == "" {
				t.Errorf("delivery = %+v", d)
			}
		}
	}
	same(t, []string{"5 pending 0 ", "4 pending 0 ", "3 pending 0 ", "2 delivered 200 ", "1 pending 500 rpl_1", "1 delivered 200 "}, found)
	list, err := s.Sends(t.Context(), deliver.Query{Endpoint: e.ID, Event: event.ID, Limit: 9})
	must(t, err)
	same(t, 2, len(list))
	same(t, deliver.Delivery{
		EndpointID: e.ID, Event: out.Event{Seq: 1, ID: event.ID, Type: event.Type, AccountID: a.ID, At: event.At}, State: deliver.IsDelivered, N: 1, Tries: 1, FirstAt: at, TriedAt: at,
		Last: deliver.Answer{Status: 200, Body: "ok", Addr: "192.0.2.1:443", Took: 7 * time.Millisecond},
	}, list[1])
	_, err = s.Sends(t.Context(), deliver.Query{Endpoint: e.ID, Event: "evt_none", Limit: 9})
	wantErr(t, "Sends(no such event)", err, failure.ErrNotFound)
}

func replays(t *testing.T, s Store) {
	a := create(t, s, 1)
	publish(t, s, a.ID, 2) // before there was an endpoint
	e := addEndpoint(t, s, 1, a.ID)
	const many = deliver.Window + 300
	publish(t, s, a.ID, many)
	c := claimer{s, "a", []out.Sealed{e}}
	drain := func() (all []int64) {
		for {
			got := c.claim(t, at, 99)
			if len(got[0].Sends) == 0 {
				return all
			}
			all = append(all, seqs(got...)...)
			c.note(t, at, accepted, got...)
		}
	}
	same(t, many, len(drain()))
	count := func(scope deliver.Scope) deliver.Extent {
		x, err := s.CountReplay(t.Context(), e.Endpoint, scope)
		must(t, err)
		return x
	}
	event := told(t, s, 0)[9]
	same(t, deliver.Extent{After: 9, To: 10, Total: 1}, count(deliver.Scope{Event: event.ID}))
	same(t, deliver.Extent{After: 0, To: many + 2, Total: many + 2}, count(deliver.Scope{}))
	same(t, int64(2), count(deliver.Scope{Undelivered: true}).Total) // those that were never tried
	same(t, int64(0), count(deliver.Scope{Since: at.Add(time.Second)}).Total)
	same(t, int64(0), count(deliver.Scope{Until: at}).Total)
	same(t, int64(many+2), count(deliver.Scope{Since: at, Until: at.Add(time.Millisecond)}).Total)
	_, err := s.CountReplay(t.Context(), e.Endpoint, deliver.Scope{Event: "evt_none"})
	wantErr(t, "CountReplay(no such event)", err, failure.ErrNotFound)

	all := deliver.Replay{ID: "rpl_1", EndpointID: e.ID, Extent: count(deliver.Scope{}), CreatedAt: at}
	must(t, s.AddReplay(t.Context(), all, did(at)))
	wantErr(t, "AddReplay(again)", s.AddReplay(t.Context(), all, did(at)), failure.ErrConflict)
	due, err := s.DueReceivers(t.Context(), at, 9)
	must(t, err)
	same(t, []string{e.ID}, due)
	got := c.claim(t, at, 1)
	list, err := s.Replays(t.Context(), deliver.ReplayQuery{Endpoint: e.ID, Limit: 9})
	must(t, err)
	if r := list[0]; r.Queued != deliver.Window || !r.EndedAt.IsZero() || r.Total != many+2 {
		t.Errorf("replay = %+v, want a window of it queued", r)
	}
	same(t, true, got[0].Sends[0].Replayed)
	c.note(t, at, accepted, got...)
	same(t, many+1, len(drain()))
	list, err = s.Replays(t.Context(), deliver.ReplayQuery{Endpoint: e.ID, Limit: 9})
	must(t, err)
	if r := list[0]; r.Queued != many+2 || !r.EndedAt.Equal(at) {
		t.Errorf("replay = %+v, want it ended", r)
	}
	due, err = s.DueReceivers(t.Context(), at, 9)
	must(t, err)
	same(t, 0, len(due))
	same(t, int64(0), count(deliver.Scope{Undelivered: true}).Total)

	second := deliver.Replay{ID: "rpl_2", EndpointID: e.ID, Extent: count(deliver.Scope{Event: event.ID}), CreatedAt: at.Add(time.Second)}
	must(t, s.AddReplay(t.Context(), second, did(at)))
	same(t, []int64{10}, drain())
	list, err = s.Replays(t.Context(), deliver.ReplayQuery{Endpoint: e.ID, After: "rpl_2", Limit: 9})
	must(t, err)
	same(t, []string{"rpl_1"}, []string{list[0].ID})
	third := second
	third.ID, third.EndpointID = "rpl_3", "wh_none"
	wantErr(t, "AddReplay(no such endpoint)", s.AddReplay(t.Context(), third, did(at)), failure.ErrNotFound)
}

// The feed tells of a replay in its order to those who ask for that, and of what it sends; endpoints
// get neither.
func feedOfReplays(t *testing.T, s Store) {
	a, other := create(t, s, 1), create(t, s, 2)
	e := addEndpoint(t, s, 1, a.ID)
	all := addEndpoint(t, s, 2, "")
	publish(t, s, a.ID, 4)
	publish(t, s, other.ID, 2)
	c := claimer{s, "a", []out.Sealed{e}}
	got := c.claim(t, at, 2)
	c.note(t, at, accepted, got...)
	must(t, s.AddReplay(t.Context(), deliver.Replay{
		ID: "rpl_1", EndpointID: e.ID, Extent: deliver.Extent{After: 0, To: 6, Total: 2}, Undelivered: true, CreatedAt: at,
	}, doing(audit.DeliveryReplayed, a.ID, e.ID, `{"replay":"rpl_1","events":2,"after":0,"to":6,"undelivered":true}`)))

	read := func(q out.FeedQuery) (list []string) {
		t.Helper()
		if q.Limit == 0 {
			q.Limit = 99
		}
		page, err := s.EventsAfter(t.Context(), q)
		must(t, err)
		for _, e := range page.Events {
			list = append(list, fmt.Sprint(e.Seq, " ", e.Type))
		}
		return list
	}
	const told = "7 webhook.replayed"
	for about, q := range map[string]out.FeedQuery{"everybody": {After: 6}, "with tests": {After: 6, Tests: true}, "of its type": {After: 6, Type: audit.EventReplayed}} {
		if list := read(q); len(list) > 0 {
			t.Errorf("the feed for %s has %v", about, list)
		}
	}
	for about, q := range map[string]out.FeedQuery{
		"who asks": {After: 6, Replays: true}, "with tests too": {After: 6, Replays: true, Tests: true}, "of an account": {After: 6, Replays: true, Account: a.ID},
		"of another type": {After: 3, Replays: true, Type: audit.EventPing},
	} {
		if list := read(q); !slices.Equal(list, []string{told}) {
			t.Errorf("the feed for one %s has %v, want %q", about, list, told)
		}
	}
	same(t, 0, len(read(out.FeedQuery{After: 6, Replays: true, Account: other.ID})))

	want := []string{"3 policy.added", "4 policy.added"} // those that it had not accepted
	same(t, want, read(out.FeedQuery{Replay: "rpl_1"}))
	c.of = []out.Sealed{e, all}
	for got = c.claim(t, at, 99); len(seqs(got...)) > 0; got = c.claim(t, at, 99) {
		if slices.Contains(seqs(got...), 7) {
			t.Error("an endpoint gets what tells of the replay")
		}
		c.note(t, at.Add(time.Second), accepted, got...)
	}
	same(t, want, read(out.FeedQuery{Replay: "rpl_1"})) // however far it is
	same(t, want[:1], read(out.FeedQuery{Replay: "rpl_1", Limit: 1}))
	same(t, want[1:], read(out.FeedQuery{Replay: "rpl_1", After: 3}))
	same(t, 0, len(read(out.FeedQuery{Replay: "rpl_1", Type: audit.EventPing})))
	page, err := s.EventsAfter(t.Context(), out.FeedQuery{Replay: "rpl_1", After: 4, Limit: 9})
	must(t, err)
	same(t, int64(6), page.Next) // its end, and not that of the feed

	_, err = s.EventsAfter(t.Context(), out.FeedQuery{Replay: "rpl_none", Limit: 9})
	wantErr(t, "EventsAfter(no such replay)", err, failure.ErrNotFound)
	must(t, s.RemoveEndpoint(t.Context(), e.ID, did(at)))
	_, err = s.EventsAfter(t.Context(), out.FeedQuery{Replay: "rpl_1", Limit: 9})
	wantErr(t, "EventsAfter(its endpoint was removed)", err, failure.ErrNotFound)
}

func sendSkipped(t *testing.T, s Store) {
	a := create(t, s, 1)
	e := addEndpoint(t, s, 1, a.ID)
	const many = deliver.Window + 10
	publish(t, s, a.ID, many)
	c := claimer{s, "a", []out.Sealed{e}}
	got := c.claim(t, at, 1)
	n, err := s.SkipSends(t.Context(), e.Endpoint, at, did(at))
	must(t, err)
	same(t, int64(many-1), n) // one is being sent
	same(t, []deliver.Outcome{deliver.Delivered}, c.note(t, at, accepted, got...).Outcomes)
	same(t, 0, len(seqs(c.claim(t, at, 9)...)))
	publish(t, s, a.ID, 1)
	same(t, []int64{many + 1}, seqs(c.claim(t, at, 9)...))
	list, err := s.Sends(t.Context(), deliver.Query{Endpoint: e.ID, State: deliver.Skipped, Limit: 9999})
	must(t, err)
	same(t, deliver.Window-1, len(list))
	x, err := s.CountReplay(t.Context(), e.Endpoint, deliver.Scope{Undelivered: true})
	must(t, err)
	same(t, int64(many), x.Total) // those behind the window too, and the one that is being sent
}

func sendPruned(t *testing.T, s Store) {
	a := create(t, s, 1)
	one, two := addEndpoint(t, s, 1, a.ID), addEndpoint(t, s, 2, a.ID)
	publish(t, s, a.ID, 700)
	c := claimer{s, "a", []out.Sealed{one}}
	got := c.claim(t, at, 99)
	for len(got[0].Sends) > 0 {
		c.note(t, at, accepted, got...)
		got = c.claim(t, at, 99)
	}
	held := claim(t, s)
	prune(t, s, held, 9*day, 8*day)
	same(t, 700, len(told(t, s, 0))) // the other one has not got them
	must(t, s.RemoveEndpoint(t.Context(), two.ID, did(at)))
	prune(t, s, held, 9*day, 8*day)
	same(t, 0, len(told(t, s, 0)))
	list, err := s.Sends(t.Context(), deliver.Query{Endpoint: one.ID, Limit: 9})
	must(t, err)
	same(t, 0, len(list))
}
