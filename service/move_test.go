package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// Ctrl-C ends a move with a line that says what to do; the next run completes it.
func TestAMoveThatIsInterruptedSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	b := newBox(t)
	b.used()
	blocker, watcher := connectServer(t, url), connectServer(t, url)
	hold, err := blocker.Begin(t.Context())
	must(t, err)
	_, err = hold.Exec(t.Context(), `LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE`)
	must(t, err)

	args := []string{"migrate-engine", "--from", "sqlite:pageflare-license.db", "--to", url}
	cmd := b.command(args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	must(t, cmd.Start())
	for waiting := false; !waiting; { // a query at a time, until the move stands at the lock
		must(t, watcher.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE NOT l.granted AND d.datname = current_database())`).Scan(&waiting))
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait() // its status is looked at below
	const want = "error: migrate-engine: interrupted: the source is as it was, and the target not usable yet; " +
		"run the same command again, and it goes on where this one ended\n"
	if cmd.ProcessState.ExitCode() != exitFailure || out.Len() > 0 || log.String() != want {
		t.Errorf("exit %d, %q on stdout and %q on stderr, want exit 1, nothing, and %q", cmd.ProcessState.ExitCode(), &out, &log, want)
	}
	must(t, hold.Rollback(t.Context()))
	if said := b.ok(args...); !strings.Contains(said, "all rows of all tables are the same on both sides") {
		t.Errorf("the next run says %s", said)
	}
	b.ok("account", "list", "--database-url", url, "--key-file", "pageflare-license.db.key")
}

// connectServer is a connection of another program.
func connectServer(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.ParseConfig(url)
	must(t, err)
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}
