package rights

import (
	"context"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// maxNames bounds a Set: 16 MiB or so.
const maxNames = 500_000

// Set knows of which names something can be true, from what a database has added to a list as of a
// state of rights. Names are only ever added to the list. It is safe for use by several goroutines.
type Set struct {
	// Since returns up to limit names that were added after a state of rights (0: all).
	Since func(ctx context.Context, state int64, limit int) ([]string, error)

	loading sync.Mutex
	mu      sync.RWMutex
	asOf    int64
	hashes  map[uint64]struct{}
	over    bool // there are too many: nobody is told apart
}

// MayHave says whether a name may be in the list as of a state. What it says no to is not; a yes
// has to be looked up.
func (s *Set) MayHave(ctx context.Context, asOf int64, names ...string) (bool, error) {
	if asOf == 0 {
		return true, nil
	}
	s.mu.RLock()
	current := s.asOf == asOf && s.hashes != nil
	may := s.over || s.any(names)
	s.mu.RUnlock()
	if current {
		return may, nil
	}
	if err := s.load(ctx, asOf); err != nil {
		return false, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.over || s.any(names), nil
}

func (s *Set) any(names []string) bool {
	for _, n := range names {
		if _, there := s.hashes[xxhash.Sum64String(n)]; there {
			return true
		}
	}
	return false
}

// load brings the set up to a state that was known before.
func (s *Set) load(ctx context.Context, asOf int64) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	s.mu.RLock()
	from, fresh := s.asOf, s.hashes == nil
	s.mu.RUnlock()
	if from == asOf && !fresh {
		return nil
	}
	if asOf < from { // another database than before
		from, fresh = 0, true
	}
	names, err := s.Since(ctx, from, maxNames+1)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fresh {
		s.hashes, s.over = map[uint64]struct{}{}, false
	}
	for _, n := range names {
		s.hashes[xxhash.Sum64String(n)] = struct{}{}
	}
	if len(s.hashes) > maxNames {
		s.over, s.hashes = true, map[uint64]struct{}{}
	}
	s.asOf = asOf
	return nil
}
