package github

import (
	"context"
	"errors"
	"maps"
	"sync"
)

// flight is a question that was asked or is being asked; all who need the answer wait for the one
// who asks.
type flight[T any] struct {
	done  chan struct{} // closed when the rest is set
	value T
	err   error
}

// over says whether the answer is there.
func (f *flight[T]) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// shared gives the answer to the question of a key: the one that is there, while it is usable, else
// the one that ask finds, which is called by one caller at a time. After an error, the next caller
// asks again. mu guards flights, and is not held while ask runs.
func shared[T any](ctx context.Context, mu *sync.Mutex, flights map[string]*flight[T], key string,
	usable func(T) bool, ask func() (T, error)) (T, error) {
	mu.Lock()
	if len(flights) > many {
		maps.DeleteFunc(flights, func(_ string, f *flight[T]) bool { return f.over() && !usable(f.value) })
	}
	f := flights[key]
	if f == nil || f.over() && !usable(f.value) {
		f = &flight[T]{done: make(chan struct{}), err: errors.New("the question was given up")}
		flights[key] = f
		mu.Unlock()
		defer settle(mu, flights, key, f)
		f.value, f.err = ask()
		return f.value, f.err
	}
	mu.Unlock()
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func settle[T any](mu *sync.Mutex, flights map[string]*flight[T], key string, f *flight[T]) {
	mu.Lock()
	defer mu.Unlock()
	if f.err != nil && flights[key] == f {
		delete(flights, key)
	}
	close(f.done)
}
