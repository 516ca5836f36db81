package license_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

// While the clock is behind what was written nobody can tell whether a token is good, and what is
// issued would be dead.
func TestAClockInThePastSaysNoFinalNo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	a, old := b.issue(0)
	b.advance(-30 * 24 * time.Hour)
	_, err := b.Authenticate(ctx, old.Token.Reveal())
	wantBehind(t, "Authenticate", err)
	_, err = b.IssueFor(ctx, a.ID, 0)
	wantBehind(t, "IssueFor", err)
	wantBehind(t, "Ready", b.Parts.Ready(ctx))
	if _, err := b.SuspendAccount(ctx, a.ID); err != nil { // a write does not make the clock right
		t.Fatal(err)
	}
	b.advance(2 * time.Second)
	wantBehind(t, "Ready after a write", b.Parts.Ready(ctx))
	b.advance(30 * 24 * time.Hour)
	if err := b.Parts.Ready(ctx); err != nil {
		t.Errorf("Ready when the clock is right again = %v", err)
	}
}

// A clock that was ahead is set right, and somebody says so.
func TestAClockThatWasAheadIsAccepted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	a, _ := b.issue(0)
	b.advance(2 * time.Hour)
	if _, err := b.IssueFor(ctx, a.ID, 0); err != nil {
		t.Fatal(err)
	}
	b.advance(-2 * time.Hour)
	_, err := b.IssueFor(ctx, a.ID, 0)
	wantBehind(t, "IssueFor", err)
	if _, err := b.Parts.Log.AcceptClock(ctx); err != nil {
		t.Fatal(err)
	}
	b.advance(2 * time.Second)
	if _, err := b.IssueFor(ctx, a.ID, 0); err != nil {
		t.Errorf("IssueFor after AcceptClock = %v", err)
	}
	lines, err := b.Parts.Log.Lines(ctx, audit.Query{Action: audit.ClockAccepted, Limit: 5})
	if err != nil || len(lines) != 1 {
		t.Errorf("lines of clock.accept = %v, %v, want one", lines, err)
	}
}

func wantBehind(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, audit.ErrClockBehind) || !errors.Is(err, failure.ErrUnavailable) {
		t.Errorf("%s = %v, want ErrClockBehind", what, err)
	}
}
