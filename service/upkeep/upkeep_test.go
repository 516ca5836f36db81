package upkeep_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/upkeep"
)

// database is the lease and the jobs of a database, as several replicas see it.
type database struct {
	lease upkeep.Lease
	fault error // of everything
	left  int   // steps of the index that find more
	steps []string
}

func (d *database) UpkeepLease(context.Context) (upkeep.Lease, error) { return d.lease, d.fault }

func (d *database) change(from, to upkeep.Lease) (upkeep.Lease, error) {
	switch {
	case d.fault != nil:
		return from, d.fault
	case d.lease != from:
		return from, upkeep.ErrLost
	}
	d.lease = to
	return to, nil
}

func (d *database) ClaimUpkeep(_ context.Context, seen upkeep.Lease, owner string) (upkeep.Lease, error) {
	return d.change(seen, upkeep.Lease{Owner: owner, Fence: seen.Fence + 1})
}

func (d *database) BeatUpkeep(_ context.Context, held upkeep.Lease) (upkeep.Lease, error) {
	next := held
	next.Beat++
	return d.change(held, next)
}

func (d *database) ReleaseUpkeep(_ context.Context, held upkeep.Lease) error {
	_, err := d.change(held, upkeep.Lease{Fence: held.Fence})
	return err
}

func (d *database) step(held upkeep.Lease, name string) error {
	if d.fault != nil {
		return d.fault
	}
	if held.Owner != d.lease.Owner || held.Fence != d.lease.Fence {
		return upkeep.ErrLost
	}
	d.steps = append(d.steps, held.Owner+" "+name)
	return nil
}

func (d *database) Index(_ context.Context, held upkeep.Lease) (bool, error) {
	if err := d.step(held, "index"); err != nil {
		return false, err
	}
	if d.left == 0 {
		return false, nil
	}
	d.left--
	return true, nil
}

func (d *database) Prune(_ context.Context, held upkeep.Lease, p upkeep.Pruning) (bool, error) {
	if want := p.Now.Add(-400 * 24 * time.Hour); !p.Before.Equal(want) {
		return false, errors.New("prunes before " + p.Before.String())
	}
	return false, d.step(held, "prune")
}

// replica is upkeep by a replica with a clock of its own.
type replica struct {
	*upkeep.Upkeep
	elapsed time.Duration
	log     bytes.Buffer
}

func newReplica(d *database, name string, errands ...upkeep.Errand) *replica {
	r := &replica{}
	wrong := time.Date(2026, 3, 1, 12, 0, len(name)*30, 0, time.UTC) // no two clocks say the same
	r.Upkeep = upkeep.New(upkeep.Config{
		Store: d, Log: &audit.Log{}, Retention: 400 * 24 * time.Hour, Owner: name, Errands: errands,
		Now:     func() time.Time { return wrong.Add(r.elapsed) },
		Elapsed: func() time.Duration { return r.elapsed },
		After: func(time.Duration) <-chan time.Time {
			return nil
		},
		Events: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	return r
}

// run lets a time pass for replicas, second by second.
func run(t *testing.T, d time.Duration, replicas ...*replica) {
	t.Helper()
	for ; d > 0; d -= time.Second {
		for _, r := range replicas {
			r.Turn(t.Context())
			r.elapsed += time.Second
		}
	}
}

func (d *database) did(t *testing.T, step string) {
	t.Helper()
	if got := strings.Join(d.steps, ", "); !strings.Contains(got, step) {
		t.Errorf("steps = %s, want %q among them", got, step)
	}
}

func TestOneReplicaDoesUpkeep(t *testing.T) {
	t.Parallel()
	d := &database{}
	a, b := newReplica(d, "a"), newReplica(d, "bb")
	run(t, 5*time.Minute, a, b)
	if got := strings.Join(d.steps, ", "); strings.Contains(got, "bb") || !strings.Contains(got, "a index, a prune, a index, a index") {
		t.Errorf("steps = %s, want those of a alone", got)
	}
	if d.lease.Beat < 29 {
		t.Errorf("beat = %d after five minutes", d.lease.Beat)
	}
	if n := strings.Count(strings.Join(d.steps, ", "), "prune"); n != 1 {
		t.Errorf("pruned %d times in five minutes, want once in an hour", n)
	}
}

func TestAHolderThatCrashedIsReplacedWithinAMinute(t *testing.T) {
	t.Parallel()
	d := &database{}
	a, b := newReplica(d, "a"), newReplica(d, "bb")
	run(t, 25*time.Second, a, b)
	d.steps = nil
	run(t, upkeep.Patience-upkeep.BeatEvery, b) // a is slow, no more
	if len(d.steps) > 0 {
		t.Errorf("steps = %q while the holder may be alive, want none", d.steps)
	}
	run(t, time.Minute-(upkeep.Patience-upkeep.BeatEvery), b)
	d.did(t, "bb index")

	d.steps = nil
	if a.Turn(t.Context()); len(d.steps) > 0 || d.lease.Owner != "bb" {
		t.Errorf("steps of a holder of before = %q, lease = %+v", d.steps, d.lease)
	}
	if !strings.Contains(a.log.String(), "another replica does the upkeep now") {
		t.Errorf("log = %s", a.log.String())
	}
	run(t, 5*time.Minute, a, b)
	if strings.Contains(strings.Join(d.steps, ","), "a index") {
		t.Error("two replicas did upkeep")
	}
}

// The database is what stops a holder that was suspended, for its own clock stood still too.
func TestAHolderThatContinuesLosesTheLeaseByItsNextStep(t *testing.T) {
	t.Parallel()
	d := &database{}
	a, b := newReplica(d, "a"), newReplica(d, "bb")
	run(t, 2*time.Second, a)
	run(t, time.Minute, b)
	d.steps = nil
	run(t, 3*time.Second, a) // not yet time to renew
	if len(d.steps) > 0 || d.lease.Owner != "bb" {
		t.Errorf("steps = %q, lease = %+v, want none of a", d.steps, d.lease)
	}
}

func TestAHolderThatStopsHandsTheLeaseOver(t *testing.T) {
	t.Parallel()
	d := &database{}
	a, b := newReplica(d, "a"), newReplica(d, "bb")
	run(t, 2*time.Second, a, b)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	a.Run(ctx)
	if d.lease.Owner != "" {
		t.Fatalf("lease = %+v after its holder stopped", d.lease)
	}
	run(t, upkeep.BeatEvery+2*time.Second, b)
	d.did(t, "bb index")
}

func TestAStepThatFindsMoreIsFollowedSoonAndOthersNot(t *testing.T) {
	t.Parallel()
	d := &database{left: 3}
	a := newReplica(d, "a")
	for range 4 {
		if wait := a.Turn(t.Context()); wait != 0 && d.left > 0 {
			t.Errorf("wait = %s with more to do, want none", wait)
		}
	}
	if wait := a.Turn(t.Context()); wait != time.Second {
		t.Errorf("wait = %s with nothing to do, want a second", wait)
	}
	if done := a.Done(); len(done) != 2 || done[upkeep.JobIndex].IsZero() || done[upkeep.JobPrune].IsZero() {
		t.Errorf("Done = %v, want both jobs", done)
	}
}

func TestAnErrorIsLoggedOnceInAWhile(t *testing.T) {
	t.Parallel()
	d := &database{}
	a := newReplica(d, "a")
	run(t, 2*time.Second, a)
	before := a.Done()
	d.fault = errors.New("the disk is full")
	run(t, 5*time.Minute, a)
	if n := strings.Count(a.log.String(), `job=index err="the disk is full"`); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, a.log.String())
	}
	if after := a.Done(); !after[upkeep.JobIndex].Equal(before[upkeep.JobIndex].Add(0)) {
		t.Errorf("Done = %v after errors, want %v", after, before)
	}
	d.fault = nil
	run(t, time.Minute, a)
	d.fault = errors.New("the disk is full")
	run(t, time.Minute, a)
	if n := strings.Count(a.log.String(), `job=index err="the disk is full"`); n != 2 {
		t.Errorf("logged %d times, want once more after it went well", n)
	}
}

// What waits for others runs beside the jobs, ends with the lease, and begins again with the next.
func TestAnErrandRunsWhileTheLeaseIsHeld(t *testing.T) {
	t.Parallel()
	d := &database{}
	begun, done := make(chan context.Context), make(chan error)
	soon := make(chan struct{}, 1)
	w := newReplica(d, "a", upkeep.Errand{Name: "heal", Every: time.Hour, Soon: soon, Do: func(ctx context.Context) error {
		begun <- ctx
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	w.Turn(t.Context())
	<-begun
	w.Turn(t.Context()) // it runs: not a second time
	done <- nil
	for w.Done()["heal"].IsZero() {
		w.Turn(t.Context())
	}
	w.elapsed += 59 * time.Minute
	w.Turn(t.Context())
	soon <- struct{}{}
	w.Turn(t.Context())
	ctx := <-begun
	d.lease = upkeep.Lease{Owner: "b", Fence: 9}
	w.elapsed += upkeep.BeatEvery
	w.Turn(t.Context())
	<-ctx.Done()
}
