package rights_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/pageflare/ci/service/rights"
)

// reads is a cache and what was loaded through it.
type reads struct {
	cache rights.Cache[string]
	loads int
}

func (r *reads) get(t *testing.T, asOf int64, key, value string) string {
	t.Helper()
	got, err := r.cache.Get(asOf, key, func() (string, error) {
		r.loads++
		return value, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWhatWasReadIsUsedAgainInTheSameStateAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		states []int64
		want   int // loads
	}{
		{"the same state", []int64{3, 3, 3}, 1},
		{"another state", []int64{3, 4, 4}, 2},
		{"another database, whose state is lower", []int64{3, 1, 1}, 2},
		{"a database that cannot tell", []int64{0, 0, 0}, 3},
		{"one that cannot tell for a moment", []int64{3, 0, 3}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var r reads
			for i, state := range test.states {
				r.get(t, state, "key", strconv.Itoa(i))
			}
			if r.loads != test.want {
				t.Errorf("loads = %d, want %d", r.loads, test.want)
			}
		})
	}
}

// A reader that is late stores what was true before: nobody may get it afterwards.
func TestWhatWasReadBeforeAChangeAndStoredAfterItDoesNotSurvive(t *testing.T) {
	t.Parallel()
	for name, changed := range map[string]func(*testing.T, *reads){
		"others have read since":   func(t *testing.T, r *reads) { r.get(t, 2, "key", "revoked") },
		"another entry was read":   func(t *testing.T, r *reads) { r.get(t, 2, "other", "good") },
		"nobody has read since":    func(*testing.T, *reads) {},
		"the database was changed": func(t *testing.T, r *reads) { r.get(t, 7, "key", "x"); r.get(t, 2, "key", "revoked") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r reads
			late, err := r.cache.Get(1, "key", func() (string, error) {
				changed(t, &r) // after this one has read, before it stores
				return "good", nil
			})
			if err != nil || late != "good" {
				t.Fatalf("Get(1) = %q, %v, want what it read", late, err)
			}
			if got := r.get(t, 2, "key", "revoked"); got != "revoked" {
				t.Errorf("Get(2) = %q, want revoked", got)
			}
		})
	}
}

func TestAnErrorIsNotStored(t *testing.T) {
	t.Parallel()
	var r reads
	broken := errors.New("broken")
	if _, err := r.cache.Get(1, "key", func() (string, error) { return "half", broken }); !errors.Is(err, broken) {
		t.Errorf("Get = %v, want %v", err, broken)
	}
	if got := r.get(t, 1, "key", "good"); got != "good" {
		t.Errorf("Get after an error = %q, want good", got)
	}
}

func TestACacheIsBounded(t *testing.T) {
	t.Parallel()
	const bound = 20_000
	var r reads
	for i := range bound + bound/2 {
		r.get(t, 1, strconv.Itoa(i), "x")
	}
	stored, stop := 0, errors.New("not stored")
	for i := range bound + bound/2 {
		if _, err := r.cache.Get(1, strconv.Itoa(i), func() (string, error) { return "", stop }); err == nil {
			stored++
		}
	}
	if stored == 0 || stored > bound {
		t.Errorf("%d entries are stored, want 1 to %d", stored, bound)
	}
}
