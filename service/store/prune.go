package store

import (
	"context"

	"github.com/pageflare/ci/service/upkeep"
)

// Prune is yet to come.
func (s *Store) Prune(ctx context.Context, held upkeep.Lease, p upkeep.Pruning) (more bool, err error) {
	return false, nil
}
