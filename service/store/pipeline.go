package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// A transaction that adds to the audit log is short: what takes time on PostgreSQL is not its work
// but the messages there and back, and nobody else writes meanwhile. So what can be sent together
// is: BEGIN with the lock, and everything that a transaction ends with, COMMIT too.

// transaction is one that has begun. Commit or Rollback ends it; a Rollback after that does nothing.
type transaction interface {
	querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	Commit() error
	Rollback() error
}

// command is a statement.
type command struct {
	text string
	args []any
	row  func(scan func(into ...any) error) error // is called for each row that it gives; nil: it gives none
}

func newCommand(text string, args ...any) command { return command{text: text, args: args} }

// together runs commands in their order and returns how many rows each changed or gave; with an
// error, each before the one that failed. The transaction can do nothing more then.
func (t *tx) together(ctx context.Context, commands ...command) (changed []int64, err error) {
	if p, ok := t.transaction.(*pipelined); ok {
		return p.together(ctx, commands)
	}
	for _, c := range commands {
		n, err := t.alone(ctx, c)
		if err != nil {
			return changed, err
		}
		changed = append(changed, n)
	}
	return changed, nil
}

// alone runs one command.
func (t *tx) alone(ctx context.Context, c command) (n int64, err error) {
	if c.row == nil {
		done, err := t.ExecContext(ctx, c.text, c.args...)
		if err != nil {
			return 0, err
		}
		return done.RowsAffected()
	}
	rows, err := t.QueryContext(ctx, c.text, c.args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for ; rows.Next(); n++ {
		if err := c.row(rows.Scan); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// queue adds the command to a batch; done is told how many rows it changed or gave.
func (c command) queue(batch *pgx.Batch, done func(n int64)) {
	queued := batch.Queue(c.text, c.args...)
	if c.row == nil {
		queued.Exec(func(tag pgconn.CommandTag) error {
			done(tag.RowsAffected())
			return nil
		})
		return
	}
	queued.Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := c.row(rows.Scan); err != nil {
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		done(rows.CommandTag().RowsAffected())
		return nil
	})
}

// commitWith runs the last commands of the transaction, which give no rows, and makes it durable. What
// PostgreSQL says of one of them it says in its place, so that one failed, and COMMIT was not reached;
// a connection that ends says nothing of that.
func (t *tx) commitWith(ctx context.Context, last []command) (failed *command, err error) {
	var done int
	if p, ok := t.transaction.(*pipelined); ok {
		done, err = p.commitWith(ctx, last)
	} else if done, err = t.commitInTurn(ctx, last); done < len(last) {
		return &last[done], err
	}
	if err == nil {
		return nil, nil
	}
	var said *pgconn.PgError
	if done < len(last) && errors.As(err, &said) && !strings.HasPrefix(said.Code, connectionException) {
		return &last[done], err
	}
	t.committing = !pgconn.SafeToRetry(err)
	return nil, fmt.Errorf("commit: %w", storeError(err))
}

// commitInTurn is commitWith, one command after the other. done: how many went well.
func (t *tx) commitInTurn(ctx context.Context, last []command) (done int, err error) {
	changed, err := t.together(ctx, last...)
	if err == nil {
		err = t.Commit()
	}
	return len(changed), err
}

// pipelined is a transaction of PostgreSQL on a connection of its own. However it ends, the
// connection goes back to its pool outside a transaction, or is closed.
type pipelined struct {
	*sql.Conn
	ctx context.Context // COMMIT is not sent after its end
}

// beginPipelined begins a transaction by a command that gives a row. With sql.ErrNoRows it gave none,
// and the transaction has begun; with any other error it has not.
func beginPipelined(ctx context.Context, db *sql.DB, first command) (*pipelined, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	t := &pipelined{conn, ctx}
	err = t.raw(func(c *pgx.Conn) error {
		var batch pgx.Batch
		batch.Queue("begin")
		batch.Queue(first.text, first.args...).QueryRow(func(row pgx.Row) error { return first.row(row.Scan) })
		return c.SendBatch(ctx, &batch).Close()
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.release()
		return nil, err
	}
	return t, err
}

// raw does something with the connection as pgx has it.
func (t *pipelined) raw(f func(*pgx.Conn) error) error {
	return t.Raw(func(c any) error {
		conn, ok := c.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the driver of PostgreSQL is %T", c)
		}
		return f(conn.Conn())
	})
}

func (t *pipelined) together(ctx context.Context, commands []command) (changed []int64, err error) {
	var batch pgx.Batch
	for _, c := range commands {
		c.queue(&batch, func(n int64) { changed = append(changed, n) })
	}
	err = t.raw(func(c *pgx.Conn) error { return c.SendBatch(ctx, &batch).Close() })
	return changed, err
}

// commitWith runs the last commands and makes the transaction durable, in one message. done: how many
// of the commands went well.
func (t *pipelined) commitWith(ctx context.Context, last []command) (done int, err error) {
	defer t.release() // COMMIT may not have been reached
	var batch pgx.Batch
	for _, c := range last {
		// nothing of ours may fail here: COMMIT is on its way
		batch.Queue(c.text, c.args...).Exec(func(pgconn.CommandTag) error {
			done++
			return nil
		})
	}
	batch.Queue("commit").Exec(committed)
	err = t.raw(func(c *pgx.Conn) error { return c.SendBatch(ctx, &batch).Close() })
	return done, err
}

// committed is the error of a COMMIT that was answered so: a server that is told to commit what had
// failed rolls it back, and does not call that an error.
func committed(done pgconn.CommandTag) error {
	if done.String() == "ROLLBACK" {
		return pgx.ErrTxCommitRollback
	}
	return nil
}

// Commit makes the transaction durable.
func (t *pipelined) Commit() error {
	_, err := t.commitWith(t.ctx, nil)
	return err
}

// Rollback ends the transaction without a trace.
func (t *pipelined) Rollback() error {
	t.release()
	return nil
}

// release gives the connection back. A transaction that has not ended is rolled back, and ends with
// its connection when the server does not say that it was.
func (t *pipelined) release() {
	ctx := context.WithoutCancel(t.ctx)
	_ = t.raw(func(c *pgx.Conn) error {
		if c.IsClosed() || c.PgConn().TxStatus() == 'I' {
			return nil
		}
		_, err := c.Exec(ctx, "rollback")
		if err != nil || c.PgConn().TxStatus() != 'I' {
			_ = c.Close(ctx)
		}
		return nil
	})
	_ = t.Close() // it says that it was closed already
}
