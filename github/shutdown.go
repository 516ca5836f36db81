package github

import (
	"context"
	"sync"
	"time"
)

// A Shutdown tells clients that the program was told to end and when it will be killed, so that
// what is still to be written is not lost in a pause: pauses end at once, the request behind each
// is tried once more without one, and from then on no pause is begun that would not end in time.
// Goroutines may share one; nil is one that never begins.
type Shutdown struct {
	begun context.Context // ends when it begins
	begin func()

	mu       sync.Mutex
	deadline time.Time
}

// NewShutdown makes one that has not begun.
func NewShutdown() *Shutdown {
	s := &Shutdown{}
	s.begun, s.begin = context.WithCancel(context.Background())
	return s
}

// Begin says when the program will be killed. Only the first call counts.
func (s *Shutdown) Begin(deadline time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun.Err() == nil {
		s.deadline = deadline
		s.begin()
	}
}

// shutdownState is whether a Shutdown has begun, and when it ends then.
type shutdownState struct {
	begun    bool
	deadline time.Time
}

func (s *Shutdown) state() shutdownState {
	if s == nil {
		return shutdownState{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return shutdownState{s.begun.Err() != nil, s.deadline}
}

// bounded gives a context that ends with ctx, and when the shutdown begins or has begun.
func (s *Shutdown) bounded(ctx context.Context) (context.Context, func()) {
	if s == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.begun, cancel)
	return ctx, func() { stop(); cancel() }
}
