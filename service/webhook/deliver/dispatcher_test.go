package deliver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/postgrestest"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/out"
	"github.com/pageflare/ci/service/webhook/signature"
)

// world is a database with its nouns, and a clock that stands unless somebody moves it.
type world struct {
	*parts.Parts
	store *store.Store
	t     *testing.T
	n     int
	mu    sync.Mutex
	at    time.Time
}

func TestMain(m *testing.M) { os.Exit(postgrestest.Run(m)) }

// onBoth runs a test on a new database of each engine.
func onBoth(t *testing.T, test func(*testing.T, *world)) {
	t.Helper()
	for engine, database := range map[string]func(testing.TB) string{
		"sqlite": sqlitetest.New, "postgres": postgrestest.New,
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, database(t)))
		})
	}
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	master, err := keyring.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, at: at, store: s}
	w.Parts, err = parts.New(t.Context(), parts.Config{
		Stores: parts.On(s), MasterKey: master, Issuer: "https://license.example", TokenTTL: time.Hour, WebhookAllow: loopback, Now: w.now, Rand: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// replica is a dispatcher. It polls when it is told to, and counts what came of its attempts.
type replica struct {
	polls chan time.Time
	log   bytes.Buffer
	stop  func()

	mu       sync.Mutex
	outcomes map[string]int
	changed  chan struct{}
}

func (r *replica) Attempted(outcome string, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[outcome]++
	select {
	case r.changed <- struct{}{}:
	default:
	}
}
func (r *replica) Began(time.Duration) {}
func (r *replica) Faulted(what string) { r.Attempted("fault: "+what, 0) }

func (r *replica) count(outcome string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcomes[outcome]
}

// wait polls until as many attempts had an outcome.
func (r *replica) wait(t *testing.T, outcome string, n int) {
	t.Helper()
	for r.count(outcome) < n {
		select {
		case <-r.changed:
		case r.polls <- time.Time{}:
		case <-t.Context().Done():
			t.Fatal("it never came")
		}
	}
}

// replica starts a dispatcher.
func (w *world) replica(name string, limit time.Duration) *replica {
	w.t.Helper()
	r := &replica{polls: make(chan time.Time), outcomes: map[string]int{}, changed: make(chan struct{}, 1)}
	sender := deliver.NewSender(deliver.SenderConfig{Guard: deliver.NewGuard(loopback, nil, ownAddress), Agent: "test", Now: w.now, Limit: limit})
	d := w.Dispatcher(deliver.Config{
		Sender: sender, Owner: name, After: func(time.Duration) <-chan time.Time { return r.polls }, Random: func() float64 { return 0 },
		Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Meter: r,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		ended := make(chan struct{})
		go func() { running.Wait(); close(ended) }()
		for {
			select {
			case <-ended:
				return
			case r.polls <- time.Time{}: // its patience is over, unless it took that for another poll
			}
		}
	})
	w.t.Cleanup(r.stop)
	return r
}

// happen makes an event that everybody hears who hears all accounts.
func (w *world) happen() {
	w.t.Helper()
	w.n++
	if _, _, err := w.Accounts.CreateAccount(w.actor(), account.NewAccount{
		Email: fmt.Sprintf("dev%d@example.com", w.n), Tier: account.Pro, ValidUntil: at.AddDate(1, 0, 0),
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) actor() context.Context {
	return audit.WithActor(w.t.Context(), audit.Actor{Kind: audit.ActorCommand, ID: "test"})
}

func (w *world) endpoint(url string) out.Endpoint {
	w.t.Helper()
	e, err := w.Endpoints.Add(w.actor(), out.NewEndpoint{URL: url, Events: []audit.EventType{audit.EventAccountCreated, audit.EventWebhookDisabled}})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// receiver is a strict one: it verifies what it gets, and remembers the ids.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	got    map[string]int
	wrong  []string
	answer http.HandlerFunc // nil: 204
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{got: map[string]int{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.Close()
		for _, w := range r.wrong {
			t.Error(w)
		}
	})
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	r.mu.Lock()
	if err == nil {
		var m signature.Message
		if m, err = signature.Verify(q.Header, body, at, r.secret); err == nil || strings.Contains(err.Error(), "timestamp") { // the clock of a test may have moved
			err = nil
			r.got[m.ID]++
		}
	}
	if err != nil {
		r.wrong = append(r.wrong, err.Error())
	}
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		answer(w, q)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) answers(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

func (r *receiver) ids() (ids, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.got {
		times += n
	}
	return len(r.got), times
}

func (w *world) receiver() (*receiver, out.Endpoint) {
	w.t.Helper()
	r := newReceiver(w.t)
	e := w.endpoint(r.URL + "/path-that-is-secret")
	r.secret = e.Secret.Reveal()
	return r, e
}

func TestWhatHappensIsSent(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		received, e := w.receiver()
		d := w.replica("a", 0)
		for range 40 {
			w.happen()
		}
		d.wait(t, "delivered", 40)
		if ids, times := received.ids(); ids != 40 || times != 40 {
			t.Errorf("received %d events %d times, want 40 once", ids, times)
		}
		d.stop()
		list, err := w.Sent.Deliveries(t.Context(), deliver.Query{Endpoint: e.ID, State: deliver.IsDelivered, Limit: 99})
		if err != nil || len(list) != 40 {
			t.Errorf("the history has %d (%v), want 40", len(list), err)
		}
		if log := d.log.String(); strings.Contains(log, "path-that-is-secret") || !strings.Contains(log, "host=127.0.0.1") || strings.Contains(log, "whsec_") {
			t.Errorf("the log must have the host alone:\n%s", log)
		}
	})
}

// A dead receiver and one that is slow hold up nobody else, however much is queued for them.
func TestNoReceiverHoldsUpAnother(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		slow, _ := w.receiver()
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		slow.answers(func(rw http.ResponseWriter, q *http.Request) {
			select {
			case <-release:
			case <-q.Context().Done():
			}
		})
		w.endpoint("http://127.0.0.1:1/nobody-listens")
		for range 200 {
			w.happen()
		}
		d := w.replica("a", time.Minute)
		d.wait(t, "retry", 16)
		good, _ := w.receiver()
		w.happen()
		d.wait(t, "delivered", 1)
		if ids, _ := good.ids(); ids != 1 {
			t.Errorf("the good one got %d, want 1", ids)
		}
		if _, times := slow.ids(); times > deliver.PerEndpoint {
			t.Errorf("the slow one has %d at once, want %d at most", times, deliver.PerEndpoint)
		}
	})
}

func TestAnEndpointThatIsGoneIsDisabledAndGoesOnLater(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		gone, e := w.receiver()
		other, _ := w.receiver()
		gone.answers(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusGone) })
		d := w.replica("a", 0)
		w.happen()
		d.wait(t, "gone", 1)
		d.wait(t, "delivered", 2) // the event, and that the endpoint was disabled
		if ids, _ := other.ids(); ids != 2 {
			t.Errorf("the other endpoint heard %d events, want 2", ids)
		}
		now, err := w.Endpoints.Endpoint(t.Context(), e.ID)
		if err != nil || now.Status != out.Disabled || now.Reason != "its receiver answered 410 Gone" {
			t.Errorf("endpoint = %+v, %v, want it disabled", now, err)
		}
		w.happen()
		d.wait(t, "delivered", 3)
		if ids, _ := gone.ids(); ids != 1 {
			t.Errorf("a disabled endpoint got %d events, want the one", ids)
		}
		if _, err := w.Sent.Replay(w.actor(), e.ID, deliver.Scope{Undelivered: true}); err == nil || !strings.Contains(err.Error(), "enable it first") {
			t.Errorf("Replay to a disabled endpoint = %v", err)
		}
		gone.answers(nil)
		if _, err := w.Endpoints.Update(w.actor(), e.ID, out.Change{Status: new(out.Active)}); err != nil {
			t.Fatal(err)
		}
		d.wait(t, "delivered", 6) // both events, and that it was disabled
		if ids, _ := gone.ids(); ids != 3 {
			t.Errorf("it got %d events, want all 3", ids)
		}
	})
}

// A new address is asked at once, also with what the old one has, and what the old one says of that
// counts for nothing.
func TestANewAddressIsAskedAtOnceAndTheOldOneCountsNoMore(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		old, e := w.receiver()
		old.answers(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
		d := w.replica("a", time.Minute)
		const failed = 5 // in a row: from then on it is left alone
		for range failed {
			w.happen()
		}
		d.wait(t, "retry", failed)
		held := make(chan struct{})
		release := sync.OnceFunc(func() { close(held) })
		t.Cleanup(release)
		old.answers(func(rw http.ResponseWriter, q *http.Request) {
			<-held
			rw.WriteHeader(http.StatusGone)
		})
		w.pass(10 * time.Second)
		d.poll(t, func() bool { _, times := old.ids(); return times == failed+1 })

		new := newReceiver(t)
		new.secret = e.Secret.Reveal()
		if _, err := w.Endpoints.Update(w.actor(), e.ID, out.Change{URL: &new.URL}); err != nil {
			t.Fatal(err)
		}
		d.wait(t, "delivered", failed)
		if ids, times := new.ids(); ids != failed || times != failed {
			t.Errorf("the new address got %d events %d times, want %d once", ids, times, failed)
		}
		release()
		d.wait(t, "lost", 1)
		if now, err := w.Endpoints.Endpoint(t.Context(), e.ID); err != nil || now.Status != out.Active {
			t.Errorf("after the old address answered 410: %+v, %v, want it active", now, err)
		}
		w.happen()
		d.wait(t, "delivered", failed+1)
	})
}

// A replica that is killed between claim and answer, or between answer and record, loses nothing:
// another one sends it again when the lease has ended, under the same id.
func TestAReplicaThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		received, e := w.receiver()
		for range 30 {
			w.happen()
		}
		// what a killed replica leaves: some claimed and not sent, some sent and not noted
		sealed, err := w.store.Endpoint(t.Context(), e.ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.store.ClaimSends(t.Context(), deliver.Claim{
			Owner: "killed", Now: at, Until: at.Add(deliver.LeaseTime), Of: []deliver.ClaimOf{{Receiver: deliver.Receiver{Sealed: sealed}, Limit: 8}},
		})
		if err != nil || len(got) != 1 || len(got[0].Sends) != 8 {
			t.Fatalf("claimed %v, %v", got, err)
		}
		claim := got[0].Sends
		sender := deliver.NewSender(deliver.SenderConfig{Guard: deliver.NewGuard(loopback, nil, ownAddress), Now: w.now})
		defer sender.Close()
		for _, s := range claim[:3] {
			a := sender.Send(t.Context(), deliver.Attempt{URL: e.URL, Secrets: []string{e.Secret.Reveal()}, EventID: s.Event.ID, Type: string(s.Event.Type), Body: s.Event.Body()})
			if !a.Success() {
				t.Fatalf("answer = %+v", a)
			}
		}
		d := w.replica("b", 0)
		d.wait(t, "delivered", 22)
		if ids, times := received.ids(); ids != 25 || times != 25 {
			t.Errorf("before the lease ends: %d events %d times, want 25 once", ids, times)
		}
		w.pass(deliver.LeaseTime)
		d.wait(t, "delivered", 30)
		if ids, times := received.ids(); ids != 30 || times != 33 {
			t.Errorf("received %d events %d times, want 30, and 3 of them twice", ids, times)
		}
	})
}

// Two replicas share the work, and one stops in the middle: it gives back what it cannot finish.
func TestAReplicaThatStopsGivesBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		received, _ := w.receiver()
		hold := make(chan struct{})
		received.answers(func(rw http.ResponseWriter, q *http.Request) {
			select {
			case <-hold:
				rw.WriteHeader(http.StatusNoContent)
			case <-q.Context().Done():
			}
		})
		for range 20 {
			w.happen()
		}
		one := w.replica("a", time.Minute)
		for {
			if _, times := received.ids(); times == deliver.PerEndpoint {
				break
			}
			select {
			case one.polls <- time.Time{}:
			case <-t.Context().Done():
				t.Fatal("they never came")
			}
		}
		one.stop()
		if n := one.count("cut"); n != deliver.PerEndpoint {
			t.Errorf("%d were given back, want %d", n, deliver.PerEndpoint)
		}
		close(hold)
		two := w.replica("b", 0)
		two.wait(t, "delivered", 20) // no lease has to end first
		if ids, _ := received.ids(); ids != 20 {
			t.Errorf("received %d events, want 20", ids)
		}
	})
}

func TestAReplayReachesAReceiverThatWasAway(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		received, e := w.receiver()
		received.answers(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
		d := w.replica("a", 0)
		for range 3 {
			w.happen()
		}
		d.wait(t, "retry", 3)
		if n, err := w.Sent.Skip(w.actor(), e.ID); err != nil || n != 3 {
			t.Fatalf("Skip = %d, %v, want 3", n, err)
		}
		received.answers(nil)
		w.happen()
		d.wait(t, "delivered", 1)
		n, err := w.Sent.Count(t.Context(), e.ID, deliver.Scope{Undelivered: true})
		if err != nil || n != 3 {
			t.Fatalf("Count = %d, %v, want 3", n, err)
		}
		r, err := w.Sent.Replay(w.actor(), e.ID, deliver.Scope{Undelivered: true})
		if err != nil || r.Total != 3 {
			t.Fatalf("Replay = %+v, %v", r, err)
		}
		d.wait(t, "delivered", 4)
		list, err := w.Sent.Replays(t.Context(), deliver.ReplayQuery{Endpoint: e.ID, Limit: 9})
		if err != nil || len(list) != 1 || list[0].Queued != 3 || list[0].EndedAt.IsZero() {
			t.Errorf("replays = %+v, %v", list, err)
		}
	})
}

// blocked is a receiver that takes what is sent and answers when it is released.
func (w *world) blocked(r *receiver) (release func()) {
	held := make(chan struct{})
	r.answers(func(rw http.ResponseWriter, q *http.Request) {
		select {
		case <-held:
			rw.WriteHeader(http.StatusNoContent)
		case <-q.Context().Done():
		}
	})
	release = sync.OnceFunc(func() { close(held) })
	w.t.Cleanup(release)
	return release
}

// poll lets the dispatcher look until f says that it has seen enough.
func (r *replica) poll(t *testing.T, f func() bool) {
	t.Helper()
	for !f() {
		select {
		case <-r.changed:
		case r.polls <- time.Time{}:
		case <-t.Context().Done():
			t.Fatal("it never came")
		}
	}
}

// What happens while as many attempts are on their way as an endpoint may have is sent when they end.
func TestWhatHappensWhileAnEndpointIsFullIsSentToo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		full, _ := w.receiver()
		release := w.blocked(full)
		d := w.replica("a", time.Minute)
		for range deliver.PerEndpoint {
			w.happen()
		}
		d.poll(t, func() bool { ids, _ := full.ids(); return ids == deliver.PerEndpoint })
		w.happen()
		for range 3 { // it sees the event, and has no room
			d.polls <- time.Time{}
		}
		release()
		d.wait(t, "delivered", deliver.PerEndpoint+1)
	})
}

// An endpoint that is removed with attempts on their way takes nothing from others of its account.
func TestARemovedEndpointLeavesItsAccountAllSlots(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		a, _, err := w.Accounts.CreateAccount(w.actor(), account.NewAccount{Email: "owner@example.com", Tier: account.Pro, ValidUntil: at.AddDate(1, 0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		updates := 0
		update := func() {
			updates++
			if _, err := w.Accounts.UpdateAccount(w.actor(), a.ID, account.Change{Features: &[]string{fmt.Sprintf("feature_%d", updates)}}); err != nil {
				t.Fatal(err)
			}
		}
		add := func() (*receiver, out.Endpoint) {
			r := newReceiver(t)
			e, err := w.Endpoints.Add(w.actor(), out.NewEndpoint{AccountID: a.ID, URL: r.URL, Events: []audit.EventType{audit.EventAccountUpdated}})
			if err != nil {
				t.Fatal(err)
			}
			r.secret = e.Secret.Reveal()
			return r, e
		}
		var all []*receiver
		var endpoints []string
		var release []func()
		for range 4 {
			r, e := add()
			all, endpoints, release = append(all, r), append(endpoints, e.ID), append(release, w.blocked(r))
		}
		d := w.replica("a", time.Minute)
		for range deliver.PerEndpoint {
			update()
		}
		d.poll(t, func() bool {
			n := 0
			for _, r := range all {
				ids, _ := r.ids()
				n += ids
			}
			return n == 4*deliver.PerEndpoint
		})
		for _, id := range endpoints {
			if _, err := w.Endpoints.Remove(w.actor(), id); err != nil {
				t.Fatal(err)
			}
		}
		good, _ := add()
		for range 3 { // it learns that they are gone
			d.polls <- time.Time{}
		}
		for _, f := range release {
			f()
		}
		update()
		d.poll(t, func() bool {
			w.pass(time.Second) // it may find the account full at first, and looks again
			ids, _ := good.ids()
			return ids == 1
		})
	})
}
