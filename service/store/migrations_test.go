package store_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	osexec "os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"modernc.org/sqlite"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/store"
)

// migrationFiles is our migrations by their names.
func migrationFiles(t testing.TB) map[string]string {
	t.Helper()
	names, err := fs.Glob(store.Migrations(), "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range names {
		text, err := fs.ReadFile(store.Migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[path.Base(name)] = string(text)
	}
	return files
}

// migrationTexts is our migrations in their order.
func migrationTexts(t *testing.T) (texts []string) {
	t.Helper()
	files := migrationFiles(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		texts = append(texts, files[name])
	}
	return texts
}

// A migration that was released is in databases that we do not see: it never changes, and none comes
// before it (docs/decisions/0015-upgrades.md).
func TestReleasedMigrationsAreAsTheyWere(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile(filepath.Join("migrations", "released.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	if err := asReleased(string(list), migrationFiles(t)); err != nil {
		t.Error(err)
	}
}

// asReleased compares the migrations with the list of those that were released.
func asReleased(list string, files map[string]string) error {
	var faults []error
	released, newest := map[string]bool{}, ""
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		hash, name, _ := strings.Cut(line, "  ")
		released[name], newest = true, max(newest, name)
		switch text, there := files[name]; {
		case !there:
			faults = append(faults, fmt.Errorf("%s was released and is gone: put it back", name))
		case fmt.Sprintf("%x", sha256.Sum256([]byte(text))) != hash:
			faults = append(faults, fmt.Errorf("%s was released and is not what it was: put it back, and add a migration", name))
		}
	}
	for name := range files {
		if !released[name] && name < newest {
			faults = append(faults, fmt.Errorf("%s comes before %s, which was released: give it a later number", name, newest))
		}
	}
	return errors.Join(faults...)
}

func TestAChangeOfAReleasedMigrationIsFound(t *testing.T) {
	t.Parallel()
	const list = "# a note\n" +
		"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  00001_a.sql\n" +
		"3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d  00003_b.sql\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"as they were":    {map[string]string{"00001_a.sql": "a", "00003_b.sql": "b", "00004_c.sql": "c"}, ""},
		"changed":         {map[string]string{"00001_a.sql": "A", "00003_b.sql": "b"}, "00001_a.sql was released and is not what it was"},
		"gone":            {map[string]string{"00003_b.sql": "b"}, "00001_a.sql was released and is gone"},
		"renamed":         {map[string]string{"00002_a.sql": "a", "00003_b.sql": "b"}, "00001_a.sql was released and is gone"},
		"one slipped in":  {map[string]string{"00001_a.sql": "a", "00002_x.sql": "x", "00003_b.sql": "b"}, "00002_x.sql comes before 00003_b.sql"},
		"nothing is left": {map[string]string{}, "00003_b.sql was released and is gone"},
	} {
		if err := asReleased(list, c.files); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A migration only adds: what a binary of before reads and writes stays valid beside it.
func TestAMigrationOnlyAdds(t *testing.T) {
	t.Parallel()
	for name, text := range migrationFiles(t) {
		for _, fault := range notAdding(text) {
			t.Errorf("%s: %s: an older binary that runs beside would fail; see docs/decisions/0015-upgrades.md", name, fault)
		}
	}
	for statement, want := range map[string]bool{
		"CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY)":                      true,
		"ALTER TABLE accounts ADD COLUMN note TEXT":                          true,
		"ALTER TABLE accounts ADD COLUMN n BIGINT NOT NULL DEFAULT 0":        true,
		"CREATE INDEX accounts_by_tier ON accounts (tier)":                   true,
		"CREATE TABLE t (a BIGINT);\nCREATE UNIQUE INDEX u ON t (a)":         true,
		"DROP TABLE accounts":                                                false,
		"ALTER TABLE accounts DROP COLUMN tier":                              false,
		"ALTER TABLE accounts RENAME COLUMN tier TO plan":                    false,
		"alter table accounts alter column tier set not null":                false,
		"ALTER TABLE accounts ADD COLUMN n BIGINT NOT NULL":                  false,
		"ALTER TABLE accounts ADD COLUMN boss TEXT REFERENCES accounts (id)": false,
		"CREATE UNIQUE INDEX accounts_of_tier ON accounts (tier)":            false,
		"CREATE TRIGGER t AFTER INSERT ON accounts BEGIN SELECT 1; END":      false,
		"DELETE FROM accounts":                                               false,
	} {
		if got := len(notAdding("-- +goose Up\n"+statement+";\n")) == 0; got != want {
			t.Errorf("%s: adds = %t, want %t", statement, got, want)
		}
	}
}

var (
	comment     = regexp.MustCompile(`(?m)--.*$`)
	newTable    = regexp.MustCompile(`^CREATE TABLE (\w+) `)
	newIndex    = regexp.MustCompile(`^CREATE INDEX \w+ ON `)
	uniqueIndex = regexp.MustCompile(`^CREATE UNIQUE INDEX \w+ ON (\w+) `)
	newColumn   = regexp.MustCompile(`^ALTER TABLE \w+ ADD COLUMN \w+ \w+(( NOT NULL)? DEFAULT \S+)?$`)
	newRow      = regexp.MustCompile(`^(INSERT INTO|UPDATE) `)
	oldIndex    = regexp.MustCompile(`^DROP INDEX \w+$`) // an older binary is slower without it, and right
)

// notAdding is the statements of a migration that do more than add.
func notAdding(text string) (faults []string) {
	made := map[string]bool{}
	for statement := range strings.SplitSeq(comment.ReplaceAllString(text, ""), ";") {
		statement = strings.Join(strings.Fields(statement), " ")
		table, unique := newTable.FindStringSubmatch(statement), uniqueIndex.FindStringSubmatch(statement)
		switch {
		case statement == "", newIndex.MatchString(statement), newColumn.MatchString(statement),
			newRow.MatchString(statement), oldIndex.MatchString(statement):
		case table != nil:
			made[table[1]] = true
		case unique != nil && made[unique[1]]:
		default:
			faults = append(faults, statement)
		}
	}
	return faults
}

// expand is what a migration of the next version may do: old binaries know nothing of it.
const expand = `ALTER TABLE accounts ADD COLUMN note TEXT;
ALTER TABLE audit_log ADD COLUMN weight BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_head ADD COLUMN epoch BIGINT NOT NULL DEFAULT 1;
ALTER TABLE ledger ADD COLUMN codec TEXT NOT NULL DEFAULT 'a';
ALTER TABLE signing_keys ADD COLUMN note TEXT NOT NULL DEFAULT '';
CREATE INDEX accounts_by_note ON accounts (note);
CREATE TABLE additions (id TEXT NOT NULL PRIMARY KEY)`

// During an upgrade old and new binaries work on one database: the old one was there first and goes
// on, and each sees what the other writes, at once and in one chain.
func TestOldAndNewBinariesWorkOnOneDatabase(t *testing.T) {
	t.Parallel()
	if faults := notAdding(expand); len(faults) > 0 {
		t.Fatalf("%q do not only add", faults)
	}
	for engine, target := range targets(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := target(t)
			older := open(t, url)
			chain(t, older)
			owner := backupAccount(t, older)
			record(t, older, owner, 0)
			newer, err := store.OpenMigrating(t.Context(), url, withMigration(t, expand))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = newer.Close() })
			var writers sync.WaitGroup
			for i, s := range []*store.Store{older, newer} {
				writers.Go(func() {
					for n := range 20 {
						record(t, s, owner, 100*(i+1)+n)
					}
					id := fmt.Sprintf("user_by_%d", i)
					if err := s.CreateAccount(t.Context(), newAccount(id), account.APIToken{ID: "at" + id, AccountID: id, Hash: id, CreatedAt: time.Now()}); err != nil {
						t.Errorf("CreateAccount = %v", err)
					}
				})
			}
			writers.Wait()
			revoke := license.Revocation{Subject: "gone", AccountID: owner, At: time.Now()}
			if err := newer.Revoke(t.Context(), revoke, audit.Act{At: time.Now(), Details: "{}"}); err != nil {
				t.Fatal(err)
			}
			for name, s := range map[string]*store.Store{"the older": older, "the newer": newer} {
				tokens, err := s.Tokens(t.Context(), license.TokenQuery{Account: owner, Limit: 1000})
				if err != nil || len(tokens) != 41 {
					t.Errorf("%s sees %d tokens, %v, want 41", name, len(tokens), err)
				}
				for _, id := range []string{"user_by_0", "user_by_1"} {
					if _, err := s.Account(t.Context(), id); err != nil {
						t.Errorf("%s: Account(%s) = %v", name, id, err)
					}
				}
				if _, revoked, err := s.AccountStatus(t.Context(), owner, "gone"); err != nil || !revoked {
					t.Errorf("%s: revoked = %t, %v, want what the newer did", name, revoked, err)
				}
				wantChain(t, s)
			}
		})
	}
}

func record(t *testing.T, s *store.Store, owner string, n int) {
	t.Helper()
	if err := s.RecordToken(t.Context(), backupToken(owner, n), audit.Act{At: time.Now(), Action: "token.issue", Details: "{}"}); err != nil {
		t.Errorf("RecordToken = %v", err)
	}
}

// chain is the audit log of a database, chained by the key of the acts that tests make: an empty one.
func chain(t *testing.T, s *store.Store) *audit.Log {
	t.Helper()
	log, err := audit.NewLog(t.Context(), s, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// wantChain verifies the whole log.
func wantChain(t *testing.T, s *store.Store) {
	t.Helper()
	if head, err := chain(t, s).Verify(t.Context(), audit.Check{}); err != nil || head.Seq == 0 {
		t.Errorf("Verify = %v, %v, want an intact chain", head, err)
	}
}

// A starter that is killed leaves migrations that are done, one that is done in part, and more to
// do. The next start does what is left.
func TestTheNextStartGoesOnAfterAKilledMigration(t *testing.T) {
	t.Parallel()
	for engine, target := range targets(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := target(t)
			s := open(t, url)
			chain(t, s)
			owner := backupAccount(t, s)
			killMigration(t, engine, url)
			record(t, s, owner, 1) // the replica that was there before goes on
			resumed, err := store.OpenMigrating(t.Context(), url, threeMore("SELECT 1"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = resumed.Close() })
			record(t, resumed, owner, 2)
			db := openAny(t, url)
			want := []string{"99001 1", "99002 1", "99003 1"}
			if got := texts(t, db, `SELECT version_id || ' ' || count(*) FROM goose_db_version WHERE version_id > 99000 GROUP BY version_id ORDER BY version_id`); !slices.Equal(got, want) {
				t.Errorf("versions and how often each is noted = %q, want %q", got, want)
			}
			if got := texts(t, db, `SELECT n FROM first_step UNION ALL SELECT n FROM second_step UNION ALL SELECT n FROM third_step`); !slices.Equal(got, []string{"1", "2", "3"}) {
				t.Errorf("rows of the three migrations = %q, want each once", got)
			}
			wantChain(t, resumed)
		})
	}
}

// threeMore is our migrations and three of the next version; wait is in the middle of the second.
func threeMore(wait string) fs.FS {
	files := fstest.MapFS{}
	names, err := fs.Glob(store.Migrations(), "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is right
	}
	for _, name := range names {
		text, err := fs.ReadFile(store.Migrations(), name)
		if err != nil {
			panic(err) // it is in the program
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	for i, name := range []string{"first_step", "second_step", "third_step"} {
		text := fmt.Sprintf("CREATE TABLE %s (n BIGINT NOT NULL);\nINSERT INTO %s (n) VALUES (%d);\n", name, name, i+1)
		if i == 1 {
			text += wait + ";\nALTER TABLE accounts ADD COLUMN note TEXT;\n"
		}
		files[fmt.Sprintf("migrations/9900%d_%s.sql", i+1, name)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)}
	}
	return files
}

// migrating is set for a process that brings a database up to date, and ends in the middle of it.
const migrating = "STORE_TEST_MIGRATE"

// Both say on standard output that they are in the middle of a migration: SQLite by a function that
// waits for ever, PostgreSQL by the statement before one that sleeps.
func migrateAsChild(url string) int {
	wait := "SELECT pg_sleep(600)"
	if !store.IsPostgres(url) {
		wait = "SELECT wait_for_ever()"
		sqlite.MustRegisterScalarFunction("wait_for_ever", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
			fmt.Println("inside")
			select {}
		})
	}
	_, err := store.OpenMigrating(context.Background(), url, threeMore(wait))
	fmt.Println("ended:", err)
	return 1
}

// killMigration kills a process in the middle of a migration.
func killMigration(t *testing.T, engine, url string) {
	t.Helper()
	child := osexec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), migrating+"="+url)
	said, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if engine == "sqlite" {
		if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "inside\n" {
			t.Errorf("the child says %q, %v, want that it is inside", line, err)
		}
	} else {
		inside := false
		server := connect(t, url)
		for !inside {
			err := server.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep(600)%' AND state = 'active')`).Scan(&inside)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if engine == "postgres" {
		// what time does: the server finds out that the client is gone, and the lease of the lock ends
		exec(t, connect(t, url), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep(600)%'`,
			`UPDATE migration_lock SET lease_expires_at = now() - interval '1 second'`)
	}
}

// openAny opens a database of either engine as any other program would.
func openAny(t *testing.T, url string) *sql.DB {
	t.Helper()
	if !store.IsPostgres(url) {
		return openFile(t, strings.TrimPrefix(url, "sqlite:"))
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
