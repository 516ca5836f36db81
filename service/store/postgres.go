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
	// connectionLife bounds how long a connection is used: a server that was moved is left by then.
	connectionLife = 15 * time.Minute
	// connectionIdle is how long a connection that nobody uses stays open.
	connectionIdle = 5 * time.Minute
	// connectPatience is how long a connection may take to open, unless the URL says connect_timeout.
	connectPatience = 5 * time.Second
	// answerPatience is how long the server may take to answer anything that it is asked.
	answerPatience = 7 * time.Second
)

// lockHead is what each transaction that writes begins with. The head of the audit log is the lock
// of all writers of all replicas (tx.go). The time limits are those of this transaction, for a
// pooler gives the connection to others after it: without them a replica that stops inside its
// transaction would block every other one until its connection ends.
const lockHead = `SELECT seq, hash, seal, rights, newest, set_config('lock_timeout', '4s', true) || set_config('statement_timeout', '5s', true)
	|| set_config('idle_in_transaction_session_timeout', '800ms', true) FROM audit_head WHERE id = 1 FOR UPDATE`

// IsPostgres says whether a database URL names a PostgreSQL database.
func IsPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// postgresConfig reads a URL as libpq does, with what we add. The error never quotes the URL.
func postgresConfig(url string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("is not a URL of PostgreSQL such as postgres://user@host/database: %w", innermost(err))
	}
	// prepared statements that have a name do not survive a pooler in transaction mode
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectPatience
	}
	if c.ValidateConnect == nil {
		// of several hosts the one that is the primary now; and never a primary of before, which
		// answers reads as if nothing had happened
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "pageflare-license"
	}
	return c, nil
}

// innermost is the cause of an error, without what quotes the URL around it.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	var fault *pgconn.ParseConfigError
	if errors.As(err, &fault) {
		return errors.New("it cannot be parsed")
	}
	return err
}

// CheckURL says what is wrong with the URL of a PostgreSQL database, without asking anybody.
func CheckURL(url string) error {
	_, err := postgresConfig(url)
	return err
}

// openPostgres opens the pools of a database. Nothing is asked of it yet.
func openPostgres(url string) (*Store, error) {
	c, err := postgresConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", opaque.HideUserInfo(url), err)
	}
	dial := c.DialFunc
	c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &patientConn{Conn: conn}, nil
	}
	moved := &atomic.Int64{}
	one := func(connections int) *pool {
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
		return &pool{DB: db, engine: postgres, moved: moved}
	}
	return &Store{read: one(postgresReaders), write: one(postgresWriters)}, nil
}

// epoch is the name under which a connection knows since which move of the primary it is open.
const epoch = "pageflare epoch"

// patientConn ends a connection whose server does not answer in time: a server that hangs, or a
// network that swallows packets, would hold the caller for minutes.
type patientConn struct{ net.Conn }

func (c *patientConn) Write(b []byte) (int, error) {
	if err := c.Conn.SetDeadline(time.Now().Add(answerPatience)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
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

// isLost says whether a connection that was open ended, or its server is about to: others to the same
// server are most likely no better.
func isLost(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		switch said.Code {
		case "57P01", "57P02", "57P03": // admin_shutdown, crash_shutdown, cannot_connect_now
			return true
		}
		return strings.HasPrefix(said.Code, "08") // connection_exception
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

// checkOursPostgres refuses a database in which another program has its tables, and one that
// cannot be asked.
func (s *Store) checkOursPostgres(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*connectPatience)
	defer cancel()
	var foreign bool
	err := s.write.DB.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema())
		AND NOT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name IN ('goose_db_version', 'migration_lock'))`).Scan(&foreign)
	if err == nil && foreign {
		return errors.New("its schema has the tables of another program: name another database in LICENSE_DATABASE_URL, or a schema by search_path")
	}
	if fault := connectFault(err); fault != nil {
		return fault
	}
	return storeError(err)
}

// connectFault says in one line why a server cannot be used, and what helps; nil when it can.
func connectFault(err error) error {
	if err == nil {
		return nil
	}
	var said *pgconn.PgError
	if errors.As(err, &said) {
		switch said.Code {
		case "28P01", "28000":
			return fmt.Errorf("the server refuses this user (%s): check user and password in LICENSE_DATABASE_URL", said.Message)
		case "3D000":
			return fmt.Errorf("%s: make it by CREATE DATABASE, or name another one", said.Message)
		case "42501":
			return fmt.Errorf("%s: give this user CREATE and USAGE on the schema", said.Message)
		}
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return fmt.Errorf("%w: the server cannot be reached: %s: check host, port and that it runs", failure.ErrUnavailable,
			strings.Join(strings.Fields(connect.Unwrap().Error()), " "))
	}
	return nil
}

// readyPostgres tries a write each time: a connection to a primary of before looks healthy until it
// is asked to write.
func (s *Store) readyPostgres(ctx context.Context) error {
	if !s.trying.TryLock() {
		if fault := s.write.fault.Load(); fault != nil {
			return *fault
		}
		return nil
	}
	defer s.trying.Unlock()
	return inTx(ctx, s.write, func(t *tx) error {
		t.wrote = true
		_, err := t.ExecContext(ctx, `UPDATE write_probe SET filler = CASE filler WHEN $1 THEN $2 ELSE $1 END WHERE id = 1`, "a", "b")
		if err != nil {
			return fmt.Errorf("try a write: %w", storeError(err))
		}
		return nil
	})
}
