package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pageflare/ci/service/upkeep"
)

// The lease of upkeep is part of one row. It is changed by who has read it as it is, and only in a
// transaction that holds the lock of all writers.

func (s *Store) UpkeepLease(ctx context.Context) (upkeep.Lease, error) {
	var l upkeep.Lease
	err := s.read.QueryRowContext(ctx, `SELECT owner, fence, beat FROM upkeep WHERE id = 1`).Scan(&l.Owner, &l.Fence, &l.Beat)
	if errors.Is(err, sql.ErrNoRows) {
		return l, errors.New("the row that says which replica does upkeep (table upkeep) is missing: restore a backup")
	}
	if err != nil {
		return l, fmt.Errorf("read the lease of upkeep: %w", storeError(err))
	}
	return l, nil
}

func (s *Store) ClaimUpkeep(ctx context.Context, seen upkeep.Lease, owner string) (upkeep.Lease, error) {
	return s.changeLease(ctx, seen, upkeep.Lease{Owner: owner, Fence: seen.Fence + 1})
}

func (s *Store) BeatUpkeep(ctx context.Context, held upkeep.Lease) (upkeep.Lease, error) {
	next := held
	next.Beat++
	return s.changeLease(ctx, held, next)
}

func (s *Store) ReleaseUpkeep(ctx context.Context, held upkeep.Lease) error {
	_, err := s.changeLease(ctx, held, upkeep.Lease{Fence: held.Fence})
	return err
}

func (s *Store) changeLease(ctx context.Context, from, to upkeep.Lease) (upkeep.Lease, error) {
	err := inTx(ctx, s.write, func(t *tx) error {
		done, err := t.ExecContext(ctx, `UPDATE upkeep SET owner = $1, fence = $2, beat = $3 WHERE id = 1 AND owner = $4 AND fence = $5 AND beat = $6`,
			to.Owner, to.Fence, to.Beat, from.Owner, from.Fence, from.Beat)
		if err != nil {
			return fmt.Errorf("change the lease of upkeep: %w", storeError(err))
		}
		n, err := done.RowsAffected()
		if err == nil && n == 0 {
			err = upkeep.ErrLost
		}
		return err
	})
	return to, err
}

// holds returns upkeep.ErrLost unless a lease is the one in the database. Nobody changes it before
// the transaction ends.
func (t *tx) holds(ctx context.Context, l upkeep.Lease) error {
	var there bool
	err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM upkeep WHERE id = 1 AND owner = $1 AND fence = $2)`, l.Owner, l.Fence).Scan(&there)
	if err != nil {
		return fmt.Errorf("read the lease of upkeep: %w", storeError(err))
	}
	if !there {
		return upkeep.ErrLost
	}
	return nil
}
