package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	neturl "net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/postgrestest"
	"github.com/pageflare/ci/service/store/storetest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(migrating); url != "" {
		os.Exit(migrateAsChild(url))
	}
	os.Exit(postgrestest.Run(m))
}

func TestPostgresKeepsThePromisesOfAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, postgrestest.New(t)) })
}

// connect is a connection of another program.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// withMigration is our migrations and one more, the newest.
func withMigration(t *testing.T, statement string) fs.FS {
	t.Helper()
	files := fstest.MapFS{"migrations/99000_slow.sql": {Data: []byte("-- +goose Up\n" + statement + ";\n")}}
	names, err := fs.Glob(store.Migrations(), "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(store.Migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(files, fstest.MapFS{name: {Data: text}})
	}
	return files
}

// Three replicas start at once on a new database, and a migration takes longer than anything else
// may: one runs it, once, and the others wait for it.
func TestPostgresReplicasThatStartAtOnceMigrateOnce(t *testing.T) {
	t.Parallel()
	url := postgrestest.Empty(t)
	files := withMigration(t, "CREATE TABLE slow AS SELECT pg_sleep(8) IS NULL AS done")
	errs := make([]error, 3)
	var started sync.WaitGroup
	for i := range errs {
		started.Go(func() {
			s, err := store.OpenMigrating(t.Context(), url, files)
			if err == nil {
				err = errors.Join(s.Ready(t.Context()), s.Close())
			}
			errs[i] = err
		})
	}
	started.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	var doubled int
	err := connect(t, url).QueryRow(t.Context(), `SELECT count(*) FROM (SELECT version_id FROM goose_db_version GROUP BY version_id HAVING count(*) > 1) AS d`).Scan(&doubled)
	if err != nil || doubled != 0 {
		t.Errorf("migrations that ran twice = %d, %v, want none", doubled, err)
	}
}

// A start with nothing to do waits for no other: it neither takes the lock nor makes its table.
func TestPostgresStartWithNothingToDoTakesNoLock(t *testing.T) {
	t.Parallel()
	url := postgrestest.Empty(t)
	if err := open(t, url).Close(); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, url)
	exec(t, conn, `DROP TABLE migration_lock`)
	var before, after string
	const rows = `SELECT CAST(array_agg(CAST(v AS TEXT) || v.xmin || v.ctid ORDER BY id) AS TEXT) FROM goose_db_version v`
	if err := conn.QueryRow(t.Context(), rows).Scan(&before); err != nil {
		t.Fatal(err)
	}
	open(t, url)
	var made bool
	if err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_tables WHERE tablename = 'migration_lock')`).Scan(&made); err != nil || made {
		t.Errorf("the table of the lock was made: %t, %v, want no lock where nothing is pending", made, err)
	}
	if err := conn.QueryRow(t.Context(), rows).Scan(&after); err != nil || before != after {
		t.Errorf("rows of versions before and after = %s and %s, %v, want the same", before, after, err)
	}
}

// During an upgrade a replica of before goes on, and none starts any more.
func TestPostgresOfANewerVersionIsRefusedAtStartOnly(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	running := open(t, url)
	exec(t, connect(t, url), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, TRUE)`)
	if _, err := store.Open(t.Context(), url); !errors.Is(err, store.ErrNewer) {
		t.Errorf("Open = %v, want ErrNewer", err)
	}
	backupAccount(t, running)
	if err := running.Ready(t.Context()); err != nil {
		t.Errorf("Ready of the replica that was running = %v, want nil", err)
	}
}

func TestPostgresTellsAboutItself(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	s, err := store.AskServer(t.Context(), url, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if s.Version < 140000 || !strings.HasPrefix(s.VersionText, "1") || s.Standby || s.ReadOnly || s.Plain || len(s.Long) > 0 {
		t.Errorf("AskServer = %+v, want the primary of a version from 14 on, on this machine, without long transactions", s)
	}
	if s.MaxConnections < 90 || s.Connections < 1 || s.Ahead.Abs() > 5*time.Second {
		t.Errorf("AskServer = %+v, want its connections and its clock", s)
	}
	if want := postgrestest.Pooled(); s.Pooled != want {
		t.Errorf("Pooled = %t, want %t", s.Pooled, want)
	}
	reader := connect(t, url)
	exec(t, reader, `SET application_name = 'report'`, `BEGIN`, `SELECT 1`)
	if s, err = store.AskServer(t.Context(), url, -time.Hour); err != nil || len(s.Long) != 1 || s.Long[0].PID == 0 ||
		s.Long[0].User == "" || s.Long[0].State != "idle in transaction" || time.Since(s.Long[0].Begun).Abs() > time.Hour {
		t.Errorf("AskServer beside an open transaction = %+v, %v, want it named", s, err)
	}
	if s.Hidden > 0 || len(s.Prepared) > 0 {
		t.Errorf("AskServer of a user who may see all = %+v, want nothing hidden or prepared", s)
	}
}

// A user without pg_read_all_stats does not see since when others are in a transaction: that is
// said, and not that there is none.
func TestPostgresHidesTheTransactionsOfOthers(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	exec(t, connect(t, url), `BEGIN`, `SELECT 1`)
	name := fmt.Sprintf("modest_%d", time.Now().UnixNano())
	administrator := connect(t, url)
	exec(t, administrator, `CREATE ROLE `+name+` LOGIN`)
	defer exec(t, administrator, `DROP ROLE `+name)
	modest, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	modest.User = neturl.User(name)
	s, err := store.AskServer(t.Context(), modest.String(), -time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if postgrestest.Pooled() { // whose pooler is the same user to the server, whoever asks
		if s.Hidden > 0 || len(s.Long) == 0 {
			t.Errorf("AskServer by a pooler that may see others = %+v, want the transaction", s)
		}
	} else if s.Hidden == 0 || len(s.Long) > 0 {
		t.Errorf("AskServer of a user who may not see others = %+v, want that something is hidden", s)
	}
}

func TestPostgresNamesWhatHoldsDeadRows(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	conn := connect(t, url)
	name := fmt.Sprintf("gone_%d", time.Now().UnixNano())
	exec(t, conn, `SELECT pg_create_physical_replication_slot('`+name+`', true)`)
	defer exec(t, conn, `SELECT pg_drop_replication_slot('`+name+`')`)
	exec(t, conn, `BEGIN`, `SELECT txid_current()`, `PREPARE TRANSACTION '`+name+`'`)
	defer exec(t, conn, `ROLLBACK PREPARED '`+name+`'`)
	s, err := store.AskServer(t.Context(), url, -time.Hour)
	if err != nil || !slices.Contains(s.Slots, name) || len(s.Prepared) != 1 || s.Prepared[0].Name != name ||
		s.Prepared[0].User == "" || time.Since(s.Prepared[0].Begun).Abs() > time.Hour {
		t.Errorf("AskServer = %+v, %v, want slot and transaction %s", s, err, name)
	}
	if s, err = store.AskServer(t.Context(), url, time.Hour); err != nil || len(s.Prepared) > 0 {
		t.Errorf("AskServer = %+v, %v, want none prepared an hour ago", s, err)
	}
}
