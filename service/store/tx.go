package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/ledger"
)

// One transaction that writes at a time, in every database: the rules rest on it. What a
// transaction reads, no other changes before it commits: whether a key may be retired, whether the
// right of a token has ended, which version a policy gets, what the line before says. The head of
// the audit log is the lock, taken first, for each such transaction adds to the log or depends on
// what was added.
//
// In SQLite BEGIN IMMEDIATE takes it, since there is one writer to a file (sqlite.go). PostgreSQL has
// several writers, so the row of audit_head is locked before f runs (lockHead): an update of it
// at the end, by lastCommands, would be too late for what f has read.

// inTx runs f in a transaction of its own, durable when it returns nil, and adds the acts that it
// noted to the audit log. What PostgreSQL ended before it was asked to commit is tried once more, so
// f must be able to run twice.
func inTx(ctx context.Context, db *pool, f func(*tx) error) (err error) {
	ctx, written := traceWrite(ctx)
	defer func() { written(err) }()
	t, err := tryTx(ctx, db, f)
	if err != nil && ctx.Err() == nil && mayTryAgain(err, t != nil && t.committing) {
		_, err = tryTx(ctx, db, f)
	}
	return err
}

// tryTx is one try of inTx. The transaction is nil when none began.
func tryTx(ctx context.Context, db *pool, f func(*tx) error) (t *tx, err error) {
	defer func() { db.note(err, t != nil && (t.wrote || len(t.acts) > 0 || len(t.records) > 0)) }()
	t = &tx{pool: db, alive: map[string]bool{}}
	began := db.rights.elapsed()
	if err := t.begin(ctx); err != nil {
		return nil, fmt.Errorf("begin: %w", storeError(err))
	}
	if t.head.rights > 0 {
		db.rights.saw(t.head.rights, began) // what this transaction goes by, all requests do from now on
	}
	defer func() { db.prepareAll(ctx, t.unprepared) }()
	// what was not committed, after a panic too; a full disk has undone all already, and says so again
	defer func() { _ = t.Rollback() }()
	if err := f(t); err != nil {
		return t, err
	}
	last, err := t.lastCommands(ctx)
	if err != nil {
		return t, err
	}
	var asked time.Duration
	if t.rights > t.head.rights {
		asked = db.rights.elapsed() // no other writer gets in between; after the answer one may have
	}
	if failed, err := t.commitWith(ctx, last); failed != nil {
		return t, failed.refused(err)
	} else if err != nil {
		return t, err
	}
	db.recent.add(t.records)
	db.used.noted(t.used)
	if len(t.events) > 0 {
		db.published.tell()
	}
	if t.rights > t.head.rights {
		db.rights.saw(t.rights, asked)
	}
	return t, nil
}

// beginReading begins a transaction that sees the database as it is at one moment.
func (p *pool) beginReading(ctx context.Context) (*sql.Tx, error) {
	var options *sql.TxOptions // one of SQLite always does
	if p.engine == postgres {
		options = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	}
	begun, err := p.BeginTx(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", storeError(err))
	}
	return begun, nil
}

// querier is what both a database and a transaction can do.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// tx is a transaction with the lines that it adds to the audit log.
type tx struct {
	transaction
	pool       *pool
	unprepared []string // texts of statements that had to be parsed
	acts       []audit.Act
	later      []command       // of a transaction of a queue, which commits with them
	wrote      bool            // something was written for certain, acts apart
	committing bool            // COMMIT was sent, and its error may stand for either outcome
	alive      map[string]bool // signing keys that were found not to be retired, see mayRecord

	head    head // as it was when the transaction began; nobody else changes it meanwhile
	headErr error
	ended   bool  // a right ended that no act tells of
	rights  int64 // the state of rights that begins with this transaction; 0: it changed nothing

	records  []ledger.Record // the block that it adds to the audit log
	blockIDs map[opaque.TokenID]bool
	recorded audit.Act            // one of the acts of the block
	events   []eventRow           // what is told of all that
	firstUse map[string]bool      // see useIdentities
	used     []license.Repository // whose use was noted
}

// head is the row that says where the audit log ends.
type head struct {
	audit.Head
	seal   string
	rights int64 // see audit.Action.ChangesRights
	newest int64 // the newest time that was ever written
	events int64 // number of the newest event

	endpoints int64 // grows when it changes who hears which events
}

func (h *head) into() []any {
	return []any{&h.Seq, &h.Hash, &h.seal, &h.rights, &h.newest, &h.events, &h.endpoints, new(any)}
}

// begin begins the transaction and reads the head of the audit log, and on PostgreSQL takes it as
// the lock of all writers. A database without one can still be written, until there is a line to
// add.
func (t *tx) begin(ctx context.Context) (err error) {
	if t.pool.engine == postgres {
		t.transaction, err = beginPipelined(ctx, t.pool.DB, command{text: lockHead, row: func(scan func(into ...any) error) error { return scan(t.head.into()...) }})
	} else {
		err = t.beginSQLite(ctx)
	}
	if errors.Is(err, sql.ErrNoRows) {
		t.headErr, err = noHead(err), nil
	}
	return err
}

// beginSQLite is beginPipelined on SQLite.
func (t *tx) beginSQLite(ctx context.Context) error {
	begun, err := t.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	t.transaction = begun
	err = t.QueryRowContext(ctx, readHead).Scan(t.head.into()...)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		_ = t.Rollback() // it changed nothing
	}
	return err
}

const readHead = `SELECT seq, hash, seal, rights, newest, events, endpoints, '' FROM audit_head WHERE id = 1`

// log notes acts. They stand in the log exactly when the transaction is committed.
func (t *tx) log(acts ...audit.Act) { t.acts = append(t.acts, acts...) }

// logIf notes an act that changed rows; one that changed nothing leaves no line.
func (t *tx) logIf(r sql.Result, a audit.Act) error {
	n, err := r.RowsAffected()
	if err == nil && n > 0 {
		t.log(a)
	}
	return err
}

// ownerOf is the account that an API token, a trust policy, a rotation or a device login belongs to; "" when
// there is none by that id, or it is nobody's.
func (t *tx) ownerOf(ctx context.Context, id string) (account string, err error) {
	err = t.QueryRowContext(ctx, `SELECT account_id FROM api_tokens WHERE id = $1 UNION ALL SELECT account_id FROM policies WHERE id = $1
		UNION ALL SELECT account_id FROM rotations WHERE id = $1
		UNION ALL SELECT account_id FROM device_logins WHERE id = $1 AND account_id IS NOT NULL`, id).Scan(&account)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("look up whose %s is: %w", id, storeError(err))
	}
	return account, nil
}

// end sets the end of a row that has not ended yet, and notes that it did, for the account whose it
// is. license.ErrNotFound: there is no such row.
func (t *tx) end(ctx context.Context, what, table, column, id string, act audit.Act) (err error) {
	var there bool
	if err := t.QueryRowContext(ctx, `SELECT TRUE FROM `+table+` WHERE id = $1`,
		id).Scan(&there); err != nil {
		return fmt.Errorf("%s %s: %w", what, id, notFound(err))
	}
	done, err := t.ExecContext(ctx,
		`UPDATE `+table+` SET `+column+` = $2 WHERE id = $1 AND `+column+
			` IS NULL`, id, millis(act.At))
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, id, storeError(err))
	}
	if act.Account, err = t.ownerOf(ctx, id); err != nil {
		return err
	}
	return t.logIf(done, act)
}
