package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pageflare/ci/service/license"
)

// AddMachine meets license.Store.
func (s *Store) AddMachine(ctx context.Context, m license.Machine, act license.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		t.log(act)
		_, err := t.ExecContext(ctx, `INSERT INTO machines (id, account_id, machine_id, label, family, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			m.ID, m.AccountID, m.MachineID, m.Label, m.Family, millis(m.CreatedAt))
		return storeError(err)
	})
}

// MachineOf meets license.Store.
func (s *Store) MachineOf(ctx context.Context, family string) (license.Machine, error) {
	var m license.Machine
	var created int64
	var ended sql.NullInt64
	err := s.read.QueryRowContext(ctx, `SELECT id, account_id, machine_id, label, family, created_at, ended_at FROM machines WHERE family = $1`, family).
		Scan(&m.ID, &m.AccountID, &m.MachineID, &m.Label, &m.Family, &created, &ended)
	if err != nil {
		return license.Machine{}, fmt.Errorf("machine: %w", notFound(err))
	}
	m.CreatedAt, m.EndedAt = fromMillis(created), fromNullMillis(ended)
	return m, nil
}

// EndMachine meets license.Store.
func (s *Store) EndMachine(ctx context.Context, m license.Machine, act license.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		done, err := t.ExecContext(ctx, `UPDATE machines SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL`, m.ID, millis(act.At))
		if err != nil {
			return fmt.Errorf("machine %s: %w", m.ID, storeError(err))
		}
		if err := t.logIf(done, act); err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, `INSERT INTO revocations (subject, account_id, revoked_at) VALUES ($1, $2, $3) ON CONFLICT (subject) DO NOTHING`,
			m.Family, m.AccountID, millis(act.At))
		if err != nil {
			return fmt.Errorf("machine %s: %w", m.ID, storeError(err))
		}
		return nil
	})
}
