package store

import (
	"context"
	"database/sql"
	"strconv"
	"sync"
	"sync/atomic"
)

// pool is a database that parses the text of a statement once for each connection: a small
// statement takes SQLite longer to parse than to run. Every text is kept, so none may be made of
// values: those are arguments, and there are as many texts as places in this package that have one.
//
// On PostgreSQL nothing is prepared: a pooler may give each transaction another connection.
type pool struct {
	*sql.DB
	engine   engine
	patience *atomic.Int64 // see patientConn; nil on SQLite
	moved    *atomic.Int64 // how often the primary of PostgreSQL moved away; connections of before are not used again
	recent   *recent
	rights   *rightsKnown
	used     *usedRepositories

	heard     atomic.Pointer[heard] // who hears of license tokens; nil: it is not known
	published *publication
	prepared  sync.Map              // text -> *sql.Stmt
	fault     atomic.Pointer[error] // of the newest write, when the database itself failed
}

// engine is which database it is.
type engine int

const (
	sqliteEngine engine = iota
	postgres
)

// statement is the prepared statement of a text. It takes a connection, so a caller that holds the
// last one must not ask.
func (p *pool) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if s, ok := p.prepared.Load(text); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := p.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if first, loaded := p.prepared.LoadOrStore(text, s); loaded {
		return first.(*sql.Stmt), s.Close()
	}
	return s, nil
}

// QueryRowContext is that of sql.DB, with a prepared statement.
func (p *pool) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if p.engine == postgres {
		return p.DB.QueryRowContext(ctx, text, args...)
	}
	s, err := p.statement(ctx, text)
	if err != nil {
		return p.DB.QueryRowContext(ctx, text,
			args...) // which meets the same error, and can say so
	}
	return s.QueryRowContext(ctx, args...)
}

// QueryContext is that of sql.DB, with a prepared statement.
func (p *pool) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if p.engine == postgres {
		return p.DB.QueryContext(ctx, text, args...)
	}
	s, err := p.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// prepareAll prepares what a transaction had to do without; the next one finds it.
func (p *pool) prepareAll(ctx context.Context, texts []string) {
	if p.engine == postgres {
		return
	}
	for _, text := range texts {
		if _, err := p.statement(ctx, text); err != nil {
			return // the next transaction does without, too, and asks again
		}
	}
}

// ExecContext is that of sql.Tx, with the prepared statement if there is one already.
func (t *tx) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if s, ok := t.pool.prepared.Load(text); ok {
		return t.prepared(ctx, s).ExecContext(ctx, args...)
	}
	t.unprepared = append(t.unprepared, text)
	return t.transaction.ExecContext(ctx, text, args...)
}

// QueryContext is that of sql.Tx, with the prepared statement if there is one already.
func (t *tx) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s, ok := t.pool.prepared.Load(text); ok {
		return t.prepared(ctx, s).QueryContext(ctx, args...)
	}
	t.unprepared = append(t.unprepared, text)
	return t.transaction.QueryContext(ctx, text, args...)
}

// QueryRowContext is that of sql.Tx, with the prepared statement if there is one already.
func (t *tx) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if s, ok := t.pool.prepared.Load(text); ok {
		return t.prepared(ctx, s).QueryRowContext(ctx, args...)
	}
	t.unprepared = append(t.unprepared, text)
	return t.transaction.QueryRowContext(ctx, text, args...)
}

// prepared is a statement of the pool in this transaction, which is one of SQLite: nothing is prepared
// on PostgreSQL.
func (t *tx) prepared(ctx context.Context, statement any) *sql.Stmt {
	return t.transaction.(*sql.Tx).StmtContext(ctx, statement.(*sql.Stmt))
}

// adder adds rows to a table, many by one statement.
type adder struct {
	ctx        context.Context
	t          *tx
	head, tail string // what stands before and behind the rows
	columns    int
	args       []any
	added      int64
	err        error
}

// addedTogether is how many values one statement adds at most.
const addedTogether = 1200

// adder returns what adds rows by a statement; head ends with VALUES.
func (t *tx) adder(ctx context.Context, head string, columns int, tail string) *adder {
	return &adder{ctx: ctx, t: t, head: head, tail: tail, columns: columns}
}

// row adds a row. That it failed is known when the last one is flushed.
func (a *adder) row(values ...any) {
	a.args = append(a.args, values...)
	if len(a.args)+a.columns > addedTogether {
		a.send()
	}
}

// flush adds the last rows, and returns why any could not be added.
func (a *adder) flush() error {
	a.send()
	return a.err
}

func (a *adder) send() {
	if len(a.args) == 0 || a.err != nil {
		return
	}
	text := []byte(a.head)
	for i := range a.args {
		switch {
		case i == 0:
			text = append(text, '(')
		case i%a.columns == 0:
			text = append(text, "), ("...)
		default:
			text = append(text, ", "...)
		}
		text = strconv.AppendInt(append(text, '$'), int64(i+1), 10)
	}
	text = append(append(text, ')'), a.tail...)
	// past the statements that are kept: there is a text for each number of rows
	done, err := a.t.transaction.ExecContext(a.ctx, string(text), a.args...)
	var n int64
	if err == nil {
		n, err = done.RowsAffected()
	}
	a.added, a.err, a.args = a.added+n, storeError(err), a.args[:0]
}
