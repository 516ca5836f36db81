package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/limit"
)

var limits = suite{
	"a bucket gives what it holds and refills evenly":  bucket,
	"what is owed is taken first, and may be too much": owed,
	"what is given back is there again":                givenBack,
	"takers at once get no more than there is":         takersAtOnce,
	"a clock that is set back keeps nobody out":        setBack,
	"a clock that is set ahead gives no more than all": setAhead,
	"buckets that are full are removed":                pruned,
}

// take is one of the key k, whose limit is 60 a minute.
func take(want int) limit.Take { return limit.Take{Key: "k", PerMinute: 60, Want: want} }

// atClock lets the limits of a store go by a clock, which the caller may set.
func atClock(s Store) *time.Time {
	now := at
	s.SetLimitClock(func() time.Time { return now })
	return &now
}

func wantTaken(t *testing.T, s Store, ask limit.Take, granted int, fullIn time.Duration) {
	t.Helper()
	got, err := s.TakeLimit(t.Context(), ask)
	must(t, err)
	same(t, limit.Taken{Granted: granted, FullIn: fullIn}, got)
}

func bucket(t *testing.T, s Store) {
	now := atClock(s)
	wantTaken(t, s, take(100), 30, 30*time.Second) // at most half
	wantTaken(t, s, take(6), 6, 36*time.Second)
	wantTaken(t, s, limit.Take{Key: "another", PerMinute: 60, Want: 6}, 6, 6*time.Second)
	*now = now.Add(10 * time.Second)
	wantTaken(t, s, take(0), 0, 26*time.Second)
	for _, step := range []struct {
		granted int
		fullIn  time.Duration
	}{{17, 43 * time.Second}, {9, 52 * time.Second}, {4, 56 * time.Second}, {2, 58 * time.Second}, {1, 59 * time.Second}, {1, time.Minute}, {0, time.Minute}} {
		wantTaken(t, s, take(100), step.granted, step.fullIn)
	}
	*now = now.Add(999 * time.Millisecond)
	wantTaken(t, s, take(1), 0, 59*time.Second+time.Millisecond)
	*now = now.Add(time.Millisecond)
	wantTaken(t, s, take(1), 1, time.Minute)
	*now = now.Add(time.Hour)
	wantTaken(t, s, take(6), 6, 6*time.Second)
	for _, perMinute := range []int{1, 7, 600, 1_000_000} { // also where a request takes no whole number of microseconds
		all := 0
		for {
			got, err := s.TakeLimit(t.Context(), limit.Take{Key: "all", PerMinute: perMinute, Want: perMinute})
			must(t, err)
			if got.Granted == 0 {
				break
			}
			all += got.Granted
		}
		if all != perMinute {
			t.Errorf("a bucket of %d gave %d", perMinute, all)
		}
		*now = now.Add(time.Hour)
	}
}

func owed(t *testing.T, s Store) {
	atClock(s)
	ask := take(6)
	ask.Owed = 3 * time.Second
	wantTaken(t, s, ask, 6, 9*time.Second)
	ask.Owed = 40 * time.Second
	wantTaken(t, s, ask, 6, 55*time.Second)
	ask.Owed = 7 * time.Second
	wantTaken(t, s, ask, 0, 62*time.Second)
	wantTaken(t, s, take(6), 0, 62*time.Second)
	wantTaken(t, s, limit.Take{Key: "new", PerMinute: 60, Want: 6, Owed: time.Minute}, 0, time.Minute)
}

func givenBack(t *testing.T, s Store) {
	now := atClock(s)
	wantTaken(t, s, take(6), 6, 6*time.Second)
	back := limit.Take{Key: "k", PerMinute: 60, Owed: -4 * time.Second}
	wantTaken(t, s, back, 0, 2*time.Second)
	*now = now.Add(time.Minute)
	wantTaken(t, s, back, 0, 0)
	wantTaken(t, s, take(6), 6, 6*time.Second) // nobody gets more than all
	wantTaken(t, s, limit.Take{Key: "unknown", PerMinute: 60, Owed: -4 * time.Second}, 0, 0)
}

func takersAtOnce(t *testing.T, s Store) {
	atClock(s)
	var wg sync.WaitGroup
	got := make([]int, 8)
	for i := range got {
		wg.Go(func() {
			for range 10 {
				taken, err := s.TakeLimit(t.Context(), take(3))
				if err != nil {
					t.Error(err)
				}
				got[i] += taken.Granted
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range got {
		sum += n
	}
	same(t, 60, sum)
}

func setBack(t *testing.T, s Store) {
	now := atClock(s)
	*now = now.Add(time.Hour)
	wantTaken(t, s, take(6), 6, 6*time.Second)
	*now = now.Add(-time.Hour)
	wantTaken(t, s, take(6), 0, 66*time.Second)
	*now = now.Add(7 * time.Second)
	wantTaken(t, s, take(6), 1, time.Minute)
}

func setAhead(t *testing.T, s Store) {
	now := atClock(s)
	wantTaken(t, s, take(30), 30, 30*time.Second)
	*now = now.Add(time.Hour)
	wantTaken(t, s, take(30), 30, 30*time.Second)
}

func pruned(t *testing.T, s Store) {
	now := atClock(s)
	for _, key := range []string{"a", "b"} {
		wantTaken(t, s, limit.Take{Key: key, PerMinute: 60, Want: 6}, 6, 6*time.Second)
	}
	*now = now.Add(time.Second)
	wantTaken(t, s, take(6), 6, 6*time.Second)
	n, err := s.PruneLimits(t.Context(), at.Add(6*time.Second))
	must(t, err)
	same(t, int64(0), n)
	n, err = s.PruneLimits(t.Context(), at.Add(6*time.Second+time.Millisecond))
	must(t, err)
	same(t, int64(2), n)
	wantTaken(t, s, take(6), 6, 12*time.Second)
	wantTaken(t, s, limit.Take{Key: "a", PerMinute: 60, Want: 6}, 6, 6*time.Second)
}
