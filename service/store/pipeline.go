package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// A transaction that adds to the audit log is short: what takes time on PostgreSQL is not its work
// but the messages there and back, and nobody else writes meanwhile. So what can be said together is
// sent together: BEGIN with the lock, and all that a transaction ends with.

// transaction is one that has begun.
type transaction interface {
	querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	Commit() error
	Rollback() error
}

// command is a statement that gives no rows.
type command struct {
	text string
	args []any
}

// together runs commands in their order and returns how many rows each changed; with an error, each
// before the one that failed. The transaction can do nothing more then.
func (t *tx) together(ctx context.Context, commands ...command) ([]int64, error) {
	if p, ok := t.transaction.(*pipelined); ok {
		return p.together(ctx, commands)
	}
	changed := make([]int64, 0, len(commands))
	for _, c := range commands {
		var n int64
		done, err := t.ExecContext(ctx, c.text, c.args...)
		if err == nil {
			n, err = done.RowsAffected()
		}
		if err != nil {
			return changed, err
		}
		changed = append(changed, n)
	}
	return changed, nil
}

// pipelined is a transaction of PostgreSQL on a connection of its own.
type pipelined struct {
	*sql.Conn
	ctx context.Context // of the transaction, which ends with it
}

// beginPipelined begins a transaction and reads the head of the audit log, which locks it. h.missing
// is whether there is none. Without an error the transaction has to be ended.
func beginPipelined(ctx context.Context, db *sql.DB, h *head) (t *pipelined, missing bool, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, false, err
	}
	t = &pipelined{conn, ctx}
	err = t.raw(func(c *pgx.Conn) error {
		var batch pgx.Batch
		batch.Queue("begin")
		batch.Queue(lockHead)
		answers := c.SendBatch(ctx, &batch)
		_, fault := answers.Exec()
		if fault == nil {
			fault = answers.QueryRow().Scan(h.into()...)
		}
		if errors.Is(fault, pgx.ErrNoRows) {
			missing, fault = true, nil
		}
		return first(fault, answers.Close())
	})
	if err != nil {
		return nil, false, errors.Join(err, t.Rollback())
	}
	return t, missing, nil
}

// first is the first of two errors: the second one repeats it.
func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// raw does something with the connection as pgx has it.
func (t *pipelined) raw(f func(*pgx.Conn) error) error {
	return t.Raw(func(c any) error {
		conn, ok := c.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the driver of PostgreSQL is %T", c)
		}
		if conn.Conn().IsClosed() {
			return driver.ErrBadConn
		}
		return f(conn.Conn())
	})
}

func (t *pipelined) together(ctx context.Context, commands []command) (changed []int64, err error) {
	var batch pgx.Batch
	for _, c := range commands {
		args := make([]any, len(c.args))
		for i, a := range c.args { // as database/sql gives them to any driver
			if args[i], err = driver.DefaultParameterConverter.ConvertValue(a); err != nil {
				return nil, err
			}
		}
		batch.Queue(c.text, args...)
	}
	err = t.raw(func(c *pgx.Conn) error {
		answers := c.SendBatch(ctx, &batch)
		var fault error
		for range commands {
			var tag pgconn.CommandTag
			if tag, fault = answers.Exec(); fault != nil {
				break
			}
			changed = append(changed, tag.RowsAffected())
		}
		return first(fault, answers.Close())
	})
	return changed, err
}

// Commit makes the transaction durable. A server that was told to commit what had failed rolls back,
// and says so by no error.
func (t *pipelined) Commit() error {
	err := t.raw(func(c *pgx.Conn) error {
		tag, err := c.Exec(t.ctx, "commit")
		switch {
		case err == nil && tag.String() == "ROLLBACK":
			return pgx.ErrTxCommitRollback
		case err != nil && !c.IsClosed() && c.PgConn().TxStatus() != 'I': // it was not sent
			_, fault := c.Exec(context.WithoutCancel(t.ctx), "rollback")
			return errors.Join(err, fault)
		}
		return err
	})
	return errors.Join(err, t.Conn.Close())
}

// Rollback ends the transaction without a trace, and its connection too when that cannot be said.
func (t *pipelined) Rollback() error {
	err := t.raw(func(c *pgx.Conn) error {
		if c.PgConn().TxStatus() == 'I' {
			return nil
		}
		_, err := c.Exec(context.WithoutCancel(t.ctx), "rollback")
		return err
	})
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn) {
		err = nil // it ended with its connection
	}
	return errors.Join(err, t.Conn.Close())
}
