package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/store/ledger"
)

const auditColumns = `seq, at, actor_kind, actor_id, address, request_id, action, account_id, object, details, hash`

// lastCommands are what the transaction ends with: they write its block and its lines, and move the
// head behind them. A head without its own seal was set by other means: what comes behind it gets
// none either, so that it is found later too.
func (t *tx) lastCommands(ctx context.Context) ([]command, error) {
	if len(t.acts) == 0 && len(t.records) == 0 && !t.ended {
		return nil, nil
	}
	if t.headErr != nil {
		return nil, appendFault(t.headErr)
	}
	end, commands := t.block(t.head.Head)
	if err := t.tellRecords(ctx, end.Hash); err != nil {
		return nil, appendFault(err)
	}
	newest, rights := max(t.head.newest, t.newestRecord()), t.head.rights
	for _, a := range t.acts {
		newest = max(newest, millis(a.At))
		if a.Action.ChangesRights() {
			rights = t.head.rights + 1
		}
		end = audit.Head{Seq: end.Seq + 1, Hash: a.Link(end.Seq+1, end.Hash)}
		commands = append(append(commands, newCommand(`INSERT INTO audit_log (`+auditColumns+
			`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			end.Seq, millis(a.At), a.Actor.Kind, a.Actor.ID, a.Actor.Address, a.Actor.RequestID, a.Action, a.Account, a.Object, a.Details, end.Hash,
		)), indexRepository(end.Seq, a.Details)...)
		t.tell(&a, end.Seq, end.Hash)
	}
	if t.ended {
		rights = t.head.rights + 1
	}
	seal, sealer := t.head.seal, t.recorded
	if len(t.acts) > 0 {
		sealer = t.acts[0]
	}
	if end != t.head.Head && sealer.Sealed(t.head.Head, seal) {
		seal = sealer.Seal(end)
	}
	t.rights = rights
	added, events, err := t.eventCommands()
	if err != nil {
		return nil, appendFault(err)
	}
	commands = append(commands, added...)
	endpoints := t.head.endpoints
	if t.changesEndpoints() {
		endpoints++
	}
	return append(commands, newCommand(moveHead,
		t.head.Seq+1, t.head.Seq+int64(len(t.records)), end.Seq, end.Hash, seal, newest, rights, events, endpoints)), nil
}

// moveHead fails, for seq cannot be NULL, when the block is in the place of a line: nothing else would
// say that.
const moveHead = `UPDATE audit_head SET seq = CASE WHEN EXISTS (SELECT 1 FROM audit_log WHERE seq >= $1 AND seq <= $2) THEN NULL
	ELSE CAST($3 AS BIGINT) END, hash = $4, seal = $5, newest = $6, rights = $7, events = $8, endpoints = $9 WHERE id = 1`

// refused is why one of the last commands failed.
func (c command) refused(err error) error {
	if errors.Is(storeError(err), failure.ErrConflict) || isNull(err) {
		err = thereAlready(c)
	}
	return appendFault(err)
}

// thereAlready says what it means that the number that a command adds is in use.
func thereAlready(c command) error {
	if strings.HasPrefix(c.text, insertEvents) {
		return fmt.Errorf("event %d is there already: events or audit_head were changed by other means: restore a backup", c.args[0])
	}
	return fmt.Errorf("%w: line %d is there already", audit.ErrTampered, c.args[0])
}

// indexRepository is how the line of a repository is noted, so that it is found by it. Most lines
// are of none, and cost nothing.
func indexRepository(seq int64, details string) []command {
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
	return []command{newCommand(`INSERT INTO audit_repositories (seq, repository_id, name) VALUES ($1, $2, $3)`,
		seq, of.ID, strings.ToLower(of.Name))}
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
		t.head.newest = 0 // then the act sets it
		return nil
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
	err = q.QueryRowContext(ctx, `SELECT h.seq, h.hash, h.seal,
		coalesce((SELECT max(seq) FROM audit_log WHERE seq > h.seq), (SELECT max(seq) FROM ledger WHERE seq > h.seq),
			(SELECT min(seq) FROM audit_log WHERE seq < 1), (SELECT min(seq) FROM ledger WHERE seq < 1)),
		EXISTS (SELECT 1 FROM accounts) OR EXISTS (SELECT 1 FROM signing_keys) FROM audit_head h WHERE h.id = 1`).Scan(&e.Seq, &e.Hash, &e.Seal, &stray, &e.Used)
	if err != nil {
		return e, noHead(storeError(err))
	}
	if stray.Valid {
		e.Stray = &stray.Int64
	}
	last, err := lastEntry(ctx, q, e.Seq)
	if err != nil || last.Seq == 0 {
		return e, err
	}
	e.Last = last
	before, err := lastEntry(ctx, q, last.First()-1)
	if before.Seq == last.First()-1 {
		e.Before = before.Hash
	}
	return e, err
}

// lastEntry is the newest entry up to a number; its Seq is 0 when there is none.
func lastEntry(ctx context.Context, q querier, seq int64) (audit.Entry, error) {
	var last audit.Entry
	lines, err := readLines(ctx, q, ` WHERE seq <= $1 AND seq > 0 ORDER BY seq DESC LIMIT $2`, seq, 1)
	if err != nil {
		return last, err
	}
	if len(lines) > 0 {
		last.Line = lines[0]
	}
	blocks, err := readBlocks(ctx, q, ` WHERE seq <= $1 AND seq > 0 ORDER BY seq DESC LIMIT $2`, seq, 1)
	if err != nil || len(blocks) == 0 || blocks[0].seq < last.Seq {
		return last, err
	}
	return blocks[0].entry()
}

// AuditAfter reads lines and blocks apart, and joins what both reach to.
func (s *Store) AuditAfter(ctx context.Context, seq int64, limit int) ([]audit.Entry, error) {
	lines, err := readLines(ctx, s.read, ` WHERE seq > $1 ORDER BY seq LIMIT $2`, seq, limit)
	if err != nil {
		return nil, err
	}
	blocks, err := readBlocks(ctx, s.read, ` WHERE seq > $1 ORDER BY seq LIMIT $2`, seq, min(limit, blockPage))
	if err != nil {
		return nil, err
	}
	moreBlocks := len(blocks) == min(limit, blockPage)
	moreLines := len(lines) == limit
	var list []audit.Entry
	for len(list) < limit {
		switch {
		case len(lines) > 0 && (len(blocks) > 0 && lines[0].Seq < blocks[0].seq || len(blocks) == 0 && !moreBlocks):
			list, lines = append(list, audit.Entry{Line: lines[0]}), lines[1:]
		case len(blocks) > 0 && (len(lines) > 0 || !moreLines):
			e, err := blocks[0].entry()
			if err != nil {
				return nil, err
			}
			list, blocks = append(list, e), blocks[1:]
		default:
			return list, nil
		}
	}
	return list, nil
}

func (s *Store) AuditLines(ctx context.Context, q audit.Query) ([]audit.Line, error) {
	var f filter
	f.where("seq < %s", q.Before, q.Before != 0)
	f.where("account_id = %s", q.Account, q.Account != "")
	f.where("action = %s", string(q.Action), q.Action != "")
	f.where("actor_id = %s", q.Actor, q.Actor != "")
	var ids []string
	if q.Repository != "" {
		var err error
		if ids, err = s.repositoryIDs(ctx, q.Repository); err != nil {
			return nil, err
		}
		f.conditions = append(f.conditions, "seq IN (SELECT seq FROM audit_repositories WHERE repository_id IN ("+oneOf(&f, ids)+"))")
	}
	f.where("at >= %s", millis(q.Since), !q.Since.IsZero())
	f.where("at < %s", millis(q.Until), !q.Until.IsZero())
	lines, err := readLines(ctx, s.read, f.list("seq DESC", q.Limit), f.args...)
	if err != nil {
		return nil, err
	}
	recorded, err := s.recordedLines(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	lines = append(lines, recorded...)
	slices.SortFunc(lines, func(a, b audit.Line) int { return cmp.Compare(b.Seq, a.Seq) })
	return lines[:min(len(lines), q.Limit)], nil
}

// repositoryIDs is the ids of a repository: the one that is given, or those of all lines that have
// its name. The newest blocks come first: of those that are put into a segment meanwhile the tables
// tell.
func (s *Store) repositoryIDs(ctx context.Context, repository string) (ids []string, err error) {
	if license.IsRepositoryID(repository) {
		return []string{repository}, nil
	}
	name := strings.ToLower(repository)
	covered, err := coveredUpTo(ctx, s.read)
	if err != nil {
		return nil, err
	}
	var q search
	q.where(ledger.OfRepositoryName, name)
	_, err = q.blocks(ctx, s.read, covered, 0, func(_ int64, r *ledger.Reader) bool {
		record := r.Record()
		id, _ := ledger.Repository(&record)
		ids = append(ids, id)
		return true
	})
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT repository_id FROM audit_repositories WHERE name = $1
		UNION SELECT repository_id FROM ledger_repositories WHERE name = $1`, name)
	if err != nil {
		return nil, fmt.Errorf("look up the ids of %s: %w", repository, storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("look up the ids of %s: %w", repository, storeError(err))
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), storeError(rows.Err())
}

// recordedLines is the lines of the blocks that a query asks for, newest first; ids are those of its
// repository.
func (s *Store) recordedLines(ctx context.Context, q audit.Query, ids []string) (list []audit.Line, err error) {
	r := search{before: q.Before}
	r.where(ledger.OfAccount, q.Account)
	r.where(ledger.OfAction, string(q.Action))
	r.where(ledger.OfActor, q.Actor)
	if q.Repository != "" {
		r.oneOf = append(r.oneOf, name{ledger.OfRepositoryName, strings.ToLower(q.Repository)})
		for _, id := range ids {
			r.oneOf = append(r.oneOf, name{ledger.OfRepositoryID, id})
		}
	}
	if !q.Since.IsZero() {
		r.since = millis(q.Since)
	}
	if !q.Until.IsZero() {
		r.until = millis(q.Until)
	}
	err = r.find(ctx, s.read, func(seq int64, r *ledger.Reader) bool {
		record := r.Record()
		list = append(list, lineOf(seq, &record))
		return len(list) < q.Limit
	})
	return list, err
}

func readLines(ctx context.Context, q querier, which string, args ...any) ([]audit.Line, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+auditColumns+` FROM audit_log`+which, args...)
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
