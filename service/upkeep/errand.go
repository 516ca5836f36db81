package upkeep

import (
	"context"
	"time"

	"github.com/pageflare/ci/service/audit"
)

// Errand is work for one replica that waits for others, such as GitHub: it may take longer than
// the lease can wait, and so runs beside the jobs. Its context ends when the lease is lost or the
// service stops. Since a holder that was suspended learns too late that it is one no more, two
// replicas can run the same errand for a moment: it must bear that.
type Errand struct {
	Name  string
	Every time.Duration // from its end to its next start; it starts at once when the lease is got
	// Soon, when it is not nil, lets an errand begin before its time: by a value that comes.
	Soon <-chan struct{}
	Do   func(context.Context) error
}

// errand is an Errand of this replica.
type errand struct {
	Errand
	cancel  context.CancelFunc // nil: it does not run
	ended   chan error         // of the run
	next    time.Duration
	errors  limiter
	stopped bool // the lease was lost while it ran
}

// startErrands starts those that are due, and returns when to look again.
func (u *Upkeep) startErrands(ctx context.Context) (next time.Duration) {
	now := u.cfg.Elapsed()
	next = now + time.Second // one may end, or be asked for, before its time
	for _, e := range u.errands {
		u.reap(e)
		if e.cancel != nil || e.next > now && !e.asked() {
			continue
		}
		run, cancel := context.WithCancel(audit.WithActor(ctx, audit.Actor{Kind: audit.ActorService, ID: e.Name}))
		e.cancel, e.ended = cancel, make(chan error, 1)
		u.running.Go(func() { e.ended <- e.Do(run) })
	}
	return next
}

// asked says whether somebody wants the errand done soon.
func (e *errand) asked() bool {
	select {
	case <-e.Soon:
		return true
	default:
		return false
	}
}

// reap notes the end of a run.
func (u *Upkeep) reap(e *errand) {
	if e.cancel == nil {
		return
	}
	var err error
	select {
	case err = <-e.ended:
	default:
		return
	}
	e.cancel()
	e.cancel = nil
	now := u.cfg.Elapsed()
	e.next = now + e.Every
	switch {
	case e.stopped:
		e.stopped, e.next = false, now
	case err != nil:
		if e.errors.mayLog(now) {
			u.cfg.Events.Error("upkeep", "job", e.Name, "err", err)
		}
	default:
		e.errors.reset()
		u.mu.Lock()
		u.done[e.Name] = u.cfg.Now()
		u.mu.Unlock()
	}
}

// cancelErrands ends what runs.
func (u *Upkeep) cancelErrands() {
	for _, e := range u.errands {
		if e.cancel != nil {
			e.cancel()
			e.stopped = true
		}
	}
}
