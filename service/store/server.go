package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is what a PostgreSQL server says of itself, and what is known of the way to it. What of
// that is well, doctor says.
type Server struct {
	Version        int           // such as 150018: the major version times 10,000, and the minor one
	VersionText    string        // such as 15.18
	Standby        bool          // it follows another server
	ReadOnly       bool          // it takes no writes: a standby does not, nor one that is set so
	Off            []string      // settings of durability that are off: a crash can undo changes
	Ahead          time.Duration // of its clock, against ours; less than zero: it is behind
	MaxConnections int           // for users who are not its administrators
	Connections    int           // that are open
	Pooled         bool          // a pooler is between us and the server
	Plain          bool          // the connection is not encrypted, and leaves this machine
	Long           []Session     // of this database, in a transaction for longer than was asked for
	Hidden         int           // sessions of others, of which this user may not see since when they are in one
	Prepared       []Prepared    // of this database, prepared for longer ago than was asked for
	Slots          []string      // replication slots that hold dead rows or the log for nobody, in order of name
}

// Prepared is a transaction that waits for the second half of a two-phase commit.
type Prepared struct {
	Name, User string
	Begun      time.Time
}

// Session is a session of a PostgreSQL server.
type Session struct {
	PID     int
	User    string
	Program string // as it calls itself
	State   string
	Begun   time.Time // its transaction, by the clock of the server
}

// notifyPatience is how long a notification to ourselves may take. A server sends it with the
// answer.
const notifyPatience = time.Second

// AskServer asks the PostgreSQL server of a database about itself, and changes nothing. A standby
// answers too. Transactions that are open for longer than long are named as far as the user may see
// them: those of others only with the role pg_read_all_stats; without it, Hidden counts the sessions.
func AskServer(ctx context.Context, url string, long time.Duration) (s Server, err error) {
	c, err := postgresConfig(url)
	if err != nil {
		return Server{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*connectPatience)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil { // of several hosts none is a primary
		c.ValidateConnect = nil
		conn, err = pgx.ConnectConfig(ctx, c)
	}
	if fault := connectFault(err); fault != nil {
		return Server{}, fault
	}
	if err != nil {
		return Server{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // it has no more to say
	if err := errors.Join(s.askState(ctx, conn), s.askClock(ctx, conn), s.askLong(ctx, conn, long), s.askHolders(ctx, conn, long)); err != nil {
		return Server{}, fmt.Errorf("ask the server about itself: %w", err)
	}
	s.Pooled = isPooled(ctx, conn)
	_, encrypted := conn.PgConn().Conn().(*tls.Conn)
	s.Plain = !encrypted && !isLoopback(conn.PgConn().Conn().RemoteAddr())
	return s, nil
}

func (s *Server) askState(ctx context.Context, conn *pgx.Conn) error {
	return conn.QueryRow(ctx, `SELECT CAST(current_setting('server_version_num') AS INTEGER),
		split_part(current_setting('server_version'), ' ', 1),
		pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
		ARRAY(SELECT CAST(name AS TEXT) FROM pg_settings
			WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name),
		(SELECT CAST(sum(CASE name WHEN 'max_connections' THEN 1 ELSE -1 END * CAST(setting AS INTEGER)) AS INTEGER)
			FROM pg_settings
			WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')),
		(SELECT CAST(sum(numbackends) AS INTEGER) FROM pg_stat_database)`).
		Scan(&s.Version, &s.VersionText, &s.Standby, &s.ReadOnly, &s.Off, &s.MaxConnections, &s.Connections)
}

// askClock holds the clock of the server against the middle of the time that the question took.
func (s *Server) askClock(ctx context.Context, conn *pgx.Conn) error {
	var there int64
	before := time.Now()
	err := conn.QueryRow(ctx, `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`).Scan(&there)
	here := before.Add(time.Since(before) / 2)
	s.Ahead = fromMillis(there).Sub(here).Round(time.Millisecond)
	return err
}

func (s *Server) askLong(ctx context.Context, conn *pgx.Conn, long time.Duration) error {
	rows, err := conn.Query(ctx, `SELECT pid, coalesce(CAST(usename AS TEXT), ''), coalesce(application_name, ''),
		coalesce(state, ''), CAST(extract(epoch FROM xact_start) * 1000 AS BIGINT) FROM pg_stat_activity
		WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
		AND extract(epoch FROM clock_timestamp() - xact_start) > $1 ORDER BY xact_start LIMIT 10`, long.Seconds())
	if err != nil {
		return err
	}
	s.Long, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (one Session, err error) {
		var begun int64
		err = row.Scan(&one.PID, &one.User, &one.Program, &one.State, &begun)
		one.Begun = fromMillis(begun)
		return one, err
	})
	return err
}

// askHolders asks for what else keeps VACUUM from removing dead rows: what cannot be seen, prepared
// transactions, and slots whose standby or subscriber is gone.
func (s *Server) askHolders(ctx context.Context, conn *pgx.Conn, long time.Duration) error {
	// of a session of somebody else all is hidden but who it is; one that may be seen has a state
	err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND usename <> current_user AND backend_type IS NULL`).Scan(&s.Hidden)
	if err != nil {
		return err
	}
	rows, err := conn.Query(ctx, `SELECT gid, owner, CAST(extract(epoch FROM prepared) * 1000 AS BIGINT)
		FROM pg_prepared_xacts WHERE database = current_database()
		AND extract(epoch FROM clock_timestamp() - prepared) > $1 ORDER BY prepared LIMIT 10`, long.Seconds())
	if err != nil {
		return err
	}
	s.Prepared, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (one Prepared, err error) {
		var begun int64
		err = row.Scan(&one.Name, &one.User, &begun)
		one.Begun = fromMillis(begun)
		return one, err
	})
	if err != nil {
		return err
	}
	return conn.QueryRow(ctx, `SELECT ARRAY(SELECT CAST(slot_name AS TEXT) FROM pg_replication_slots
		WHERE NOT active AND restart_lsn IS NOT NULL AND NOT temporary ORDER BY slot_name)`).Scan(&s.Slots)
}

// isPooled says whether something between us and the server gives our statements to sessions of its
// choice. Each of these is enough: the session has another number than the one that we were told
// when we connected, or than it had before; a notification to ourselves does not come back.
func isPooled(ctx context.Context, conn *pgx.Conn) bool {
	for range 2 {
		var pid uint32
		if err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err == nil && pid != conn.PgConn().PID() {
			return true
		}
	}
	if _, err := conn.Exec(ctx, "LISTEN pageflare_license_doctor; NOTIFY pageflare_license_doctor"); err != nil {
		return false // a relative of PostgreSQL that has no notifications
	}
	ctx, cancel := context.WithTimeout(ctx, notifyPatience)
	defer cancel()
	_, err := conn.WaitForNotification(ctx)
	return err != nil
}
