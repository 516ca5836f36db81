package store

import (
	"context"
	"database/sql"
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
	prepared sync.Map              // text -> *sql.Stmt
	fault    atomic.Pointer[error] // of the newest write, when the database itself failed
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
		return t.StmtContext(ctx, s.(*sql.Stmt)).ExecContext(ctx, args...)
	}
	t.unprepared = append(t.unprepared, text)
	return t.Tx.ExecContext(ctx, text, args...)
}

// QueryContext is that of sql.Tx, with the prepared statement if there is one already.
func (t *tx) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s, ok := t.pool.prepared.Load(text); ok {
		return t.StmtContext(ctx, s.(*sql.Stmt)).QueryContext(ctx, args...)
	}
	t.unprepared = append(t.unprepared, text)
	return t.Tx.QueryContext(ctx, text, args...)
}

// QueryRowContext is that of sql.Tx, with the prepared statement if there is one already.
func (t *tx) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if s, ok := t.pool.prepared.Load(text); ok {
		return t.StmtContext(ctx, s.(*sql.Stmt)).QueryRowContext(ctx, args...)
	}
	t.unprepared = append(t.unprepared, text)
	return t.Tx.QueryRowContext(ctx, text, args...)
}
