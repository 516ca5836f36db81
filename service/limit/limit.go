// Package limit decides how many requests a key may make in a minute where several replicas count
// together (decision 12). What a process counts alone, and what is counted by which key, is
// service/server's business.
//
// A key has a bucket in the database, which holds as many requests as the limit allows in a minute
// and fills evenly (GCRA). A replica takes a portion of it at a time, so that most requests ask
// nobody. Three rules keep that right:
//
//   - What a replica holds of a bucket is worth no more than what the bucket still lacks: all that
//     is held and what is in the bucket are never more than the limit.
//   - A key that is far below its limit has a few requests without asking, which are told to the
//     bucket as soon as the replica asks. So a key that calls now and then costs no write at all.
//   - Where the database does not answer, a replica goes by what it has let in itself: never more
//     than the limit for each replica.
//
// No clocks of replicas are compared: the bucket goes by the clock of the database, which tells how
// long it takes to be full, and a replica measures that time itself.
package limit

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// Portion is the part of a limit that a replica takes at once, and that it may let in without
	// asking: a twentieth. With three replicas two may hold, or not have told, a tenth of it.
	Portion = 20
	// pause is how long at least a replica does not ask again for a key that was refused: clients are
	// told whole seconds, and meanwhile the bucket fills so that one question is for many requests.
	pause = time.Second
	// patience is how long the database may take to answer.
	patience = 500 * time.Millisecond
	// silence is how long nothing is asked after it did not answer.
	silence = time.Second
	// maxKeys is how many keys of a limit a process knows at once; beyond it the longest unseen
	// ones are forgotten, so memory stays bounded.
	maxKeys = 65536
	// maxPerMinute is what a higher limit counts as: buckets go by microseconds.
	maxPerMinute = 60_000_000
)

// Store is the buckets of all replicas.
type Store interface {
	// TakeLimit takes from the bucket of a key, in one short statement.
	TakeLimit(ctx context.Context, take Take) (Taken, error)
}

// Take says what to take of a bucket.
type Take struct {
	Key       string
	PerMinute int           // what it holds
	Owed      time.Duration // first taken, also where it is not there: how long its refill takes; negative: given back
	Want      int           // then taken: at most so many, and at most half of what is there
}

// Taken is what was got.
type Taken struct {
	Granted int
	FullIn  time.Duration // how long until the bucket is full again
}

// Outcome is how asking for a portion ended.
type Outcome string

// The outcomes.
const (
	Granted Outcome = "granted"
	Refused Outcome = "refused"
	Failed  Outcome = "failed" // the database did not answer
)

// Config is what a Replica is made of. All fields must be set.
type Config struct {
	Store Store
	Now   func() time.Time // a clock that nobody sets
	Asked func(Outcome)    // is told how each question to the Store ended
	// Silent is told when the Store does not answer, with the reason, and with nil when it does
	// again.
	Silent func(error)
}

// Replica is the limits of one process that counts together with others.
type Replica struct {
	Config

	limits   []*Limit
	silent   atomic.Bool
	askAgain atomic.Pointer[time.Time]
}

// NewReplica returns a replica without limits.
func NewReplica(cfg Config) *Replica { return &Replica{Config: cfg} }

// Limit adds a limit. Names of limits keep their keys apart in the database. It must not be called
// while requests are counted.
func (r *Replica) Limit(name string, perMinute int) *Limit {
	perMinute = min(perMinute, maxPerMinute)
	l := &Limit{
		replica: r, name: name, perMinute: perMinute,
		each: time.Minute / time.Duration(perMinute),
		free: perMinute / Portion, portion: max(1, perMinute/Portion), keys: newTable(maxKeys),
	}
	r.limits = append(r.limits, l)
	return l
}

// GiveBack returns what the replica holds and does not need any more. It ends with ctx; what is not
// given back then is lost to the others for a minute at most.
func (r *Replica) GiveBack(ctx context.Context) error {
	for _, l := range r.limits {
		for _, k := range l.keys.all() {
			if err := l.giveBack(ctx, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// Limit is one limit in one process. It is safe for use by several goroutines.
type Limit struct {
	replica       *Replica
	name          string
	perMinute     int
	each          time.Duration // in which one request is refilled
	free, portion int
	keys          *table
}

// Take counts a request of a key. It returns 0, or how long the key has to wait.
func (l *Limit) Take(ctx context.Context, key string) (wait time.Duration) {
	k := l.keys.of(key)
	k.mu.Lock() // also while the database is asked: who comes meanwhile needs the same answer
	defer k.mu.Unlock()
	now := l.replica.Now()
	if wait := max(k.refused.Sub(now), k.own.over(now, l.each)); wait > 0 {
		return wait
	}
	switch {
	case k.holds(now, l.each) > 0:
		k.held--
	case l.mayOwe(k, now), l.replica.isSilent(now):
		k.owed.add(now, l.eachFree())
	default:
		wait = l.ask(ctx, k, now)
	}
	if wait == 0 {
		k.own.add(now, l.each)
	}
	return wait
}

// mayOwe says whether a key may have a request that the bucket is not told of yet: it is far below
// its limit as far as this replica knows, and has not had many such.
func (l *Limit) mayOwe(k *key, now time.Time) bool {
	return l.free > 0 && k.bucket.lacks(now) <= time.Minute/2 && k.owed.over(now, l.eachFree()) == 0
}

// eachFree is the time after which a request that was not told may be followed by another one for
// good. It is so long that those alone are no more than a portion in a minute.
func (l *Limit) eachFree() time.Duration { return time.Minute / time.Duration(max(1, l.free)) }

// debt is what the bucket was not told, as the time in which it is refilled. It is told in full,
// whenever it was: the bucket has been refilled meanwhile for all replicas together, not for this
// one. After an outage it is bounded by what this replica would have to wait for if it counted
// alone.
func (l *Limit) debt(k *key, now time.Time) time.Duration {
	each := l.eachFree()
	requests := (k.owed.lacks(now) + each - 1) / each
	return min(requests*l.each, max(time.Duration(l.free)*l.each, k.own.lacks(now)))
}

// ask takes a portion of the bucket, and of that the request that asks.
func (l *Limit) ask(ctx context.Context, k *key, now time.Time) (wait time.Duration) {
	got, err := l.take(ctx, k, Take{Owed: l.debt(k, now), Want: l.portion})
	if err != nil {
		l.replica.failed(err)
		k.owed.add(now, l.eachFree())
		return 0
	}
	l.replica.answered()
	k.owed, k.bucket = meter{}, meter{now.Add(got.FullIn)}
	if got.Granted > 0 {
		k.held = got.Granted - 1
		l.replica.Asked(Granted)
		return 0
	}
	l.replica.Asked(Refused)
	wait = max(k.bucket.over(now, l.each), pause)
	k.refused = now.Add(wait)
	return wait
}

// take asks the Store. A client that leaves does not end that: others wait for the same answer.
func (l *Limit) take(ctx context.Context, k *key, t Take) (Taken, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	t.Key, t.PerMinute = l.name+" "+k.name, l.perMinute
	return l.replica.Store.TakeLimit(ctx, t)
}

func (l *Limit) giveBack(ctx context.Context, k *key) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := l.replica.Now()
	n := k.holds(now, l.each)
	if n == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	k.held = 0
	_, err := l.take(ctx, k, Take{Owed: l.debt(k, now) - time.Duration(n)*l.each})
	return err
}

// isSilent says whether the database did not answer just now.
func (r *Replica) isSilent(now time.Time) bool {
	again := r.askAgain.Load()
	return again != nil && now.Before(*again)
}

func (r *Replica) failed(err error) {
	r.Asked(Failed)
	r.askAgain.Store(new(r.Now().Add(silence)))
	if r.silent.CompareAndSwap(false, true) {
		r.Silent(err)
	}
}

func (r *Replica) answered() {
	if r.silent.CompareAndSwap(true, false) {
		r.Silent(nil)
	}
}
