package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
)

// A move copies a whole database to one of the other engine.
//
//   - The source is read in one transaction that holds the lock of all writers (tx.go). Nobody
//     writes to it until the move has ended, so all tables are of one moment.
//   - Rows are copied in the order of their keys, in batches that are durable one by one. Their
//     number at the target is the state of the move: it goes on behind them.
//   - The table engine_move exists while the target is not complete. No Store opens such a database.
//   - At the end each table is read on both sides, in the order of its key, and the number of rows
//     and the hash of all values are compared. Whatever happened between two runs of a move is found
//     there; it then begins again, once.

// Move says what to move, and where to.
type Move struct {
	From, To string // URLs, one of SQLite and one of PostgreSQL
	// Check may refuse the source by its signing keys before anything is changed.
	Check func(keys []keyring.SealedKey) error
	// Progress is called after each batch of rows; nil: nobody wants to know.
	Progress func(MoveProgress)

	batch int // in the place of batchRows; 0: that
}

// MoveProgress is how far a move is. Each row is counted twice: when it is copied and when it is
// compared.
type MoveProgress struct {
	Table       string
	Done, Total int64
}

// Moved is what was moved.
type Moved struct {
	Tables  []MovedTable
	Audit   audit.Head // where the audit log ends, on both sides
	Resumed bool       // it went on where an earlier run had ended
}

// MovedTable is a table that is the same on both sides.
type MovedTable struct {
	Name   string
	Rows   int64
	SHA256 [32]byte // of all its values in the order of its key
}

// ErrHalfMoved says that a move to the database has begun and not ended.
var ErrHalfMoved = errors.New("a move to this database has not finished, so it is not complete: " +
	"run `pageflare-license migrate-engine` again as before")

// Run moves the database. The source is not changed. The target must be empty, or a move of the
// same source to it has not finished. What is copied stays when it fails: the next run goes on there.
func (m Move) Run(ctx context.Context) (done Moved, err error) {
	if IsPostgres(m.From) == IsPostgres(m.To) {
		return done, errors.New("both are of the same engine: for SQLite use `backup` and `restore`, for PostgreSQL pg_dump and pg_restore")
	}
	from, err := openSource(ctx, m.From)
	if err != nil {
		return done, fmt.Errorf("database %s: %w", opaque.HideUserInfo(m.From), givenBy("--from", err))
	}
	defer func() { err = errors.Join(err, from.close()) }()
	keys, err := (&Store{read: &pool{DB: from.db, engine: from.engine}}).Keys(ctx)
	if err == nil && m.Check != nil {
		err = m.Check(keys)
	}
	if err != nil {
		return done, err
	}
	to, resumed, err := openTarget(ctx, m.To, from)
	if err != nil {
		return done, fmt.Errorf("database %s: %w", opaque.HideUserInfo(m.To), givenBy("--to", err))
	}
	defer func() { err = errors.Join(err, to.close()) }()
	if m.batch > 0 {
		to.batch = m.batch
	}
	tables, err := sameTables(ctx, from, to)
	if err != nil {
		return done, err
	}
	c := copying{from: from, to: to, tables: tables, resumed: resumed, report: m.Progress}
	if err := c.run(ctx); err != nil {
		return done, givenBy("--from or --to", err)
	}
	return Moved{Tables: c.moved, Audit: from.origin.head, Resumed: c.resumed}, nil
}

// givenBy names what a URL was given by in an error whose remedy is to change it: elsewhere it is
// the setting.
func givenBy(flag string, err error) error { return &urlError{flag, err} }

type urlError struct {
	flag string
	err  error
}

func (e *urlError) Error() string {
	return strings.ReplaceAll(e.err.Error(), "LICENSE_DATABASE_URL", e.flag)
}

func (e *urlError) Unwrap() error { return e.err }

// copying is a move whose source and target are open.
type copying struct {
	from, to *side
	tables   []movedTable
	resumed  bool
	report   func(MoveProgress)
	moved    []MovedTable

	mu       sync.Mutex
	progress MoveProgress
}

func (c *copying) run(ctx context.Context) error {
	for i := range c.tables {
		n, err := c.from.count(ctx, c.tables[i].name)
		if err != nil {
			return err
		}
		c.progress.Total += 2 * n
	}
	if !c.resumed {
		if err := c.to.begin(ctx, c.tables, c.from.origin); err != nil {
			return err
		}
	}
	err := c.copyAndCompare(ctx)
	if c.resumed && errors.As(err, new(*differentError)) { // the source was written since the run before
		c.resumed, c.progress.Done = false, 0
		if err := c.to.begin(ctx, c.tables, c.from.origin); err != nil {
			return err
		}
		err = c.copyAndCompare(ctx)
	}
	if err != nil {
		return err
	}
	return c.to.finish(ctx, c.tables)
}

// differentError says that a table is not the same on both sides.
type differentError struct{ table, what string }

func (e *differentError) Error() string {
	return "table " + e.table + " is not the same on both sides: " + e.what + ": " +
		"another program writes to the target; stop it, empty the target and run the command again"
}

func (c *copying) copyAndCompare(ctx context.Context) error {
	for _, t := range c.tables {
		there, err := c.to.count(ctx, t.name)
		if err != nil {
			return err
		}
		c.advance(t, there)
		err = storeError(c.from.copyTo(ctx, c.to, t, there, func(n int64) { c.advance(t, n) }))
		if errors.Is(err, failure.ErrConflict) || errors.Is(err, failure.ErrNotFound) {
			return &differentError{t.name, "the target has other rows than the first ones of the source"}
		}
		if err != nil {
			return fmt.Errorf("copy table %s: %w", t.name, notText(err))
		}
	}
	c.moved = nil
	for _, t := range c.tables {
		one, err := c.compare(ctx, t)
		if err != nil {
			return err
		}
		c.moved = append(c.moved, one)
	}
	return nil
}

// compare reads a table on both sides at once.
func (c *copying) compare(ctx context.Context, t movedTable) (MovedTable, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sums [2]tableSum
	var errs [2]error
	var wg sync.WaitGroup
	for i, s := range []*side{c.from, c.to} {
		wg.Go(func() {
			sums[i], errs[i] = s.sum(ctx, t, func(n int64) {
				if i == 0 {
					c.advance(t, n)
				}
			})
			if errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return MovedTable{}, fmt.Errorf("compare table %s: %w", t.name, storeError(err))
	}
	from, to := sums[0], sums[1]
	switch {
	case from.rows != to.rows:
		return MovedTable{}, &differentError{t.name, fmt.Sprintf("the source has %d rows, the target %d", from.rows, to.rows)}
	case from.hash != to.hash:
		return MovedTable{}, &differentError{t.name, fmt.Sprintf("the SHA-256 of all values is %x in the source, %x in the target", from.hash, to.hash)}
	}
	return MovedTable{Name: t.name, Rows: from.rows, SHA256: from.hash}, nil
}

func (c *copying) advance(t movedTable, rows int64) {
	if c.report == nil || rows == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.Table = t.name
	c.progress.Done += rows
	c.report(c.progress)
}

// origin is which database a move is of, and where its audit log ends.
type origin struct {
	first string // the hash of its first line, which is keyed and names a random key: no other has it
	head  audit.Head
}

func readOrigin(ctx context.Context, q querier) (o origin, err error) {
	err = q.QueryRowContext(ctx, `SELECT coalesce((SELECT hash FROM audit_log WHERE seq = 1), ''), seq, hash FROM audit_head WHERE id = 1`).
		Scan(&o.first, &o.head.Seq, &o.head.Hash)
	if err == nil && o.first == "" {
		err = errors.New("its audit log has no first line, so nothing was done in it yet: there is nothing to move")
	}
	return o, noHead(storeError(err))
}

// openSource opens the source as it is, and takes the lock of its writers.
func openSource(ctx context.Context, url string) (*side, error) {
	there, err := haveFile(url)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errors.New("is not there: name the file of the database to move")
	}
	if err := lookAt(ctx, url); err != nil {
		return nil, err
	}
	s, err := openSide(ctx, url, sourceSettings)
	if err != nil {
		return nil, err
	}
	if err := s.lock(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// lock begins the transaction in which the source is read; nobody else writes until it has ended.
func (s *side) lock(ctx context.Context) (err error) {
	if s.tx, err = s.conn.BeginTx(ctx, s.sourceIsolation()); err != nil {
		return lockedFault(storeError(err))
	}
	if err := s.checkVersion(ctx); err != nil {
		return err
	}
	begin := `PRAGMA query_only = 1` // it would refuse to take the lock
	if s.engine == postgres {
		begin = noLimits
	}
	if _, err := s.tx.ExecContext(ctx, begin); err != nil {
		return storeError(err)
	}
	if s.engine == postgres {
		if _, err := s.tx.ExecContext(ctx, `SELECT 1 FROM audit_head WHERE id = 1 FOR UPDATE`); err != nil {
			return lockedFault(storeError(err))
		}
	}
	s.origin, err = readOrigin(ctx, s.tx)
	return err
}

// noLimits lifts the time limits that the server may have for this transaction; a pooler gives the
// connection to others after it.
const noLimits = `SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)`

func lockedFault(err error) error {
	return fmt.Errorf("cannot be locked against writers: %w: stop every service and command that works on it, and run this again", err)
}

// openTarget opens the target and makes its tables. resumed: they hold a part of the source. What is
// there is looked at before anything is changed.
func openTarget(ctx context.Context, url string, from *side) (s *side, resumed bool, err error) {
	state, err := lookAtTarget(ctx, url)
	if err != nil {
		return nil, false, err
	}
	if state != nil && state.first != from.origin.first {
		return nil, false, errors.New("holds a part of another database, whose move has not finished: name an empty database, or drop its tables if nobody needs them")
	}
	made, err := openUnlooked(url)
	if err != nil {
		return nil, false, err
	}
	if err := errors.Join(migrate(ctx, made.write, true, migrations), made.Close()); err != nil {
		return nil, false, err
	}
	if s, err = openSide(ctx, url, writePragmas); err != nil {
		return nil, false, err
	}
	return s, state != nil && state.head == from.origin.head, nil
}

// lookAtTarget returns what a move that has not finished is of; nil when the target is empty.
func lookAtTarget(ctx context.Context, url string) (_ *origin, err error) {
	half := false
	if err := lookAt(ctx, url); errors.Is(err, ErrHalfMoved) {
		half = true
	} else if err != nil {
		return nil, err
	}
	if there, err := haveFile(url); err != nil || !there {
		return nil, err
	}
	s, err := openSide(ctx, url, sourceSettings)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if half {
		var o origin
		err := s.conn.QueryRowContext(ctx, `SELECT first, seq, hash FROM engine_move`).Scan(&o.first, &o.head.Seq, &o.head.Hash)
		return &o, storeError(err)
	}
	names, err := s.tableNames(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.Contains(marks, name) {
			continue
		}
		var used bool
		if err := s.conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM `+name+`)`).Scan(&used); err != nil {
			return nil, storeError(err)
		}
		if used {
			return nil, errors.New("has data of pageflare-license already: name an empty database; if a move to it has finished, there is nothing left to do but to use it")
		}
	}
	return nil, nil
}

// marks are the tables of which one has a row in every database that was ever used.
var marks = []string{"accounts", "signing_keys", "audit_log", "ledger", "tokens"}

// begin makes the target an empty one of a move that has begun.
func (s *side) begin(ctx context.Context, tables []movedTable, of origin) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		statements := []string{`CREATE TABLE IF NOT EXISTS engine_move (first TEXT NOT NULL, seq BIGINT NOT NULL, hash TEXT NOT NULL, begun_at BIGINT NOT NULL)`,
			`DELETE FROM engine_move`}
		var names []string
		for _, t := range slices.Backward(tables) { // references before what they name
			names = append(names, t.name)
		}
		if s.engine == postgres {
			statements = append(statements, `TRUNCATE `+strings.Join(names, ", "))
		} else {
			statements = append(statements, `DELETE FROM `+strings.Join(names, `; DELETE FROM `))
		}
		for _, text := range statements {
			if _, err := tx.ExecContext(ctx, text); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO engine_move (first, seq, hash, begun_at) VALUES ($1, $2, $3, $4)`,
			of.first, of.head.Seq, of.head.Hash, time.Now().UnixMilli())
		return err
	})
}

// finish lets the target be opened.
func (s *side) finish(ctx context.Context, tables []movedTable) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		if s.engine == postgres { // else it plans by no statistics until its own upkeep has come by
			for _, t := range tables {
				if _, err := tx.ExecContext(ctx, `ANALYZE `+t.name); err != nil {
					return err
				}
			}
		}
		_, err := tx.ExecContext(ctx, `DROP TABLE engine_move`)
		return err
	})
}
