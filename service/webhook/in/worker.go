package in

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// How deliveries are processed.
const (
	workers    = 8 // at once, so that a slow one holds up no other
	handleTime = 30 * time.Second
	leaseTime  = 2 * time.Minute // longer than a handler may take, with what the database takes
	pollEvery  = time.Second     // for what another replica received and could not process
	stopTime   = 10 * time.Second
)

// Run processes deliveries until ctx ends, and then waits for those that it has begun. Any number of
// replicas may run it.
func (r *Receiver) Run(ctx context.Context, log *slog.Logger, after func(time.Duration) <-chan time.Time) {
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, workers)
	quiet := quieter{}
	for ctx.Err() == nil {
		claims, err := r.claim(ctx, workers-len(free))
		if err != nil && ctx.Err() == nil && quiet.mayLog(r.cfg.Now()) {
			log.Error("webhooks of GitHub", "err", opaque.HideSecrets(err.Error()))
		}
		for _, c := range claims {
			free <- struct{}{}
			running.Go(func() {
				defer func() { <-free; r.awaken() }()
				r.process(ctx, c, log)
			})
		}
		if len(claims) > 0 && len(free) < workers {
			continue // there may be more
		}
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-after(pollEvery):
		}
	}
}

// Work processes what is due, once, and returns how many deliveries that were.
func (r *Receiver) Work(ctx context.Context, log *slog.Logger) (int, error) {
	claims, err := r.claim(ctx, workers)
	for _, c := range claims {
		r.process(ctx, c, log)
	}
	return len(claims), err
}

// claim claims what is due. Where nothing is, the database is only read.
func (r *Receiver) claim(ctx context.Context, limit int) ([]Claim, error) {
	if limit <= 0 {
		return nil, nil
	}
	now := r.cfg.Now()
	next, err := r.cfg.Store.NextReceived(ctx)
	if err != nil || next.IsZero() || next.After(now) {
		return nil, err
	}
	return r.cfg.Store.ClaimReceived(ctx, rand.Text(), now, now.Add(leaseTime), limit)
}

// process lets the handler of a delivery see it, and stores what became of it. A replica that is
// killed anywhere in it leaves a claim that ends, so that the delivery is processed again.
func (r *Receiver) process(ctx context.Context, c Claim, log *slog.Logger) {
	err := r.handle(ctx, c)
	if ctx.Err() != nil && err != nil { // the service stops: nothing is said about the delivery
		err = NotNow{r.cfg.Now()}
	}
	o := r.outcome(c, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := r.cfg.Store.FinishReceived(ctx, c, o); err != nil {
		log.Error("webhook of GitHub: its outcome is not stored, so it is processed again", "delivery", c.ID, "event", c.Event,
			"err", opaque.HideSecrets(err.Error()))
		return
	}
	switch o.State {
	case Processed:
		r.count(c.Event, CountProcessed)
	case Failed:
		r.count(c.Event, CountFailed)
		log.Warn("webhook of GitHub failed", "delivery", c.ID, "event", c.Event, "action", c.Action, "attempts", c.Attempts, "again", o.DueAt,
			"err", o.Error)
	}
}

// NotNow says that a delivery is to be processed later, and that nothing was wrong with it.
type NotNow struct{ At time.Time }

// Error tells when.
func (n NotNow) Error() string { return "to be processed at " + n.At.UTC().Format(time.RFC3339) }

// Due is when.
func (n NotNow) Due() time.Time { return n.At }

func (r *Receiver) handle(ctx context.Context, c Claim) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	handler := r.cfg.Handlers[c.Event]
	if handler == nil {
		return failure.Invalid("this version has no handler for the event")
	}
	ctx, cancel := context.WithTimeout(ctx, handleTime)
	defer cancel()
	body, err := r.cfg.Store.ReceivedBody(ctx, c.ID)
	if errors.Is(err, failure.ErrNotFound) {
		return failure.Invalid("its body is not stored any more: let GitHub deliver it again")
	}
	if err != nil {
		return err
	}
	d := Delivery{ID: c.ID, Event: c.Event, Action: c.Action, Body: body, ReceivedAt: c.ToldAt}
	return handler(by(ctx, d), d)
}

// How long a delivery is tried again.
const (
	firstPause  = 5 * time.Second
	maxPause    = time.Hour
	tryFor      = 72 * time.Hour
	minAttempts = 10
	maxError    = 500
)

// outcome is what becomes of a claim by what its handler said.
func (r *Receiver) outcome(c Claim, err error) Outcome {
	now := r.cfg.Now()
	o := Outcome{State: Processed, At: now}
	var later interface{ Due() time.Time }
	switch {
	case err == nil:
	case errors.As(err, &later):
		o.State, o.Error, o.DueAt = Received, err.Error(), later.Due()
	default:
		o.State, o.Error = Failed, opaque.HideSecrets(err.Error())
		if !errors.Is(err, failure.ErrInvalid) && (now.Sub(c.ReceivedAt) < tryFor || c.Attempts < minAttempts) {
			o.DueAt = now.Add(r.pause(c.Attempts))
		}
	}
	if o.Error = strings.ToValidUTF8(strings.ReplaceAll(o.Error, "\x00", ""), "?"); len(o.Error) > maxError {
		o.Error = strings.ToValidUTF8(o.Error[:maxError], "")
	}
	return o
}

// pause doubles with each attempt, up to an hour, with up to a fifth more, so that what failed
// together is not tried again together.
func (r *Receiver) pause(attempts int64) time.Duration {
	p := maxPause
	if attempts < 10 {
		p = min(firstPause<<max(attempts-1, 0), maxPause)
	}
	var random [2]byte
	_, _ = r.cfg.Rand.Read(random[:]) // without it they are not spread
	return p + p/5*time.Duration(binary.BigEndian.Uint16(random[:]))/(1<<16)
}

// quieter lets an error be logged once in a minute.
type quieter struct{ last time.Time }

func (q *quieter) mayLog(now time.Time) bool {
	if now.Sub(q.last) < time.Minute && !now.Before(q.last) {
		return false
	}
	q.last = now
	return true
}
