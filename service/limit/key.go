package limit

import (
	"container/list"
	"sync"
	"time"
)

// meter is a bucket by GCRA that is full again at a time.
type meter struct{ full time.Time }

// lacks is how long it takes until the bucket is full.
func (m meter) lacks(now time.Time) time.Duration { return max(0, m.full.Sub(now)) }

// over is how long it takes until one request more fits in, of which each is refilled in a time.
func (m meter) over(now time.Time, each time.Duration) time.Duration {
	return max(0, m.lacks(now)+each-time.Minute)
}

// add takes one request.
func (m *meter) add(now time.Time, each time.Duration) {
	m.full = now.Add(m.lacks(now) + each)
}

// key is what a replica knows of a key.
type key struct {
	name string

	mu      sync.Mutex
	own     meter     // what this replica has let in
	owed    meter     // what of it the bucket was not told
	bucket  meter     // as the bucket was when it was asked last
	held    int       // got of it and not used
	refused time.Time // until then nothing is let in
}

// holds is how much of what is held is worth something: others get what the bucket has again.
func (k *key) holds(now time.Time, each time.Duration) int {
	k.held = int(min(int64(k.held), int64(k.bucket.lacks(now)/each)))
	return k.held
}

// table is the keys that were seen last.
type table struct {
	mu    sync.Mutex
	max   int
	seen  *list.List // of *key, the newest first
	byKey map[string]*list.Element
}

func newTable(limit int) *table {
	return &table{max: limit, seen: list.New(), byKey: map[string]*list.Element{}}
}

// of is what is known of a key.
func (t *table) of(name string) *key {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byKey[name]; ok {
		t.seen.MoveToFront(e)
		return e.Value.(*key)
	}
	if t.seen.Len() >= t.max {
		oldest := t.seen.Back()
		delete(t.byKey, oldest.Value.(*key).name)
		t.seen.Remove(oldest)
	}
	k := &key{name: name}
	t.byKey[name] = t.seen.PushFront(k)
	return k
}

func (t *table) all() []*key {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*key, 0, t.seen.Len())
	for e := t.seen.Front(); e != nil; e = e.Next() {
		out = append(out, e.Value.(*key))
	}
	return out
}
