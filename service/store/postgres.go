package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// What a process takes of a PostgreSQL server. Writers stand in a row behind the head of the audit
// log, so more connections than a few would only wait there.
const (
	postgresWriters = 3
	postgresReaders = 8
	// PostgresConnections is how many connections a process takes at most.
	PostgresConnections = postgresWriters + postgresReaders
	// connectionLife bounds how long a connection is used: a server that was moved is left by then.
	connectionLife = 15 * time.Minute
	// connectionIdle is how long a connection that nobody uses stays open.
	connectionIdle = 5 * time.Minute
	// connectPatience is how long a connection may take to open, unless the URL says
	// connect_timeout.
	connectPatience = 5 * time.Second
	// answerPatience is how long the server may take to answer anything that it is asked.
	answerPatience = 7 * time.Second
)

// lockHead is what each transaction that writes begins with. The head of the audit log is the lock
// of all writers of all replicas (tx.go). The time limits are those of this transaction, for a
// pooler gives the connection to others after it: without them a replica that stops inside its
// transaction would block every other one until its connection ends.
const lockHead = `SELECT seq, hash, seal, rights, newest, events, endpoints, set_config('lock_timeout', '4s', true) || set_config('statement_timeout', '5s', true)
	|| set_config('idle_in_transaction_session_timeout', '800ms', true) FROM audit_head WHERE id = 1 FOR UPDATE`

// openPostgres opens the pools of a database. Nothing is asked of it yet.
func openPostgres(url string) (*Store, error) {
	c, err := postgresConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", opaque.HideUserInfo(url), err)
	}
	moved := &atomic.Int64{}
	one := func(connections int) *pool {
		c, patience := c.Copy(), &atomic.Int64{}
		patience.Store(int64(answerPatience))
		dial := c.DialFunc
		c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &patientConn{Conn: conn, patience: patience}, nil
		}
		db := stdlib.OpenDB(*c, stdlib.OptionAfterConnect(func(_ context.Context, conn *pgx.Conn) error {
			conn.PgConn().CustomData()[epoch] = moved.Load()
			return nil
		}), stdlib.OptionResetSession(func(_ context.Context, conn *pgx.Conn) error {
			if conn.PgConn().CustomData()[epoch] != moved.Load() {
				return driver.ErrBadConn
			}
			return nil
		}))
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
		db.SetConnMaxLifetime(connectionLife)
		db.SetConnMaxIdleTime(connectionIdle)
		return &pool{DB: db, engine: postgres, moved: moved, patience: patience}
	}
	return &Store{read: one(postgresReaders), write: one(postgresWriters)}, nil
}

// epoch is the name under which a connection knows since which move of the primary it is open.
const epoch = "pageflare epoch"

// patientConn ends a connection whose server does not answer in time: a server that hangs, or a
// network that swallows packets, would hold the caller for minutes.
type patientConn struct {
	net.Conn
	patience *atomic.Int64 // a time.Duration; 0: it waits for as long as it takes
}

func (c *patientConn) Write(b []byte) (int, error) {
	var deadline time.Time
	if patience := time.Duration(c.patience.Load()); patience > 0 {
		deadline = time.Now().Add(patience)
	}
	if err := c.Conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// unhurried lets what is asked of the pool meanwhile take as long as it takes: a migration of a
// large table may. On SQLite nothing limits it.
func (p *pool) unhurried(f func() error) error {
	if p.patience != nil {
		defer p.patience.Store(p.patience.Swap(0))
	}
	return f()
}

// postgresFault is storeError for what PostgreSQL says, and for a connection that broke; nil for
// everything else.
func postgresFault(err error) error {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		switch said.Code {
		case "23505": // unique_violation
			return failure.ErrConflict
		case "23503": // foreign_key_violation
			return failure.ErrNotFound
		case "42501": // insufficient_privilege
			return missingRight(said)
		case "25006", // read_only_sql_transaction: it is no primary any more
			"25P03", "25P04", // idle_in_transaction_session_timeout, transaction_timeout
			"55P03", "57014": // lock_not_available, query_canceled by a time limit
			return fmt.Errorf("%w: %w", failure.ErrUnavailable, err)
		case "XX001", "XX002": // data_corrupted, index_corrupted
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		switch said.Code[:2] {
		case "08", "40", "53", "57", "58": // connection, rollback, resources, operator, system
			return fmt.Errorf("%w: %w", failure.ErrUnavailable, err)
		}
		return err
	}
	if broken(err) {
		return fmt.Errorf("%w: %w", failure.ErrUnavailable, err)
	}
	return nil
}

// broken says whether a connection could not be opened, or ended while it was used.
func broken(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) && !errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		strings.Contains(err.Error(), "conn closed")
}

// mayTryAgain says whether a transaction that failed left nothing behind, and may go well when it is
// tried once more: the process was held up inside it for longer than the server waits, met another
// transaction, or lost its connection. Once COMMIT was sent a lost connection says nothing of what
// became of it, so the caller has to hear of that.
func mayTryAgain(err error, committing bool) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		switch said.Code {
		case "25P03", "25P04", // idle_in_transaction_session_timeout, transaction_timeout
			"40001", "40P01": // serialization_failure, deadlock_detected
			return true
		}
	}
	return !committing && (isMoved(err) || isLost(err))
}

// connectionException is the class of what a pooler says of a connection that it lost, too.
const connectionException = "08"

// isLost says whether a connection that was open ended, or its server is about to: others to the same
// server are most likely no better.
func isLost(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		switch said.Code {
		case "57P01", "57P02", "57P03": // admin_shutdown, crash_shutdown, cannot_connect_now
			return true
		}
		return strings.HasPrefix(said.Code, connectionException)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	hangs := errors.As(err, &network) && network.Timeout()
	return broken(err) && !hangs && !errors.As(err, &connect)
}

// isMoved says whether the server that we write to is not the primary any more.
func isMoved(err error) bool {
	var said *pgconn.PgError
	return errors.Is(err, errReadOnly) || errors.As(err, &said) && said.Code == "25006"
}

// errReadOnly says that a server takes no writes, which a read found.
var errReadOnly = fmt.Errorf("%w: the server takes no writes: it is not the primary any more", failure.ErrUnavailable)

// readyPostgres tries a write each time: a connection to a primary of before looks healthy until it
// is asked to write. After one that failed it writes as much as a record needs: little finds room
// in pages that there are.
func (s *Store) readyPostgres(ctx context.Context) error {
	fault := s.write.fault.Load()
	if !s.trying.TryLock() {
		if fault != nil {
			return *fault
		}
		return nil
	}
	defer s.trying.Unlock()
	return inTx(ctx, s.write, func(t *tx) error {
		one, other := "a", "b"
		if fault != nil {
			p := probes()
			one, other = p[0], p[1]
		}
		return t.tryWrite(ctx, one, other)
	})
}
