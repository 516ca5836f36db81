package secret

import (
	"context"
	"sync"
	"time"
)

// A Hurry tells clients of the GitHub API that their run is being cancelled, so that what it still has to write is not lost in a pause:
// pauses end at once, the request behind each is tried once more without one, and from then on no pause is begun that would not end in time.
// It may be shared by goroutines; nil is one that never comes.
type Hurry struct {
	come func()
	came context.Context // ends when it comes

	mu    sync.Mutex
	until time.Time
}

// NewHurry makes one that has not come yet.
func NewHurry() *Hurry {
	h := &Hurry{}
	h.came, h.come = context.WithCancel(context.Background())
	return h
}

// Come says that the run is over at a time. Only the first call counts.
func (h *Hurry) Come(until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.came.Err() == nil {
		h.until = until
		h.come()
	}
}

// haste is whether a Hurry has come, and when the run is over then.
type haste struct {
	came  bool
	until time.Time
}

func (h *Hurry) now() haste {
	if h == nil {
		return haste{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return haste{h.came.Err() != nil, h.until}
}

// cut gives a context that ends with ctx, and when the hurry comes or has come.
func (h *Hurry) cut(ctx context.Context) (context.Context, func()) {
	if h == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.came, cancel)
	return ctx, func() { stop(); cancel() }
}
