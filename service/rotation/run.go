package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/opaque"
)

const (
	// Every is how long after a run the next one looks for what is due. It costs two queries, and
	// after a leak it is how long another replica than the one that heard of it waits.
	Every = 5 * time.Second
	// quiet is how long nothing is asked after a run that met what all others would meet too.
	quiet = time.Minute

	together = 4  // targets that are written at once
	batch    = 20 // targets that are claimed at once
	// writeTime is how long one target may take, with all waits for GitHub.
	writeTime = time.Minute
	// claimTime is longer than all that is claimed at once can take.
	claimTime = 10 * time.Minute
	// silences is how many targets in a row meet a GitHub that does not answer before a run ends.
	silences = 3
)

// Done is what became of one target in a run.
type Done struct {
	Work
	Outcome   Outcome
	JTI       opaque.TokenID // of Written
	ExpiresAt time.Time
	Next      time.Time
	Failure   *Failure // of Failed
}

// Outcome is how a try ended.
type Outcome string

// The outcomes.
const (
	Written Outcome = "written"
	Would   Outcome = "would be written" // in a run that only says what it would do
	Failed  Outcome = "failed"
	Waits   Outcome = "waits" // for GitHub's limits, or because the account may not hold a token now
	Taken   Outcome = "taken" // by another process, meanwhile
)

// Run writes what is due: the errand of one replica. It ends when nothing is due, or when GitHub
// does not answer. An error is one of our own: the database, or the App.
func (r *Rotations) Run(ctx context.Context) error {
	if err := r.lookForChanges(ctx); err != nil {
		return err
	}
	now := r.cfg.Now()
	if until := time.UnixMilli(r.quietUntil.Load()); now.Before(until) && until.Sub(now) <= quiet { // else the clock was set back
		return nil
	}
	return r.run(ctx, Claim{}, func(Done) {})
}

// lookForChanges makes due what an account or a revocation has made worth another token, if any
// right has changed since it looked last.
func (r *Rotations) lookForChanges(ctx context.Context) error {
	now, err := r.store.Rights(ctx)
	if err != nil || now == r.rights.Load() {
		return err
	}
	if _, err := r.store.HurryTargets(ctx, "", "", r.cfg.Now()); err != nil {
		return err
	}
	r.rights.Store(now)
	return nil
}

// RunNow writes the targets of a rotation, due or not, or, without an id, what is due and what
// failed before, and tells of each. With dry it tells what it would do, as far as GitHub lets it be
// seen without a write. failure.ErrNotFound: no such rotation; failure.ErrInvalid: it is stopped, its
// account may not hold a token, or no App is set up.
func (r *Rotations) RunNow(ctx context.Context, id string, dry bool, tell func(Done)) error {
	if id != "" {
		if err := r.mayRun(ctx, id); err != nil {
			return err
		}
	}
	if err := r.lookForChanges(ctx); err != nil {
		return err
	}
	c := Claim{Begun: r.cfg.Now(), Rotation: id}
	if dry {
		return r.tellDue(ctx, c, tell)
	}
	return r.runAndTell(ctx, c, tell)
}

// runAndTell is run, and tells of what was left for a later one too.
func (r *Rotations) runAndTell(ctx context.Context, c Claim, tell func(Done)) error {
	told := map[string]bool{}
	err := r.run(ctx, c, func(d Done) {
		told[place(d.Rotation, d.Work.Target)] = true
		tell(d)
	})
	if err != nil || ctx.Err() != nil {
		return err
	}
	left, err := r.store.DueTargets(ctx, r.claimOf(c, tellAtMost))
	for _, w := range left {
		if !told[place(w.Rotation, w.Target)] {
			tell(Done{Work: w, Outcome: Waits})
		}
	}
	return err
}

// tellAtMost is how many targets a run tells of without having written to them.
const tellAtMost = 1000

// claimOf completes a claim for a moment.
func (r *Rotations) claimOf(c Claim, limit int) Claim {
	c.Now, c.Limit = r.cfg.Now(), limit
	c.Until = c.Now.Add(claimTime)
	return c
}

// run claims and writes, batch after batch.
func (r *Rotations) run(ctx context.Context, c Claim, tell func(Done)) error {
	var at *github.Installations
	g := &going{r: r, tell: tell}
	for ctx.Err() == nil && !g.over() {
		c = r.claimOf(c, batch)
		var all bool
		if c.NotOf, all = r.budget.blocked(c.Now); all {
			return nil
		}
		if at == nil { // asked for only when there is something to do
			due, err := r.store.DueTargets(ctx, r.claimOf(c, 1))
			if err != nil || len(due) == 0 {
				return err
			}
			if at, err = r.installations(ctx); err != nil {
				return err
			}
		}
		claimed, err := r.store.ClaimTargets(ctx, c)
		if err != nil || len(claimed) == 0 {
			return err
		}
		g.all(ctx, at, claimed)
	}
	if g.over() {
		r.quietUntil.Store(r.cfg.Now().Add(quiet).UnixMilli())
	}
	return g.err
}

// going is a run.
type going struct {
	r    *Rotations
	tell func(Done)

	mu     sync.Mutex
	silent int // targets in a row that GitHub did not answer
	ended  bool
	err    error // of ours
}

func (g *going) over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended
}

// all writes to targets, some at once. Those whose turn does not come are given back.
func (g *going) all(ctx context.Context, at *github.Installations, claimed []Work) {
	work := make(chan Work)
	var running sync.WaitGroup
	for range together {
		running.Go(func() {
			for w := range work {
				g.one(ctx, at, w)
			}
		})
	}
	for _, w := range claimed {
		work <- w
	}
	close(work)
	running.Wait()
}

// one writes to one target, or gives it back. A panic is that target's error.
func (g *going) one(ctx context.Context, at *github.Installations, w Work) {
	r, owner := g.r, w.Target.OwnerID
	try := attempt{r: r, at: at, w: w}
	switch {
	case g.over() || ctx.Err() != nil:
		g.note(try.giveBack(ctx), Done{})
		return
	case !r.budget.take(owner, r.cfg.Now()):
		r.limited.Add(1)
		g.note(try.giveBack(ctx), Done{Work: w, Outcome: Waits})
		return
	}
	once, cancel := withGrace(ctx)
	defer cancel()
	try.do(github.OnAllowance(once, func(a github.Allowance) {
		if a.App {
			r.budget.note(ofApp, a)
			return
		}
		r.budget.note(owner, a)
	}))
	done, err := try.finish(ctx)
	g.note(err, done)
}

// grace is how long a write that has begun may go on when the service stops.
const grace = 5 * time.Second

// withGrace returns a context for one target, which ends some time after its parent.
func withGrace(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), writeTime)
	stop := context.AfterFunc(parent, func() {
		select {
		case <-time.After(grace):
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { stop(); cancel() }
}

// note takes what became of a target.
func (g *going) note(err error, done Done) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if errors.Is(err, ErrLost) {
		err = nil
		done.Outcome = Taken
	}
	if err != nil { // the database: nothing more can be noted
		g.err, g.ended = err, true
		return
	}
	switch done.Outcome {
	case "":
		return
	case Written:
		g.silent = 0
		g.r.written.Add(1)
	case Failed:
		g.r.failed.Add(1)
		g.failed(done)
	}
	g.tell(done)
}

// failed ends the run when others would meet the same.
func (g *going) failed(done Done) {
	f := done.Failure
	g.r.cfg.Events.Warn("secret not rotated", "rotation", done.ID, "account", done.AccountID, "repository", done.Repository,
		"target", done.Target.Name, "code", f.Code, "attempts", f.Attempts, "err", f.Text)
	switch f.Code {
	case NoAnswer:
		g.silent++
		g.ended = g.ended || g.silent >= silences
	case AppUnknown, Trouble:
		g.ended = true
		if f.Code == Trouble {
			g.err = fmt.Errorf("rotation %s: %s: %s", done.ID, done.Target.Name, f.Text)
		}
	default:
		g.silent = 0
	}
}
