// Package rights lets what was read a moment ago be used again, as long as nobody's right has ended
// or changed since.
//
// A database counts the transactions that end or change a right: its state of rights. What was read
// after a state was known is true as long as the state is the same. Who reads first and asks for
// the state then may miss what happened in between; so the state always comes first. States are 1
// and more; 0 is that of a database that cannot tell, of which nothing is used again.
package rights

import "sync"

// maxEntries bounds a Cache. It holds what exists, so who shows made-up names cannot fill it.
const maxEntries = 20_000

// Cache holds what was read as of one state of rights. Its zero value is empty. It is safe for use
// by several goroutines.
type Cache[V any] struct {
	mu      sync.RWMutex
	current *generation[V]
}

// generation is what was read as of one state. A reader that is late stores into the generation
// that it began with, which nobody asks any more.
type generation[V any] struct {
	asOf    int64
	mu      sync.RWMutex
	entries map[string]V
}

// Get returns what key names as of a state: from the cache, or by load, whose result is stored if
// it has no error.
func (c *Cache[V]) Get(asOf int64, key string, load func() (V, error)) (V, error) {
	if asOf == 0 {
		return load()
	}
	g := c.as(asOf)
	g.mu.RLock()
	v, there := g.entries[key]
	g.mu.RUnlock()
	if there {
		return v, nil
	}
	v, err := load()
	if err != nil {
		return v, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.entries) >= maxEntries {
		clear(g.entries)
	}
	g.entries[key] = v
	return v, nil
}

// as is the generation of a state.
func (c *Cache[V]) as(asOf int64) *generation[V] {
	c.mu.RLock()
	g := c.current
	c.mu.RUnlock()
	if g != nil && g.asOf == asOf {
		return g
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil || c.current.asOf != asOf {
		c.current = &generation[V]{asOf: asOf, entries: map[string]V{}}
	}
	return c.current
}
