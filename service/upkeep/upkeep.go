// Package upkeep does what a database needs now and then: it makes the index of the ledger, and
// prunes records that are older than anyone wants to keep. What else one replica must do, and the others
// not, are errands (errand.go).
//
// It decides which replica does it and when. How each step is done, in one small transaction, is
// decided in service/store.
//
// # One replica at a time
//
// The lease is a row of the database. Its holder adds to its beat every BeatEvery. Another replica
// claims it when it has seen the same beat for Patience by its own monotonic clock. So no clock is
// compared with another one, and clocks that are wrong, or 30 seconds apart, change nothing; a
// holder that crashed is replaced within a minute. A holder that stops in order gives the lease
// back, and is replaced when another one looks next.
//
// Patience alone would not do: a holder that was suspended, and continues, believes that the lease
// is still its own. So each claim gets a fencing token, and every transaction of upkeep looks
// whether it is still the one in the row before it writes. It is the lock of all writers that makes
// this certain (service/store/tx.go).
package upkeep

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pageflare/ci/service/audit"
)

// The times of the lease.
const (
	// BeatEvery is how often the holder shows that it is alive, and how often the others look.
	BeatEvery = 10 * time.Second
	// Patience is how long a lease must not have changed before another replica claims it.
	Patience = 30 * time.Second
)

// Lease is the right of one replica to do upkeep.
type Lease struct {
	Owner string // empty: nobody's
	Fence int64  // fencing token: grows each time that the lease is claimed
	Beat  int64  // grows while the owner is alive
}

// ErrLost says that another replica has claimed the lease.
var ErrLost = errors.New("another replica does the upkeep now")

// Store is what upkeep needs of a database. What takes a lease writes nothing and returns ErrLost
// when it is not the one in the database.
type Store interface {
	// UpkeepLease returns the lease as it is.
	UpkeepLease(ctx context.Context) (Lease, error)
	// ClaimUpkeep gives the lease to another owner, if it is still as it was seen. ErrLost.
	ClaimUpkeep(ctx context.Context, seen Lease, owner string) (Lease, error)
	// BeatUpkeep shows that the owner is alive. ErrLost.
	BeatUpkeep(ctx context.Context, held Lease) (Lease, error)
	// ReleaseUpkeep makes the lease nobody's. ErrLost.
	ReleaseUpkeep(ctx context.Context, held Lease) error

	// Index adds the next part of the index of the ledger, and says whether there may be more.
	// ErrLost.
	Index(ctx context.Context, held Lease) (more bool, err error)
	// Prune removes the next part of what is old, and says whether there may be more. ErrLost.
	Prune(ctx context.Context, held Lease, p Pruning) (more bool, err error)
}

// Pruning says what is old.
type Pruning struct {
	Now    time.Time
	Before time.Time // records of before are pruned when their tokens have expired
	// Act is the line of the audit log about what is pruned: the records from one number to
	// another.
	Act func(from, through int64) audit.Act
	// Follows says whether an entry of the log is as it was written, behind one with the given
	// hash: what is not is not pruned. nil: by the chain of a log without a key.
	Follows func(e audit.Entry, previous string) bool
}

// Config is what Upkeep is made of. All fields must be set.
type Config struct {
	Store     Store
	Log       *audit.Log
	Retention time.Duration // how long records are kept
	Errands   []Errand      // what else this replica does while it has the lease; none: nothing
	Owner     string        // tells this replica from others, and from itself after a restart
	Now       func() time.Time
	Elapsed   func() time.Duration // by a clock that nobody sets
	After     func(time.Duration) <-chan time.Time
	Events    *slog.Logger
}

// Upkeep is the upkeep of a database by this replica. Run does it.
type Upkeep struct {
	cfg  Config
	jobs []*job

	errands []*errand
	running sync.WaitGroup // of errands

	held   *Lease // nil: another replica has it
	seen   Lease  // what was looked at last
	since  time.Duration
	beatAt time.Duration // when the lease is looked at or renewed next
	errors limiter       // of the lease

	mu   sync.Mutex
	done map[string]time.Time
}

// job is something that is done again and again, in small steps.
type job struct {
	name  string
	every time.Duration // from the last step that found no more to the next one
	// rest is how long a step that found more rests, as a multiple of what it took: what other
	// writers get of the database.
	rest   int
	step   func(context.Context, Lease) (more bool, err error)
	next   time.Duration
	errors limiter
}

// The names of the jobs.
const (
	JobIndex = "index"
	JobPrune = "prune"
)

// stepTime bounds a step.
const stepTime = time.Minute

// New returns the upkeep of a database.
func New(c Config) *Upkeep {
	u := &Upkeep{cfg: c, done: map[string]time.Time{}}
	for _, e := range c.Errands {
		u.errands = append(u.errands, &errand{Errand: e})
	}
	u.jobs = []*job{
		{name: JobIndex, every: time.Second, rest: 1, step: c.Store.Index},
		{name: JobPrune, every: time.Hour, rest: 4, step: u.prune},
	}
	for _, j := range u.jobs {
		u.done[j.name] = time.Time{}
	}
	for _, e := range u.errands {
		u.done[e.Name] = time.Time{}
	}
	return u
}

// Run does upkeep until ctx ends, and then gives the lease back.
func (u *Upkeep) Run(ctx context.Context) {
	for {
		wait := u.Turn(ctx)
		select {
		case <-ctx.Done():
			u.cancelErrands()
			u.running.Wait()
			u.release(context.WithoutCancel(ctx))
			return
		case <-u.cfg.After(wait):
		}
	}
}

// Turn does what is due, one step of each job at most, and returns when to call it again.
func (u *Upkeep) Turn(ctx context.Context) (wait time.Duration) {
	if u.cfg.Elapsed() >= u.beatAt {
		u.tend(ctx)
	}
	next := u.beatAt
	for _, j := range u.jobs {
		if u.held != nil && j.next <= u.cfg.Elapsed() && ctx.Err() == nil {
			u.do(ctx, j)
		}
		if u.held != nil {
			next = min(next, j.next)
		}
	}
	if u.held != nil && ctx.Err() == nil {
		next = min(next, u.startErrands(ctx))
	}
	return max(0, next-u.cfg.Elapsed())
}

// do does a step of a job.
func (u *Upkeep) do(ctx context.Context, j *job) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	begun := u.cfg.Elapsed()
	more, err := j.step(ctx, *u.held)
	ended := u.cfg.Elapsed()
	j.next = ended + j.every
	switch {
	case errors.Is(err, ErrLost):
		u.lost()
	case err != nil:
		j.next = ended + max(j.every, BeatEvery)
		if ctx.Err() == nil && j.errors.mayLog(ended) {
			u.cfg.Events.Error("upkeep", "job", j.name, "err", err)
		}
	default:
		j.errors.reset()
		if more {
			j.next = ended + time.Duration(j.rest)*(ended-begun)
		}
		u.mu.Lock()
		u.done[j.name] = u.cfg.Now()
		u.mu.Unlock()
	}
}

// prune does a step of pruning.
func (u *Upkeep) prune(ctx context.Context, held Lease) (more bool, err error) {
	now := u.cfg.Now()
	before := now.Add(-u.cfg.Retention)
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorService, ID: "upkeep"})
	return u.cfg.Store.Prune(ctx, held, Pruning{Now: now, Before: before, Follows: u.cfg.Log.Follows, Act: func(from, through int64) audit.Act {
		return u.cfg.Log.PruneAct(ctx, from, through, before)
	}})
}

// Done returns when each job and errand was last done by this replica without an error; zero: it
// was not.
func (u *Upkeep) Done() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	done := make(map[string]time.Time, len(u.done))
	for name, at := range u.done {
		done[name] = at
	}
	return done
}
