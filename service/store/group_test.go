package store_test

import (
	"runtime"
	"testing"

	"github.com/pageflare/ci/service/store"
)

// A transaction begins when everybody who could run has had the chance to join it, and not when the
// first has: with many callers on few cores each would have its own otherwise, with its own fsync.
// On one core all have run when the first one goes on, so this test runs beside no other.
func TestThoseWhoAreReadyShareATransaction(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if got := store.Gathered(100); got != 101 {
		t.Errorf("%d writes share a transaction, want 101", got)
	}
	if got := store.Gathered(0); got != 1 {
		t.Errorf("a write that comes alone is in a transaction of %d", got)
	}
	if got := store.Gathered(1000); got != 256 {
		t.Errorf("%d writes share a transaction, want 256 at most", got)
	}
}
