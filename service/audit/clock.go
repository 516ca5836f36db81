package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pageflare/ci/service/failure"
)

// ClockSlack is how far apart the clocks of servers on one database may be.
const ClockSlack = time.Minute

// newestMaxAge is how long a process goes by the newest time that it has read.
const newestMaxAge = time.Second

// ErrClockBehind says that the clock of this machine is behind what was written to the database.
// Nobody can tell then whether a token is valid, or when a new one would end.
var ErrClockBehind = errors.New("the clock of this machine is behind the database")

// ClockStore is what the check of the clock needs of a database.
type ClockStore interface {
	// NewestTime returns the newest time that was ever written to the audit log; zero when there is
	// none.
	NewestTime(ctx context.Context) (time.Time, error)
	// AcceptClock makes the time of the act the newest, whatever was written before.
	AcceptClock(ctx context.Context, act Act) error
}

// clock is what a Log knows of the newest time.
type clock struct {
	mu     sync.Mutex
	newest time.Time
	read   time.Time // zero: never
}

// CheckClock returns nil unless the clock is behind the newest time that was ever written by more
// than ClockSlack: then an ErrClockBehind, which is also a failure.ErrUnavailable. It asks the
// database at most once a second.
func (log *Log) CheckClock(ctx context.Context) error {
	log.clock.mu.Lock()
	defer log.clock.mu.Unlock()
	now := log.now()
	if log.clock.read.IsZero() || now.Sub(log.clock.read).Abs() >= newestMaxAge {
		newest, err := log.store.NewestTime(ctx)
		if errors.Is(err, ErrTampered) {
			return fmt.Errorf("%w: run `pageflare-license audit verify`", err)
		}
		if err != nil {
			return err
		}
		log.clock.newest, log.clock.read = newest, now
	}
	if newest := log.clock.newest; newest.After(now.Add(ClockSlack)) {
		return fmt.Errorf("%w: it is %s here, and the database was changed at %s: set the clock; if it is right and was ahead then, "+
			"run pageflare-license audit accept-clock (%w)", ErrClockBehind, now.Format(time.RFC3339), newest.UTC().Format(time.RFC3339), failure.ErrUnavailable)
	}
	return nil
}

// NewestTime is the newest time that was ever written; zero when there is none.
func (log *Log) NewestTime(ctx context.Context) (time.Time, error) { return log.store.NewestTime(ctx) }

// AcceptClock says that the clock is right, and was ahead when something newer was written. It
// returns the newest time that counted until now, and changes nothing when that is not ahead.
func (log *Log) AcceptClock(ctx context.Context) (newest time.Time, err error) {
	newest, err = log.store.NewestTime(ctx)
	if err != nil || !newest.After(log.now()) {
		return newest, err
	}
	return newest, log.store.AcceptClock(ctx, log.Act(ctx, ClockAccepted, "", "", Details{"newest": newest.Unix()}))
}
