package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/webhook/out"
)

// The dispatcher of a replica: it hears that there is something new, claims what is due, sends it,
// and notes what came of it.
//
// # No receiver holds up another
//
// An endpoint gets PerEndpoint deliveries at once, from all replicas together; an account perAccount
// from this one. Of the slots that are free an endpoint gets a share only, one at least, so that
// they are never used up by a few whose receivers are slow. Deliveries that were tried before get
// half of the slots at most. Claims are for the endpoints that have something to do, so what is
// queued for others costs nothing.
const (
	slots      = 512
	retrySlots = slots / 2
	perAccount = 64
	share      = 8 // an endpoint gets this part of what is free
)

// The times of the dispatcher.
const (
	// pollEvery is how often other replicas and waits that are over are looked for, at most half of
	// it less.
	pollEvery = 500 * time.Millisecond
	// behindEvery is how often an endpoint is looked at that has more events than its window.
	behindEvery = 2 * time.Second
	// callTime bounds a call of the database.
	callTime = 8 * time.Second
	// drainTime is how long attempts under way may take when the service stops.
	drainTime = 5 * time.Second
	// claimedAtOnce is for how many endpoints one transaction claims.
	claimedAtOnce = 16
	// notedAtOnce is of how many attempts one transaction notes what came of them.
	notedAtOnce = 128
	// headsAtOnce is how many events are looked at at once for who hears them.
	headsAtOnce = 2000
)

// Disabler stops sending to an endpoint, and tells that it did.
type Disabler interface {
	Disable(ctx context.Context, id, url, reason string) error
}

// Config is what a Dispatcher is made of. All must be set unless they say what nil means.
type Config struct {
	Store     Store
	Endpoints Disabler
	Master    keyring.MasterKey
	Sender    *Sender
	Published <-chan struct{} // gets a value when this process wrote events
	Owner     string          // tells this replica from others, and from itself after a restart
	Now       func() time.Time
	After     func(time.Duration) <-chan time.Time
	Random    func() float64 // from 0 up to 1
	Log       *slog.Logger
	Meter     Meter // nil: nobody wants to know
}

// Meter is told what came of attempts.
type Meter interface {
	// Attempted counts an attempt by its outcome, or "lost": another replica had the delivery.
	Attempted(outcome string, took time.Duration)
	// Began is told the time from an event to the first attempt at a delivery of it.
	Began(waited time.Duration)
	// Faulted counts what could not be done, by what: database, endpoint, event.
	Faulted(what string)
}

// Dispatcher sends what is due. Run does it.
type Dispatcher struct {
	cfg   Config
	notes chan Note

	// of Run alone
	heads     Heads
	known     map[string]Receiver
	lookedAt  map[string]int64     // the newest event when an endpoint was looked at last
	behind    map[string]time.Time // when an endpoint is looked at again that has more than its window
	marked    map[string]bool      // there is something to do for it, as far as we know
	changed   map[string]bool      // it was made, changed or enabled
	inFlight  map[string]int       // by endpoint
	ofAccount map[string]int
	used      int
	retrying  int
	quiet     time.Time // when a fault of the database may be logged again

	sending sync.WaitGroup
}

// New returns a dispatcher.
func New(c Config) *Dispatcher {
	if c.Meter == nil {
		c.Meter = noMeter{}
	}
	return &Dispatcher{
		cfg: c, notes: make(chan Note, slots), known: map[string]Receiver{}, lookedAt: map[string]int64{}, behind: map[string]time.Time{},
		marked: map[string]bool{}, changed: map[string]bool{}, inFlight: map[string]int{}, ofAccount: map[string]int{}, heads: Heads{Endpoints: -1},
	}
}

// Run sends what is due until ctx ends. Attempts that are under way then have a few seconds to end;
// those that do not are given back, and begin anew elsewhere.
func (d *Dispatcher) Run(ctx context.Context) {
	attempts, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorService, ID: "webhooks"})
	poll := d.nextPoll()
	more := make(chan struct{})
	close(more)
	for ctx.Err() == nil {
		d.turn(ctx, attempts)
		var goOn <-chan struct{}
		if len(d.marked) > 0 && d.used < slots { // only so many are claimed at once
			goOn = more
		}
		select {
		case <-poll:
			d.poll(ctx)
			poll = d.nextPoll()
			continue
		case n := <-d.notes:
			d.note(ctx, n)
			continue
		default:
		}
		select {
		case <-ctx.Done():
		case <-d.cfg.Published:
		case n := <-d.notes:
			d.note(ctx, n)
		case <-poll:
			d.poll(ctx)
			poll = d.nextPoll()
		case <-goOn:
		}
	}
	d.drain(ctx, cut)
}

// nextPoll is when to look for what others made, and for waits that are over.
func (d *Dispatcher) nextPoll() <-chan time.Time {
	return d.cfg.After(pollEvery - time.Duration(float64(pollEvery)/2*d.cfg.Random()))
}

// turn looks what is new, and claims and sends what is due.
func (d *Dispatcher) turn(ctx, attempts context.Context) {
	if err := d.look(ctx); err != nil {
		d.fault(ctx, err)
		clear(d.marked) // they are found again
		return
	}
	d.claim(ctx, attempts)
}

// look marks the endpoints that hear of something new.
func (d *Dispatcher) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	heads, err := d.cfg.Store.WebhookHeads(ctx)
	if err != nil {
		return err
	}
	if heads.Endpoints != d.heads.Endpoints {
		if err := d.learn(ctx, heads); err != nil {
			return err
		}
	}
	for d.heads.Events < heads.Events {
		list, err := d.cfg.Store.EventHeads(ctx, d.heads.Events, headsAtOnce)
		if err != nil {
			return err
		}
		for _, e := range list {
			for id, r := range d.known {
				if !d.marked[id] && r.Status == out.Active && r.Hears(e) {
					d.marked[id] = true
				}
			}
		}
		if len(list) < headsAtOnce { // and what was pruned meanwhile
			d.heads.Events = heads.Events
			break
		}
		d.heads.Events = list[len(list)-1].Seq
	}
	return nil
}

// learn reads the endpoints again, and marks those that are not as they were.
func (d *Dispatcher) learn(ctx context.Context, heads Heads) error {
	list, err := d.cfg.Store.Receivers(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]Receiver, len(list))
	for _, r := range list {
		known[r.ID] = r
		if r.Err != nil {
			d.cfg.Meter.Faulted("endpoint")
			d.cfg.Log.Error("webhook endpoint", "endpoint", r.ID, "err", r.Err)
			continue
		}
		before, there := d.known[r.ID]
		if !there || before.Status != r.Status || before.URL != r.URL || !slices.Equal(before.Events, r.Events) {
			d.changed[r.ID], d.marked[r.ID] = true, true
		}
	}
	if d.heads.Endpoints < 0 { // at the start each is looked at, so nothing of before has to be
		d.heads.Events = heads.Events
	}
	d.known, d.heads.Endpoints = known, heads.Endpoints
	for _, of := range []map[string]bool{d.marked, d.changed} {
		maps.DeleteFunc(of, func(id string, _ bool) bool { _, there := known[id]; return !there })
	}
	maps.DeleteFunc(d.lookedAt, func(id string, _ int64) bool { _, there := known[id]; return !there })
	maps.DeleteFunc(d.behind, func(id string, _ time.Time) bool { _, there := known[id]; return !there })
	return nil
}

// poll marks the endpoints that something is due for, as far as the database tells, and those that
// lag behind.
func (d *Dispatcher) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	now := d.cfg.Now()
	list, err := d.cfg.Store.DueReceivers(ctx, now, slots)
	if err != nil {
		d.fault(ctx, err)
		return
	}
	for _, id := range list {
		if _, there := d.known[id]; there {
			d.marked[id] = true
		}
	}
	for id, at := range d.behind {
		if !now.Before(at) {
			d.marked[id] = true
		}
	}
	for id, r := range d.known {
		if r.Status == out.Active && d.heads.Events-d.lookedAt[id] >= LookAtOnce {
			d.marked[id] = true
		}
	}
}

// claim claims what is due for the endpoints that are marked, and begins to send it.
func (d *Dispatcher) claim(ctx, attempts context.Context) {
	now := d.cfg.Now()
	c := Claim{Owner: d.cfg.Owner, Now: now, Until: now.Add(LeaseTime)}
	free := slots - d.used
	for id := range d.marked { // in no order, so that none is always the last
		if len(c.Of) == claimedAtOnce || free <= 0 {
			break
		}
		r, there := d.known[id]
		limit := min(PerEndpoint-d.inFlight[id], max(1, free/share), free)
		if there && r.Endpoint.AccountID != "" {
			limit = min(limit, perAccount-d.ofAccount[r.AccountID])
		}
		delete(d.marked, id)
		if !there {
			continue
		}
		if limit <= 0 && !d.changed[id] {
			// what ends may be of another endpoint of the account, and knows nothing of what is not
			// prepared yet: so it is looked at again
			d.behind[id] = now.Add(behindEvery)
			continue
		}
		free -= max(0, limit)
		c.Of = append(c.Of, ClaimOf{Receiver: r, Limit: max(0, limit), FirstOnly: d.retrying >= retrySlots, Changed: d.changed[id]})
		delete(d.changed, id)
	}
	if len(c.Of) == 0 {
		return
	}
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	got, err := d.cfg.Store.ClaimSends(call, c)
	if err != nil {
		d.fault(ctx, err)
		for _, o := range c.Of { // they are not due as far as the database tells
			d.changed[o.Receiver.ID] = d.changed[o.Receiver.ID] || o.Changed
			d.behind[o.Receiver.ID] = now.Add(behindEvery)
		}
		return
	}
	limits := map[string]int{}
	for _, o := range c.Of {
		limits[o.Receiver.ID] = o.Limit
		d.lookedAt[o.Receiver.ID] = d.heads.Events
	}
	for _, of := range got {
		d.begin(attempts, of, limits[of.Receiver.ID])
	}
}

// begin begins to send what was claimed for an endpoint.
func (d *Dispatcher) begin(attempts context.Context, of Claimed, limit int) {
	id := of.Receiver.ID
	if id == "" {
		return
	}
	delete(d.behind, id)
	if of.Behind {
		d.behind[id] = d.cfg.Now().Add(behindEvery)
	}
	// what is left when all that was asked for was got, another turn may get; when a slot is free
	// again, what ends marks it
	if of.More && len(of.Sends) > 0 && len(of.Sends) == limit {
		d.marked[id] = true
	}
	if len(of.Sends) == 0 {
		return
	}
	e, err := out.Unseal(d.cfg.Master, of.Receiver.Sealed, d.cfg.Now())
	if err != nil {
		d.cfg.Meter.Faulted("endpoint")
		d.cfg.Log.Error("webhook endpoint", "endpoint", id, "err", err)
	}
	secrets := []string{e.Secret.Reveal()}
	if e.Previous != "" {
		secrets = append(secrets, e.Previous.Reveal())
	}
	for _, send := range of.Sends {
		d.used++
		d.inFlight[id]++
		d.ofAccount[of.Receiver.AccountID]++
		if send.Tries > 0 {
			d.retrying++
		}
		if send.FirstAt.IsZero() && !send.Replayed && send.Fault == "" {
			d.cfg.Meter.Began(max(0, d.cfg.Now().Sub(send.Event.At)))
		}
		note := Note{Endpoint: id, Account: of.Receiver.AccountID, URL: of.Receiver.URL, Owner: d.cfg.Owner, Send: send, Random: d.cfg.Random()}
		d.sending.Go(func() { d.notes <- d.send(attempts, of.Receiver, secrets, err, note) })
	}
}

// send makes an attempt, and returns what came of it. Whatever goes wrong is an answer: one delivery
// that cannot be sent must not stop others.
func (d *Dispatcher) send(ctx context.Context, r Receiver, secrets []string, fault error, n Note) (note Note) {
	defer func() {
		if v := recover(); v != nil {
			d.cfg.Log.Error("webhook delivery", "endpoint", r.ID, "event", n.Send.Event.ID, "err", fmt.Sprint("panic: ", v))
			note = n
			note.Answer = Answer{Err: "it cannot be sent: an error of the program, which is in its log"}
		}
	}()
	switch {
	case fault != nil:
		n.Answer = Answer{Err: "it cannot be signed: the secret of the endpoint cannot be read: give it another one (rotate-secret)"}
		return n
	case n.Send.Fault != "":
		n.Answer = Answer{Err: n.Send.Fault}
		return n
	}
	n.Answer = d.cfg.Sender.Send(ctx, Attempt{
		URL: r.URL, Secrets: secrets, EventID: n.Send.Event.ID, Type: string(n.Send.Event.Type), Body: n.Send.Event.Body(),
	})
	return n
}

// note notes what came of attempts: of one, and of all others that have ended by now.
func (d *Dispatcher) note(ctx context.Context, first Note) {
	batch := []Note{first}
	for len(batch) < notedAtOnce {
		select {
		case n := <-d.notes:
			batch = append(batch, n)
			continue
		default:
		}
		break
	}
	for _, n := range batch {
		d.used--
		if d.inFlight[n.Endpoint]--; d.inFlight[n.Endpoint] <= 0 {
			delete(d.inFlight, n.Endpoint)
		}
		if d.ofAccount[n.Account]--; d.ofAccount[n.Account] <= 0 {
			delete(d.ofAccount, n.Account)
		}
		if n.Send.Tries > 0 {
			d.retrying--
		}
	}
	d.record(ctx, batch)
}

// record notes what came of attempts. What cannot be noted begins anew when its lease has ended; of
// a batch that cannot be noted together, each is tried alone.
func (d *Dispatcher) record(ctx context.Context, batch []Note) {
	now := d.cfg.Now()
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	noted, err := d.cfg.Store.NoteSends(call, batch, now)
	if err != nil && len(batch) > 1 && call.Err() == nil {
		for _, n := range batch {
			d.record(ctx, []Note{n})
		}
		return
	}
	if err != nil {
		d.fault(ctx, err)
		return
	}
	for i, n := range batch {
		outcome := noted.Outcomes[i]
		if outcome == "" {
			outcome = "lost"
		}
		d.cfg.Meter.Attempted(string(outcome), n.Answer.Took)
		d.logAttempt(n, outcome)
	}
	asked := map[string]string{}
	for _, n := range batch {
		asked[n.Endpoint] = n.URL
	}
	for id, reason := range noted.Disable {
		d.disable(ctx, id, asked[id], reason)
	}
	for _, n := range batch {
		_, behind := d.behind[n.Endpoint]
		if noted.More[n.Endpoint] || behind {
			d.marked[n.Endpoint] = true
		}
	}
}

// disable stops sending to an endpoint, if it still has the address that answered. Where that fails,
// the next attempt leads to it again.
func (d *Dispatcher) disable(ctx context.Context, id, url, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	if err := d.cfg.Endpoints.Disable(ctx, id, url, reason); err != nil {
		d.fault(ctx, fmt.Errorf("disable webhook endpoint %s: %w", id, err))
		return
	}
	d.cfg.Log.Warn("webhook endpoint disabled", "endpoint", id, "host", hostOf(d.known[id].URL), "reason", reason)
}

// logAttempt tells of an attempt: of its endpoint the host alone, for the rest of the address may be
// a secret.
func (d *Dispatcher) logAttempt(n Note, o Outcome) {
	attrs := []any{
		"endpoint", n.Endpoint, "host", hostOf(d.known[n.Endpoint].URL), "event", n.Send.Event.ID, "type", n.Send.Event.Type, "outcome", o, "status", n.Answer.Status,
		"tries", n.Send.Tries + 1, "ms", n.Answer.Took.Milliseconds(), "addr", n.Answer.Addr,
	}
	switch o {
	case Delivered:
		d.cfg.Log.Debug("webhook delivery", attrs...)
	case Failed:
		d.cfg.Log.Warn("webhook delivery", append(attrs, "err", n.Answer.Reason())...)
	default:
		d.cfg.Log.Info("webhook delivery", append(attrs, "err", n.Answer.Reason())...)
	}
	if n.Send.Fault != "" {
		d.cfg.Meter.Faulted("event")
	}
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// drain waits for the attempts that are under way, cuts those that take too long, and notes what
// came of all.
func (d *Dispatcher) drain(ctx context.Context, cut context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	end := d.cfg.After(drainTime)
	for d.used > 0 {
		select {
		case n := <-d.notes:
			d.note(ctx, n)
		case <-end:
			cut()
			end = nil
		}
	}
	d.sending.Wait()
	d.cfg.Sender.Close()
}

// fault tells that the database could not be used, once in a while.
func (d *Dispatcher) fault(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	d.cfg.Meter.Faulted("database")
	if now := d.cfg.Now(); !now.Before(d.quiet) {
		d.quiet = now.Add(10 * time.Second)
		d.cfg.Log.Error("webhooks", "err", err)
	}
}

type noMeter struct{}

func (noMeter) Attempted(string, time.Duration) {}
func (noMeter) Began(time.Duration)             {}
func (noMeter) Faulted(string)                  {}
