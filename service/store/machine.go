package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
)

// Activate records the token first: what the rules refuse it, they refuse the machine.
func (s *Store) Activate(ctx context.Context, r license.TokenRecord, issued audit.Act,
	m license.Machine, act audit.Act) error {
	return s.group.do(ctx, func(ctx context.Context, t *tx) error {
		if err := t.recordToken(ctx, r, issued); err != nil {
			return err
		}
		t.log(act)
		_, err := t.ExecContext(ctx, `INSERT INTO machines (id, account_id, machine_id, label, family, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			m.ID, m.AccountID, m.MachineID, m.Label, m.Family, millis(m.CreatedAt))
		if err != nil {
			return fmt.Errorf("activate a machine: %w", storeError(err))
		}
		return nil
	})
}

const machineColumns = `m.id, m.account_id, m.machine_id, m.label, m.family, m.created_at, m.ended_at,
	EXISTS (SELECT 1 FROM revocations r WHERE r.subject = m.family)`

// scanMachine reads machineColumns.
func scanMachine(scan func(...any) error) (license.Machine, error) {
	var m license.Machine
	var created int64
	var ended sql.NullInt64
	if err := scan(&m.ID, &m.AccountID, &m.MachineID, &m.Label, &m.Family, &created, &ended,
		&m.Revoked); err != nil {
		return license.Machine{}, fmt.Errorf("machine: %w", notFound(err))
	}
	m.CreatedAt, m.EndedAt = fromMillis(created), fromNullMillis(ended)
	return m, nil
}

func (s *Store) MachineOf(ctx context.Context, family string) (license.Machine, error) {
	return scanMachine(s.read.QueryRowContext(ctx,
		`SELECT `+machineColumns+` FROM machines m WHERE m.family = $1`, family).Scan)
}

func (s *Store) Machine(ctx context.Context, id string) (license.Machine, error) {
	m, err := scanMachine(s.read.QueryRowContext(ctx,
		`SELECT `+machineColumns+` FROM machines m WHERE m.id = $1`, id).Scan)
	if errors.Is(err, failure.ErrNotFound) {
		return m, fmt.Errorf("machine %s: %w", id, failure.ErrNotFound)
	}
	return m, err
}

func (s *Store) Machines(ctx context.Context, account, after string,
	limit int) ([]license.Machine, error) {
	rows, err := s.read.QueryContext(ctx,
		`SELECT `+machineColumns+
			` FROM machines m WHERE m.account_id = $1 AND m.id > $2 ORDER BY m.id LIMIT $3`, account, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list machines: %w", storeError(err))
	}
	defer rows.Close()
	var list []license.Machine
	for rows.Next() {
		m, err := scanMachine(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list machines: %w", storeError(err))
		}
		list = append(list, m)
	}
	return list, storeError(rows.Err())
}

func (s *Store) EndMachine(ctx context.Context, m license.Machine, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		done, err := t.ExecContext(ctx,
			`UPDATE machines SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL`, m.ID, millis(act.At))
		if err != nil {
			return fmt.Errorf("machine %s: %w", m.ID, storeError(err))
		}
		if err := t.logIf(done, act); err != nil {
			return err
		}
		_, err = t.revoke(ctx, m.Family, m.AccountID, millis(act.At))
		return err
	})
}
