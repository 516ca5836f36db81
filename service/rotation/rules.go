package rotation

import (
	"hash/fnv"
	"time"

	"github.com/pageflare/ci/service/account"
)

const (
	day = 24 * time.Hour
	// early is longer than the 7 days before the end at which the Action refreshes a token unless it
	// is told otherwise: it finds a fresh one.
	early = 8 * day
)

// Due is when a secret is written again whose token was made at issued and ends at expires: when
// half of its life is over, or, of a shorter one, 8 days before its end, but not before a quarter of
// its life is over. Each place is up to a tenth of the life earlier than that, always by the same
// share, so that what was added together is not due together.
//
// A token that ends with its license (capped) is as good as one gets: the next one is due when the
// license is renewed (see Store.HurryTargets), or over.
func Due(issued, expires time.Time, capped bool, place string) time.Time {
	if capped {
		return expires
	}
	life := expires.Sub(issued)
	before := max(life/2, min(early, life/4*3))
	return expires.Add(-before - time.Duration(share(place)*float64(life/10)))
}

// share is a number from 0 to 1 that belongs to a text.
func share(text string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return float64(h.Sum64()%1024) / 1024
}

// State is how a target is doing.
type State string

// The states of a target.
const (
	Fresh   State = "fresh"   // it was written, and the next time is to come
	IsDue   State = "due"     // it is written as soon as its turn comes
	Failing State = "failing" // the last try failed
	Paused  State = "paused"  // the account may not hold a token now
	Halted  State = "stopped" // nothing is written any more, see Rotation.Stopped
)

// States are all states there are.
var States = []State{Fresh, IsDue, Failing, Paused, Halted}

// Paused says why the account of a rotation gets no tokens: nil, account.ErrRevoked, ErrInactive or
// ErrExpired.
func (r Rotation) Paused(now time.Time) error {
	return account.MayHoldToken(account.Account{Status: r.AccountStatus, ValidUntil: r.ValidUntil}, now)
}

// StateOf is the state of a target of the rotation.
func (r Rotation) StateOf(t Target, now time.Time) State {
	switch {
	case r.Stopped != "":
		return Halted
	case r.Paused(now) != nil:
		return Paused
	case t.Failure != nil:
		return Failing
	case !t.Due.After(now):
		return IsDue
	}
	return Fresh
}

// place tells a target from all others, for what belongs to it alone.
func place(r Rotation, t Target) string { return r.ID + " " + t.Name }

// reusable says whether a token that was recorded and may not have been written is still worth it.
func reusable(issued, expires, now time.Time, capped bool, place string) bool {
	return now.Before(Due(issued, expires, capped, place))
}
