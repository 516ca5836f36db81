package upkeep

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// tend renews the lease when it is held, and else looks whether it can be claimed.
func (u *Upkeep) tend(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, BeatEvery)
	defer cancel()
	err := u.look(ctx)
	now := u.cfg.Elapsed()
	u.beatAt = now + BeatEvery
	switch {
	case errors.Is(err, ErrLost):
		u.lost()
	case err == nil:
		u.errors.reset()
	case u.errors.mayLog(now):
		u.cfg.Events.Error("upkeep", "job", "lease", "err", err)
	}
}

func (u *Upkeep) look(ctx context.Context) error {
	if u.held != nil {
		renewed, err := u.cfg.Store.BeatUpkeep(ctx, *u.held)
		if err == nil {
			u.held = &renewed
		}
		return err
	}
	seen, err := u.cfg.Store.UpkeepLease(ctx)
	if err != nil {
		return err
	}
	now := u.cfg.Elapsed()
	if u.since == 0 || seen != u.seen {
		u.seen, u.since = seen, max(now, 1)
	}
	if seen.Owner != "" && now-u.since < Patience {
		return nil
	}
	held, err := u.cfg.Store.ClaimUpkeep(ctx, seen, u.cfg.Owner)
	if errors.Is(err, ErrLost) {
		return nil // another one was quicker
	}
	if err != nil {
		return err
	}
	u.held = &held
	u.cfg.Events.Info("upkeep is done by this replica")
	return nil
}

// lost ends upkeep by this replica until it gets the lease again.
func (u *Upkeep) lost() {
	u.held, u.since = nil, 0
	u.cancelErrands()
	u.cfg.Events.Warn("upkeep", "job", "lease", "err", ErrLost)
}

// release gives the lease back, if this replica has it.
func (u *Upkeep) release(ctx context.Context) {
	if u.held == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	if err := u.cfg.Store.ReleaseUpkeep(ctx, *u.held); err != nil && !errors.Is(err, ErrLost) {
		u.cfg.Events.Error("upkeep", "job", "lease", "err", fmt.Errorf("give it back: %w", err))
	}
	u.held = nil
}

// releaseTime bounds how long a stop waits for the database.
const releaseTime = 2 * time.Second

// limiter lets an error be logged once in a while.
type limiter struct{ until time.Duration }

// logEvery is how often an error is logged that does not go away.
const logEvery = 10 * time.Minute

func (l *limiter) mayLog(now time.Duration) bool {
	if now < l.until {
		return false
	}
	l.until = now + logEvery
	return true
}

func (l *limiter) reset() { l.until = 0 }
