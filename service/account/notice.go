package account

import (
	"context"
	"time"

	"github.com/pageflare/ci/service/audit"
)

// NoticeStore is what notices need of a database.
type NoticeStore interface {
	// LookAtEnds hands up to limit accounts to look that are due to be looked at by now, with the
	// newest notice that each got, and stores what it answers: the act of a notice and that it was
	// given in one transaction. An account is due when it is new, was changed, or when an answer said
	// so. looked is how many there were.
	LookAtEnds(ctx context.Context, now time.Time, limit int, look func(Account, Notice) Look) (looked int, err error)
}

// Notice is what an account was told of the end of its license.
type Notice struct {
	ValidUntil time.Time // the end that it was told of; zero: it was told nothing
	Days       int       // how many days before at least; 0: that it has come
}

// Look is what comes of looking at an account.
type Look struct {
	Give *audit.Act // the notice to give; nil: none
	Told Notice     // what it was told then
	Next time.Time  // when to look again; zero: not until it is changed
}

// noticeDays are how many days before its end an account is told of it.
var noticeDays = []int{30, 7, 1}

// tooLate is how long after the end of a license nobody is told of it any more.
const tooLate = 30 * 24 * time.Hour

// Due says what an account is to be told at now, given what it was told before, and when to look
// again (zero: not until it is changed). Each end is told 30, 7 and 1 days before, and when it has
// come; of several of these that were missed only the newest. One who may not use the license anyhow
// is told nothing.
func Due(a Account, told Notice, now time.Time) (due Notice, tell bool, next time.Time) {
	if a.Status != Active {
		return told, false, time.Time{}
	}
	before := noticeDays[0] + 1
	if told.ValidUntil.Equal(a.ValidUntil) {
		before = told.Days
	}
	if !now.Before(a.ValidUntil) {
		return Notice{a.ValidUntil, 0}, before > 0 && now.Before(a.ValidUntil.Add(tooLate)), time.Time{}
	}
	at := func(days int) time.Time { return a.ValidUntil.Add(-time.Duration(days) * 24 * time.Hour) }
	due, next = told, at(noticeDays[0])
	for i, days := range noticeDays {
		if now.Before(at(days)) {
			break
		}
		next = a.ValidUntil
		if i+1 < len(noticeDays) {
			next = at(noticeDays[i+1])
		}
		if days < before {
			due, tell = Notice{a.ValidUntil, days}, true
		}
	}
	return due, tell, next
}

// Notices tells accounts that their license ends soon, or has ended: by an act of the audit log, which
// is told to webhooks.
type Notices struct {
	store NoticeStore
	log   *audit.Log
	now   func() time.Time
}

// NewNotices returns the notices of a database.
func NewNotices(s NoticeStore, log *audit.Log, now func() time.Time) *Notices {
	return &Notices{s, log, now}
}

// noticesAtOnce is how many accounts are looked at in one transaction.
const noticesAtOnce = 100

// Give gives all notices that are due, each once, however many replicas do.
func (n *Notices) Give(ctx context.Context) error {
	for {
		now := n.now()
		looked, err := n.store.LookAtEnds(ctx, now, noticesAtOnce, func(a Account, told Notice) Look {
			due, tell, next := Due(a, told, now)
			look := Look{Told: due, Next: next}
			if tell {
				look.Give = new(n.act(ctx, a.ID, due))
			}
			return look
		})
		if err != nil || looked < noticesAtOnce {
			return err
		}
	}
}

func (n *Notices) act(ctx context.Context, id string, due Notice) audit.Act {
	details := audit.Details{"valid_until": due.ValidUntil}
	if due.Days == 0 {
		return n.log.Act(ctx, audit.LicenseExpired, id, id, details)
	}
	details["days"] = due.Days
	return n.log.Act(ctx, audit.LicenseExpiring, id, id, details)
}
