package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
)

// maxGroup is how many writes share one transaction at most.
const maxGroup = 256

// groupPatience is how long a write may take, waiting included: shorter than a client or a server
// waits for an answer.
const groupPatience = 8 * time.Second

// errClosed says that the store was closed before the write began.
var errClosed = errors.New("the database is closed")

// errTooLong says that a write took longer than its caller can wait.
var errTooLong = fmt.Errorf("%w: a write took longer than %s", failure.ErrUnavailable,
	groupPatience)

// group is group commit: writes that arrive while the disk is busy with the ones before share the
// next transaction, and each returns when that one is durable. One goroutine owns the transactions;
// stop ends it.
type group struct {
	db      *pool
	writes  chan *groupWrite
	closing chan struct{} // closed when no more writes are accepted
	ended   chan struct{} // closed when all that were accepted are done
	once    sync.Once
}

type groupWrite struct {
	ctx    context.Context      // of the caller
	begun  time.Time            // when the caller began to wait
	use    *license.IdentityUse // of an identity, which is stored before run; nil: none
	run    func(ctx context.Context, t *tx) error
	result chan error
	left   bool // its caller had left when it was to be run
}

// gone is why the caller of a write waits no more; nil while it does. It asks the clock and no
// timer: a process that was stopped for long learns by it at once.
func (w *groupWrite) gone() error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if time.Since(w.begun) >= groupPatience {
		return errTooLong
	}
	return nil
}

// patience are timers, stopped: a write needs one for a moment.
var patience = sync.Pool{New: func() any {
	t := time.NewTimer(groupPatience)
	t.Stop()
	return t
}}

func startGroup(db *pool) *group {
	g := &group{
		db: db, writes: make(chan *groupWrite, maxGroup), closing: make(chan struct{}),
		ended: make(chan struct{}),
	}
	go g.loop()
	return g
}

// do runs a write and returns when it is durable. A caller that leaves early learns the context's
// error, and the write may yet be done.
func (g *group) do(ctx context.Context, run func(ctx context.Context, t *tx) error) error {
	return g.doWith(ctx, nil, run)
}

// doWith is do for a write that uses an identity.
func (g *group) doWith(ctx context.Context, use *license.IdentityUse, run func(ctx context.Context, t *tx) error) (err error) {
	ctx, written := traceWrite(ctx)
	defer func() { written(err) }()
	timer, ok := patience.Get().(*time.Timer)
	if !ok {
		panic("store: a pool of something else")
	}
	timer.Reset(groupPatience)
	defer func() { timer.Stop(); patience.Put(timer) }()
	w := &groupWrite{ctx: ctx, begun: time.Now(), use: use, run: run, result: make(chan error, 1)}
	select {
	case g.writes <- w:
	case <-g.closing:
		return errClosed
	case <-ctx.Done():
		return g.leave(context.Cause(ctx))
	case <-timer.C:
		return g.leave(errTooLong)
	}
	select {
	case err := <-w.result:
		return err
	case <-ctx.Done():
		return g.leave(context.Cause(ctx))
	case <-timer.C:
		return g.leave(errTooLong)
	case <-g.ended:
	}
	select {
	case err := <-w.result:
		return err
	default:
		return errClosed // it was queued in the moment after the last look
	}
}

// leave is what a caller learns whose write was not done in time, or who did not wait for it.
func (g *group) leave(err error) error {
	g.db.note(err, false)
	return err
}

// stop waits for the writes that were accepted. Stopping twice is no error.
func (g *group) stop() {
	g.once.Do(func() { close(g.closing) })
	<-g.ended
}

func (g *group) loop() {
	defer close(g.ended)
	for {
		select {
		case first := <-g.writes:
			g.commit(g.gather(first))
		case <-g.closing:
			for {
				select {
				case w := <-g.writes:
					g.commit(g.gather(w))
				default:
					return
				}
			}
		}
	}
}

// gather adds what is waiting already, and what those are about to write who could run now: it lets
// them go first for as long as that brings more. It never waits for anything that is not ready, so
// a write that comes alone is begun at once.
func (g *group) gather(first *groupWrite) []*groupWrite {
	batch := []*groupWrite{first}
	for idle := 0; idle < letGo && len(batch) < maxGroup; idle++ {
		size := len(batch)
		runtime.Gosched()
		if batch = g.waiting(batch); len(batch) > size {
			idle = -1
		}
	}
	return batch
}

// letGo is how often in a row the others are let go first in vain: once in a while the scheduler goes
// on with the goroutine that stepped back, and nobody has run.
const letGo = 2

// waiting adds what is waiting.
func (g *group) waiting(batch []*groupWrite) []*groupWrite {
	for len(batch) < maxGroup {
		select {
		case w := <-g.writes:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// commit writes a batch. If one write of it fails they are all tried again, each alone, so that
// none suffers for another; if the database itself fails, all learn that at once. It does not use
// the callers' contexts for the transaction: one who leaves must not undo what others wait for. But
// nothing is begun for those who have left already.
func (g *group) commit(batch []*groupWrite) {
	batch = slices.DeleteFunc(batch, func(w *groupWrite) bool { return w.gone() != nil })
	if len(batch) == 0 {
		return
	}
	ctx := context.Background()
	var ofOne bool // a write failed, not the transaction
	err := inTx(ctx, g.db, func(t *tx) (err error) {
		// once more, for the second try of inTx may come after this process was stopped for long
		ofOne, err = t.runAll(ctx, slices.DeleteFunc(slices.Clone(batch), func(w *groupWrite) bool {
			w.left = w.gone() != nil
			return w.left
		}))
		return err
	})
	for _, w := range batch {
		if ofOne && len(batch) > 1 {
			w.result <- inTx(ctx, g.db, func(t *tx) error {
				_, err := t.runAll(ctx, []*groupWrite{w})
				return err
			})
			continue
		}
		if err == nil && w.left {
			w.result <- cmp.Or(w.gone(), errTooLong) // it is not recorded
			continue
		}
		w.result <- err
	}
}

// runAll runs the writes of a batch. ofOne: the error is one write's, and says nothing of the others.
func (t *tx) runAll(ctx context.Context, batch []*groupWrite) (ofOne bool, err error) {
	var uses []license.IdentityUse
	for _, w := range batch {
		if w.use != nil {
			uses = append(uses, *w.use)
		}
	}
	if err := t.useIdentities(ctx, uses); err != nil {
		return false, err
	}
	t.expect(len(batch))
	for _, w := range batch {
		if err := w.run(ctx, t); err != nil {
			return !errors.Is(err, failure.ErrUnavailable), err
		}
	}
	return false, nil
}
