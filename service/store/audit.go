package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pageflare/ci/service/license"
)

// tx is a transaction with the lines that it adds to the audit log.
type tx struct {
	*sql.Tx
	pool       *pool
	unprepared []string // texts of statements that had to be parsed
	acts       []license.Act
	wrote      bool            // something was written for certain, acts apart
	alive      map[string]bool // signing keys that were found not to be retired, see mayRecord
}

// log notes acts. They stand in the log exactly when the transaction is committed.
func (t *tx) log(acts ...license.Act) { t.acts = append(t.acts, acts...) }

// logIf notes an act that changed rows; one that changed nothing leaves no line.
func (t *tx) logIf(r sql.Result, a license.Act) error {
	n, err := r.RowsAffected()
	if err == nil && n > 0 {
		t.log(a)
	}
	return err
}

const auditColumns = `seq, at, actor_kind, actor_id, address, request_id, action, account_id, object, details, hash`

// appendActs writes the lines of a transaction. The update of the head comes first: it is the lock that puts writers in a row.
func (t *tx) appendActs(ctx context.Context) error {
	if len(t.acts) == 0 {
		return nil
	}
	var head license.AuditHead
	err := t.QueryRowContext(ctx, `UPDATE audit_head SET seq = seq + $1 WHERE id = 1 RETURNING seq, hash`, len(t.acts)).Scan(&head.Seq, &head.Hash)
	if err != nil {
		return fmt.Errorf("append to the audit log: %w", storeError(err))
	}
	head.Seq -= int64(len(t.acts))
	for _, a := range t.acts {
		head = license.AuditHead{Seq: head.Seq + 1, Hash: a.Link(head.Seq+1, head.Hash)}
		_, err := t.ExecContext(ctx, `INSERT INTO audit_log (`+auditColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			head.Seq, millis(a.At), a.Actor.Kind, a.Actor.ID, a.Actor.Address, a.Actor.RequestID, a.Action, a.Account, a.Object, a.Details, head.Hash)
		if err != nil {
			return fmt.Errorf("append to the audit log: %w", storeError(err))
		}
	}
	if _, err := t.ExecContext(ctx, `UPDATE audit_head SET hash = $1 WHERE id = 1`, head.Hash); err != nil {
		return fmt.Errorf("append to the audit log: %w", storeError(err))
	}
	return nil
}

// AuditHead meets license.Store.
func (s *Store) AuditHead(ctx context.Context) (license.AuditHead, error) {
	var h license.AuditHead
	if err := s.read.QueryRowContext(ctx, `SELECT seq, hash FROM audit_head WHERE id = 1`).Scan(&h.Seq, &h.Hash); err != nil {
		return h, fmt.Errorf("read the end of the audit log: %w", err)
	}
	return h, nil
}

// AuditAfter meets license.Store.
func (s *Store) AuditAfter(ctx context.Context, seq int64, limit int) ([]license.AuditLine, error) {
	return s.auditLines(ctx, `WHERE seq > $1 ORDER BY seq LIMIT $2`, seq, limit)
}

// AuditLines meets license.Store.
func (s *Store) AuditLines(ctx context.Context, q license.AuditQuery) ([]license.AuditLine, error) {
	return s.auditLines(ctx, `WHERE ($1 = 0 OR seq < $1) AND ($2 = '' OR account_id = $2) AND ($3 = '' OR action = $3) ORDER BY seq DESC LIMIT $4`,
		q.Before, q.Account, string(q.Action), q.Limit)
}

func (s *Store) auditLines(ctx context.Context, where string, args ...any) ([]license.AuditLine, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+auditColumns+` FROM audit_log `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer rows.Close()
	var list []license.AuditLine
	for rows.Next() {
		var l license.AuditLine
		var at int64
		err := rows.Scan(&l.Seq, &at, &l.Actor.Kind, &l.Actor.ID, &l.Actor.Address, &l.Actor.RequestID, &l.Action, &l.Account, &l.Object, &l.Details, &l.Hash)
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		l.At = fromMillis(at)
		list = append(list, l)
	}
	return list, rows.Err()
}
