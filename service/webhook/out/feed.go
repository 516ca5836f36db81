package out

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

// The feed is all events in the order of their numbers: who remembers the last number that they
// dealt with misses nothing, however long they were away.

// FeedStore is what the feed needs of a database.
type FeedStore interface {
	// EventsAfter returns events that were committed, in the order of their numbers. ErrNotFound: there
	// is no such replay, or its endpoint was removed.
	EventsAfter(ctx context.Context, q FeedQuery) (FeedPage, error)
	// NewestEvent returns the number of the newest event; 0 when there never was one.
	NewestEvent(ctx context.Context) (int64, error)
	// NextPublished is closed after the next transaction of this process that writes events.
	NextPublished() <-chan struct{}
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error
}

// FeedQuery is which events to read.
type FeedQuery struct {
	After   int64 // only those behind this number
	Limit   int
	Account string          // only its events; "": all
	Type    audit.EventType // only those; "": all
	Tests   bool            // also those that were made to try an endpoint
	Replays bool            // also audit.EventReplayed, whatever Type says
	Replay  string          // only what this replay sends; "": everything
}

// FeedPage is a part of the feed.
type FeedPage struct {
	Events []Event
	Next   int64 // where to go on: all events up to this number were looked at
	Oldest int64 // number of the oldest event that is kept; one more than Newest when none is
	Newest int64
}

// ErrGone says that events behind the number that was asked for are not there.
var ErrGone = errors.New("events are missing")

// ErrBusy says that too many wait for events already.
var ErrBusy = errors.New("too many callers wait for events: ask without wait, or try again later")

// The limits of the feed.
const (
	MaxWait    = time.Minute
	MaxWaiters = 128 // in one process; each holds a connection
	// lookEvery is how often what other processes published is looked for while somebody waits.
	lookEvery = 500 * time.Millisecond
)

// Feed is the events of a database, in their order.
type Feed struct {
	store   FeedStore
	after   func(time.Duration) <-chan time.Time
	waiters atomic.Int64
}

// NewFeed returns the feed of a database. after is time.After, or the clock of a test.
func NewFeed(s FeedStore, after func(time.Duration) <-chan time.Time) *Feed {
	return &Feed{store: s, after: after}
}

// Read returns events. When there are none it waits for some until ctx ends or wait is over, and
// then returns none. ErrGone: some behind q.After were pruned, or the database is older than what
// was read before. ErrInvalid, ErrNotFound: there is no such type, no such account or replay. ErrBusy.
// Nobody waits for events of a replay, to which none are added.
func (f *Feed) Read(ctx context.Context, q FeedQuery, wait time.Duration) (FeedPage, error) {
	if q.Type != "" && !slices.Contains(audit.EventTypes, q.Type) {
		return FeedPage{}, UnknownType(q.Type)
	}
	if q.Account != "" {
		if err := f.store.HasAccount(ctx, q.Account); err != nil {
			return FeedPage{}, err
		}
	}
	page, err := f.read(ctx, q)
	if err != nil || wait <= 0 || q.Replay != "" || !page.end() {
		return page, err
	}
	if f.waiters.Add(1) > MaxWaiters {
		f.waiters.Add(-1)
		return page, ErrBusy
	}
	defer f.waiters.Add(-1)
	over := f.after(wait)
	for page.end() {
		next := f.store.NextPublished()
		newest, err := f.store.NewestEvent(ctx)
		if newest == page.Newest && err == nil {
			select {
			case <-next:
			case <-f.after(lookEvery):
			case <-over:
				return page, nil
			case <-ctx.Done():
				return page, nil // whoever waits is told what there is: nothing
			}
			continue
		}
		q.After = page.Next // what was looked at already
		switch again, err := f.read(ctx, q); {
		case ctx.Err() != nil:
			return page, nil
		case err != nil:
			return page, err
		default:
			page = again
		}
	}
	return page, nil
}

// end says that there are no events, and none behind what was looked at.
func (p FeedPage) end() bool { return len(p.Events) == 0 && p.Next >= p.Newest }

func (f *Feed) read(ctx context.Context, q FeedQuery) (FeedPage, error) {
	page, err := f.store.EventsAfter(ctx, q)
	switch {
	case err != nil:
		return page, err
	case q.After > page.Newest:
		return page, fmt.Errorf("%w: number %d was not given yet, the newest is %d: the database is older than what you read, as after a backup was restored; "+
			"look at what may have changed, and go on with after=%d", ErrGone, q.After, page.Newest, page.Newest)
	case q.After > 0 && q.After < page.Oldest-1:
		return page, fmt.Errorf("%w: those from %d to %d were pruned, as LICENSE_RETENTION says: look at what may have changed, and go on with after=%d",
			ErrGone, q.After+1, page.Oldest-1, page.Oldest-1)
	}
	page.fit()
	return page, nil
}

// maxPage is how many bytes of events a page has, one more event apart.
const maxPage = 512 << 10

// fit leaves out what is too much for one answer.
func (p *FeedPage) fit() {
	size := 0
	for i, e := range p.Events {
		if size += len(e.Data); size > maxPage && i+1 < len(p.Events) {
			p.Events, p.Next = p.Events[:i+1], e.Seq
			return
		}
	}
}

// Waiters is how many wait for events now.
func (f *Feed) Waiters() int64 { return f.waiters.Load() }

// UnknownType is the refusal of a type of events that there is not. ErrInvalid.
func UnknownType(t audit.EventType) error {
	return failure.Invalid(fmt.Sprintf("type %.100q is none of %s", string(t), failure.Names(audit.EventTypes)))
}
