package store

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/ledger"
)

// maxRecent is how many records are remembered: more than a window of refreshes has on most
// installations. What is forgotten, or was recorded by another replica, costs one more valid token
// when its window turns, and nothing else.
const maxRecent = 100_000

// recentAge is how long a record matters: two windows.
const recentAge = 2 * license.MaxWindow

// recent is the tokens that were recorded last, by this process or before it started, and when.
type recent struct {
	load   func(context.Context) ([]ledger.Record, error) // the newest records in the database
	first  sync.Mutex                                     // held while they are loaded
	loaded atomic.Bool

	mu    sync.RWMutex
	at    map[recentID]int64
	order []recentID // ring, the oldest at next
	next  int
}

// recentID stands for the id of a token in memory: 128 bits of its hash, which no two share. 100,000
// texts would take more than twice as much, and the collector would look at each.
type recentID [16]byte

func recentIDOf(id opaque.TokenID) recentID {
	sum := sha256.Sum256([]byte(id))
	return recentID(sum[:16])
}

func newRecent(load func(context.Context) ([]ledger.Record, error)) *recent {
	return &recent{load: load, at: map[recentID]int64{}}
}

// add remembers records.
func (r *recent) add(records []ledger.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range records {
		r.put(recentIDOf(opaque.TokenID(records[i].ID)), records[i].At)
	}
}

func (r *recent) put(id recentID, at int64) {
	if _, there := r.at[id]; there {
		return // the first time counts
	}
	if len(r.order) < maxRecent {
		r.order = append(r.order, id)
	} else {
		delete(r.at, r.order[r.next])
		r.order[r.next] = id
		r.next = (r.next + 1) % maxRecent
	}
	r.at[id] = at
}

// has says whether a token is remembered.
func (r *recent) has(id opaque.TokenID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, there := r.at[recentIDOf(id)]
	return there
}

// when is when a token was recorded, if that is remembered.
func (r *recent) when(ctx context.Context, id opaque.TokenID) (at time.Time, known bool, err error) {
	if err := r.remember(ctx); err != nil {
		return time.Time{}, false, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	ms, known := r.at[recentIDOf(id)]
	return fromMillis(ms), known, nil
}

// remember loads what was recorded before this process started.
func (r *recent) remember(ctx context.Context) error {
	if r.loaded.Load() {
		return nil
	}
	r.first.Lock()
	defer r.first.Unlock()
	if r.loaded.Load() {
		return nil
	}
	records, err := r.load(ctx)
	if err != nil {
		return err
	}
	r.add(records)
	r.loaded.Store(true)
	return nil
}
