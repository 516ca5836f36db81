package main

import (
	"context"
	"errors"
	"testing"
)

func TestWhatIsSeededIsRecorded(t *testing.T) {
	t.Parallel()
	const refreshed = seedWriters + 44 // some walks are a step longer than others
	clock := newSeedClock(refreshed)
	d, err := newDatabase(t.Context(), sqlite{t.TempDir()}, "seeded", "none")
	if err != nil {
		t.Fatal(err)
	}
	d.now = clock.now
	made, err := d.seedAccounts(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	before, err := d.records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.seedRecords(t.Context(), made[0].account, refreshed, clock); err != nil {
		t.Fatal(err)
	}
	after, err := d.records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after-before != refreshed {
		t.Errorf("%d records were made, want %d", after-before, refreshed)
	}
	if bytes, err := d.engine.size(t.Context(), d.url); bytes == 0 || err != nil {
		t.Errorf("size = %d, %v", bytes, err)
	}
}

func TestAllocationsAreThoseOfTheServiceAlone(t *testing.T) {
	t.Parallel()
	d, err := newDatabase(t.Context(), sqlite{t.TempDir()}, "counted", "http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	made, err := d.seedAccounts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	objects, bytes, err := allocations(t.Context(), hosted{database: d, sessions: newSessions([]string{made[0].token}, false)})
	if err != nil || objects <= 0 || bytes <= 0 {
		t.Errorf("allocations = %.0f objects, %.0f bytes, %v", objects, bytes, err)
	}
}

func TestTheFirstErrorEndsAllWorkers(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	done := make([]bool, 100)
	err := atOnce(t.Context(), 1, len(done), func(i int) error {
		if done[i] = true; i == 10 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || !done[10] || done[11] {
		t.Errorf("atOnce = %v; the one before the error: %v, after it: %v", err, done[10], done[11])
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := atOnce(ctx, 4, 4, func(int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("atOnce with a context that has ended = %v", err)
	}
}
