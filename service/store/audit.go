package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
)

const auditColumns = `seq, at, actor_kind, actor_id, address, request_id, action, account_id, object, details, hash`

// appendActs writes the lines of a transaction. The update of the head comes first: it is the lock
// that puts writers in a row. A head without its own seal was set by other means: the lines behind
// it get none either, so that it is found later too.
func (t *tx) appendActs(ctx context.Context) error {
	if len(t.acts) == 0 {
		return nil
	}
	var head audit.Head
	var seal string
	err := t.QueryRowContext(ctx,
		`UPDATE audit_head SET seq = seq + $1 WHERE id = 1 RETURNING seq, hash, seal`, len(t.acts)).Scan(&head.Seq, &head.Hash, &seal)
	if err != nil {
		return appendFault(noHead(err))
	}
	head.Seq -= int64(len(t.acts))
	sealed := t.acts[0].Sealed(head, seal)
	newest := int64(0)
	for _, a := range t.acts {
		newest = max(newest, millis(a.At))
		head = audit.Head{Seq: head.Seq + 1, Hash: a.Link(head.Seq+1, head.Hash)}
		_, err := t.ExecContext(ctx, `INSERT INTO audit_log (`+auditColumns+
			`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			head.Seq, millis(a.At), a.Actor.Kind, a.Actor.ID, a.Actor.Address, a.Actor.RequestID, a.Action, a.Account, a.Object, a.Details, head.Hash)
		if errors.Is(storeError(err), failure.ErrConflict) {
			err = fmt.Errorf("%w: line %d is there already", audit.ErrTampered, head.Seq)
		}
		if err == nil {
			err = t.indexRepository(ctx, head.Seq, a.Details)
		}
		if err != nil {
			return appendFault(err)
		}
	}
	if sealed {
		seal = t.acts[0].Seal(head)
	}
	_, err = t.ExecContext(ctx, `UPDATE audit_head SET hash = $1, seal = $2,
		newest = CASE WHEN newest < $3 THEN $3 ELSE newest END WHERE id = 1`, head.Hash, seal, newest)
	if err != nil {
		return appendFault(err)
	}
	return nil
}

// indexRepository notes the line of a repository, so that it is found by it. Most lines are of none,
// and cost nothing.
func (t *tx) indexRepository(ctx context.Context, seq int64, details string) error {
	if !strings.Contains(details, `"repository_id"`) {
		return nil
	}
	var of struct {
		ID   string `json:"repository_id"`
		Name string `json:"repository"`
	}
	if err := json.Unmarshal([]byte(details), &of); err != nil || of.ID == "" {
		return nil // a line is written whatever its details are
	}
	_, err := t.ExecContext(ctx, `INSERT INTO audit_repositories (repository_id, seq, name) VALUES ($1, $2, $3)`,
		of.ID, seq, strings.ToLower(of.Name))
	return err
}

// appendFault is never one of the caller's: what was asked for may be in order.
func appendFault(err error) error {
	if errors.Is(err, audit.ErrTampered) {
		return fmt.Errorf("append to the audit log: %w: run `pageflare-license audit verify`", err)
	}
	return fmt.Errorf("append to the audit log: %w", storeError(err))
}

// noHead says what it means when the row of the head is not there.
func noHead(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: the row that says where it ends (audit_head) is missing",
			audit.ErrTampered)
	}
	return err
}

func (s *Store) AuditHead(ctx context.Context) (audit.Head, error) {
	var h audit.Head
	if err := s.read.QueryRowContext(ctx,
		`SELECT seq, hash FROM audit_head WHERE id = 1`).Scan(&h.Seq, &h.Hash); err != nil {
		return h, noHead(err)
	}
	return h, nil
}

func (s *Store) NewestTime(ctx context.Context) (time.Time, error) {
	var newest int64
	if err := s.read.QueryRowContext(ctx, `SELECT newest FROM audit_head WHERE id = 1`).Scan(&newest); err != nil {
		return time.Time{}, noHead(storeError(err))
	}
	if newest == 0 {
		return time.Time{}, nil
	}
	return fromMillis(newest), nil
}

func (s *Store) AcceptClock(ctx context.Context, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		t.log(act)
		_, err := t.ExecContext(ctx, `UPDATE audit_head SET newest = 0 WHERE id = 1`) // then the act sets it
		return storeError(err)
	})
}

func (s *Store) AuditEnd(ctx context.Context) (audit.End, error) {
	moment, err := s.read.beginReading(ctx)
	if err != nil {
		return audit.End{}, fmt.Errorf("read the end of the audit log: %w", err)
	}
	defer func() { _ = moment.Rollback() }() // it changed nothing
	return auditEnd(ctx, moment)
}

// SealAuditEnd looks again before it seals: of several processes that start at once the first one
// finds no seal.
func (s *Store) SealAuditEnd(ctx context.Context, seal func(audit.End) string) error {
	return inTx(ctx, s.write, func(t *tx) error {
		e, err := auditEnd(ctx, t)
		if err != nil || e.Seal != "" {
			return err
		}
		_, err = t.ExecContext(ctx, `UPDATE audit_head SET seal = $1 WHERE id = 1`, seal(e))
		return storeError(err)
	})
}

func auditEnd(ctx context.Context, q querier) (e audit.End, err error) {
	var stray sql.NullInt64
	err = q.QueryRowContext(ctx, `SELECT h.seq, h.hash, h.seal, coalesce((SELECT max(seq) FROM audit_log WHERE seq > h.seq), (SELECT min(seq) FROM audit_log WHERE seq < 1)),
		EXISTS (SELECT 1 FROM accounts) OR EXISTS (SELECT 1 FROM signing_keys) FROM audit_head h WHERE h.id = 1`).Scan(&e.Seq, &e.Hash, &e.Seal, &stray, &e.Used)
	if err != nil {
		return e, noHead(storeError(err))
	}
	if stray.Valid {
		e.Stray = &stray.Int64
	}
	last, err := scanLine(q.QueryRowContext(ctx,
		`SELECT `+auditColumns+
			` FROM audit_log WHERE seq <= $1 AND seq > 0 ORDER BY seq DESC LIMIT 1`, e.Seq).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return e, nil
	}
	if err != nil {
		return e, fmt.Errorf("read the end of the audit log: %w", storeError(err))
	}
	e.Last = last
	err = q.QueryRowContext(ctx, `SELECT hash FROM audit_log WHERE seq = $1`,
		last.Seq-1).Scan(&e.Before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return e, fmt.Errorf("read the end of the audit log: %w", storeError(err))
	}
	return e, nil
}

func (s *Store) AuditAfter(ctx context.Context, seq int64, limit int) ([]audit.Line, error) {
	return s.auditLines(ctx, ` WHERE seq > $1 ORDER BY seq LIMIT $2`, seq, limit)
}

func (s *Store) AuditLines(ctx context.Context, q audit.Query) ([]audit.Line, error) {
	var f filter
	f.where("seq < %s", q.Before, q.Before != 0)
	f.where("account_id = %s", q.Account, q.Account != "")
	f.where("action = %s", string(q.Action), q.Action != "")
	f.where("actor_id = %s", q.Actor, q.Actor != "")
	byID := license.IsRepositoryID(q.Repository)
	f.where("seq IN (SELECT seq FROM audit_repositories WHERE repository_id = %s)", q.Repository, byID)
	f.where(`seq IN (SELECT seq FROM audit_repositories WHERE repository_id IN
		(SELECT repository_id FROM audit_repositories WHERE name = %s))`,
		strings.ToLower(q.Repository), q.Repository != "" && !byID)
	f.where("at >= %s", millis(q.Since), !q.Since.IsZero())
	f.where("at < %s", millis(q.Until), !q.Until.IsZero())
	return s.auditLines(ctx, f.list("seq DESC", q.Limit), f.args...)
}

func (s *Store) auditLines(ctx context.Context, which string, args ...any) ([]audit.Line, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+auditColumns+` FROM audit_log`+which, args...)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", storeError(err))
	}
	defer rows.Close()
	var list []audit.Line
	for rows.Next() {
		l, err := scanLine(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", storeError(err))
		}
		list = append(list, l)
	}
	return list, storeError(rows.Err())
}

// scanLine reads auditColumns.
func scanLine(scan func(...any) error) (audit.Line, error) {
	var l audit.Line
	var at int64
	err := scan(&l.Seq, &at, &l.Actor.Kind, &l.Actor.ID, &l.Actor.Address, &l.Actor.RequestID,
		&l.Action, &l.Account, &l.Object, &l.Details, &l.Hash)
	l.At = fromMillis(at)
	return l, err
}
