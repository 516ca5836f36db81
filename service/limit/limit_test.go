package limit_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pageflare/ci/service/limit"
)

// buckets is what the database does, in memory: service/store/storetest holds the real ones to it.
type buckets struct {
	mu    sync.Mutex
	now   time.Time
	full  map[string]time.Time
	asked int
	fault error
}

func (b *buckets) TakeLimit(ctx context.Context, t limit.Take) (limit.Taken, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if err := errors.Join(b.fault, ctx.Err()); err != nil {
		return limit.Taken{}, err
	}
	full := b.full[t.Key]
	if full.Before(b.now) {
		full = b.now
	}
	full = full.Add(t.Owed)
	each := time.Minute / time.Duration(t.PerMinute)
	room := int((time.Minute - full.Sub(b.now)) / each)
	granted := max(0, min(t.Want, (room+1)/2))
	full = full.Add(time.Duration(granted) * each)
	b.full[t.Key] = full
	return limit.Taken{Granted: granted, FullIn: max(0, full.Sub(b.now))}, nil
}

// replica is one whose clock is ahead of the database's.
func (b *buckets) replica(ahead time.Duration) *limit.Replica {
	return limit.NewReplica(limit.Config{
		Store: b, Now: func() time.Time { return b.now.Add(ahead) }, Asked: func(limit.Outcome) {}, Silent: func(error) {},
	})
}

func newBuckets() *buckets { return &buckets{now: time.Unix(1e9, 0), full: map[string]time.Time{}} }

// However requests are spread over replicas and time, no more are let in than the limit allows and a
// portion for each replica but one, and that again in each minute.
func TestNoMoreThanTheLimitIsLetIn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		perMinute := rapid.SampledFrom([]int{1, 10, 60, 600, 3000}).Draw(t, "limit")
		n := rapid.IntRange(1, 5).Draw(t, "replicas")
		b := newBuckets()
		limits := make([]*limit.Limit, n)
		for i := range limits {
			limits[i] = b.replica(time.Duration(i-1)*15*time.Second).Limit("x", perMinute)
		}
		let, begun := 0, b.now
		for range rapid.IntRange(1, 60).Draw(t, "bursts") {
			l := limits[rapid.IntRange(0, n-1).Draw(t, "to")]
			for range rapid.IntRange(1, 2*perMinute).Draw(t, "requests") {
				if l.Take(t.Context(), "k") == 0 {
					let++
				}
			}
			b.now = b.now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
			minutes := 1 + b.now.Sub(begun).Minutes()
			if most := minutes * float64(perMinute+(n-1)*(perMinute/limit.Portion)); float64(let) > most {
				t.Fatalf("%d of a limit of %d were let in by %d replicas after %s, want %.1f at most", let, perMinute, n, b.now.Sub(begun), most)
			}
		}
	})
}

// A caller who stays below the limit is never refused, whichever replicas answer, as long as what
// two hold is not more than what is left.
func TestWhoStaysBelowTheLimitIsNotRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const perMinute = 600
		b := newBuckets()
		var limits []*limit.Limit
		for range 3 {
			limits = append(limits, b.replica(0).Limit("x", perMinute))
		}
		for i := range 2000 {
			if wait := limits[rapid.IntRange(0, 2).Draw(t, "to")].Take(t.Context(), "k"); wait != 0 {
				t.Fatalf("request %d at nine tenths of the limit has to wait %s", i, wait)
			}
			b.now = b.now.Add(time.Minute / (perMinute * 9 / 10))
		}
	})
}

func TestRequestsAtOnceAskOnce(t *testing.T) {
	t.Parallel()
	b := newBuckets()
	l := b.replica(0).Limit("x", 600)
	var wg sync.WaitGroup
	for range 60 { // 30 without asking, 30 of a portion
		wg.Go(func() {
			if wait := l.Take(t.Context(), "k"); wait != 0 {
				t.Errorf("a request within the limit has to wait %s", wait)
			}
		})
	}
	wg.Wait()
	if b.asked != 1 {
		t.Errorf("60 requests at once asked %d times, want once", b.asked)
	}
}

// A client that left does not make the database look as if it did not answer.
func TestAClientThatLeavesEndsNoQuestion(t *testing.T) {
	t.Parallel()
	b := newBuckets()
	l := b.replica(0).Limit("x", 2) // so low that each request asks
	ctx, leave := context.WithCancel(t.Context())
	leave()
	for range 2 {
		l.Take(ctx, "k")
	}
	if got := b.full["x k"].Sub(b.now); got != time.Minute {
		t.Errorf("the bucket lacks %s after two requests of two, want a minute", got)
	}
}

// What is let in by three replicas in turn is the limit, also in the long run.
func TestReplicasInTurnLetInTheLimit(t *testing.T) {
	t.Parallel()
	for _, perMinute := range []int{10, 60, 600, 3000} {
		b := newBuckets()
		var limits []*limit.Limit
		for range 3 {
			limits = append(limits, b.replica(0).Limit("x", perMinute))
		}
		let, n := 0, 15*perMinute
		for i := range n { // three times the limit for five minutes
			if limits[i%3].Take(t.Context(), "k") == 0 {
				let++
			}
			b.now = b.now.Add(5 * time.Minute / time.Duration(n))
		}
		if most := 6 * perMinute; let > most || let < most*9/10 {
			t.Errorf("limit %d: %d let in within five minutes, want %d or a little less", perMinute, let, most)
		}
	}
}

// A portion that is not used is worth nothing when the bucket is full again: else replicas that
// saved theirs would let in more at once than the limit.
func TestAPortionIsNotSaved(t *testing.T) {
	t.Parallel()
	b := newBuckets()
	var limits []*limit.Limit
	for range 3 {
		l := b.replica(0).Limit("x", 60)
		for range 4 { // three without asking, and one of a portion of three
			l.Take(t.Context(), "k")
		}
		limits = append(limits, l)
	}
	b.now = b.now.Add(time.Hour)
	let := 0
	for i := range 300 {
		if limits[i%3].Take(t.Context(), "k") == 0 {
			let++
		}
	}
	if let != 60 {
		t.Errorf("%d let in at once an hour later, want 60", let)
	}
}

// A database that does not answer is not asked again for a second, and then told what was let in.
func TestAnOutageIsCountedAfterwards(t *testing.T) {
	t.Parallel()
	b := newBuckets()
	b.fault = errors.New("no answer")
	one, other := b.replica(0).Limit("x", 60), b.replica(0).Limit("x", 60)
	let := func(l *limit.Limit) (n int) {
		for range 100 {
			if l.Take(t.Context(), "k") == 0 {
				n++
			}
		}
		return n
	}
	if got := let(one); got != 60 || b.asked != 1 {
		t.Errorf("an outage: %d let in, the database asked %d times, want 60 and once", got, b.asked)
	}
	b.fault, b.now = nil, b.now.Add(10*time.Second)
	if got := let(one); got > 10 || got == 0 {
		t.Errorf("%d let in ten seconds later, want up to 10", got)
	}
	if got := let(other); got > 3 {
		t.Errorf("%d let in by the other replica, want 3 at most", got)
	}
}

func TestWhatIsHeldIsGivenBack(t *testing.T) {
	t.Parallel()
	b := newBuckets()
	r := b.replica(0)
	l := r.Limit("x", 60)
	for range 4 {
		l.Take(t.Context(), "k")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := r.GiveBack(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("GiveBack without time = %v, want context.Canceled", err)
	}
	for range 2 { // once is enough
		if err := r.GiveBack(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.full["x k"].Sub(b.now); got != 4*time.Second {
			t.Errorf("the bucket lacks %s, want 4s for four requests", got)
		}
	}
}

func TestTheLongestUnseenKeysAreForgotten(t *testing.T) {
	t.Parallel()
	b := newBuckets()
	l := b.replica(0).Limit("x", 60)
	for range 3 {
		l.Take(t.Context(), "first")
	}
	for n := range 65536 {
		l.Take(t.Context(), strconv.Itoa(n))
	}
	if l.Take(t.Context(), "first"); b.asked != 0 {
		t.Error("the first of 65537 keys is still known")
	}
}

func BenchmarkTake(b *testing.B) {
	l := newBuckets().replica(0).Limit("x", 100_000_000)
	b.ReportAllocs()
	for b.Loop() {
		l.Take(b.Context(), "k")
	}
}
