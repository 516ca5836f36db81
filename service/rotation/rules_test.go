package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pageflare/ci/service/rotation"
)

func TestDue(t *testing.T) {
	t.Parallel()
	issued := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		life, from, to time.Duration // how much of the life is over at the earliest and at the latest
	}{
		"a year":      {365 * day, 365 * day * 4 / 10, 365 * day / 2},
		"30 days":     {30 * day, 12 * day, 15 * day},
		"14 days":     {14 * day, 4*day + 14*time.Hour, 6 * day},
		"10 days":     {10 * day, 36 * time.Hour, 60 * time.Hour},
		"an hour":     {time.Hour, 9 * time.Minute, 15 * time.Minute},
		"two seconds": {2 * time.Second, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expires, seen := issued.Add(test.life), map[time.Time]bool{}
			for n := range 500 {
				place := fmt.Sprintf("rot_%d repository", n)
				due := rotation.Due(issued, expires, false, place)
				over := due.Sub(issued)
				if over < test.from || over > test.to {
					t.Fatalf("due after %s, want %s to %s", over, test.from, test.to)
				}
				if !due.Equal(rotation.Due(issued, expires, false, place)) {
					t.Fatal("a place is due at two times")
				}
				if left := expires.Sub(due); test.life > 12*day && left < 8*day {
					t.Fatalf("%s are left: the Action would refresh it first", left)
				}
				seen[due] = true
			}
			if len(seen) < 200 {
				t.Errorf("500 places are due at %d times", len(seen))
			}
			if got := rotation.Due(issued, expires, true, "x"); !got.Equal(expires) {
				t.Errorf("one that ends with its license is due %s", got)
			}
		})
	}
}
