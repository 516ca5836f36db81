package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/postgrestest"
	"github.com/pageflare/ci/service/store/sqlitetest"
)

// full is a database of SQLite in which every table has rows: those that the service writes, and in
// all other tables rows that are made from how the table is made, with every nullable column once
// null. So a table or a column of a later migration is moved in these tests too.
func full(t *testing.T) (url string) {
	t.Helper()
	file := sqlitetest.File(t)
	s, err := store.Open(t.Context(), "sqlite:"+file)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	key := keyring.SealedKey{ID: "k_1", Algorithm: keyring.HS256, Sealed: []byte("sealed"), CreatedAt: now, SignsFrom: now}
	if err := s.AddKey(t.Context(), key, audit.Act{At: now, Action: audit.KeyAdded, Object: key.ID, Details: "{}"}); err != nil {
		t.Fatal(err)
	}
	id := backupAccount(t, s)
	for n := range 40 {
		r := backupToken(id, n)
		r.ExpiresAt = now.Add(time.Hour)
		if err := s.RecordToken(t.Context(), r, audit.Act{At: now, Action: "token.issue", Details: "{}"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db := openFile(t, file)
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), `PRAGMA synchronous = OFF`); err != nil {
		t.Fatal(err)
	}
	for _, table := range texts(t, db, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version'`) {
		if texts(t, db, `SELECT count(*) FROM `+table)[0] == "0" {
			fill(t, db, table, id)
		}
	}
	if err := db.Close(); err != nil { // its log is in the file then
		t.Fatal(err)
	}
	return "sqlite:" + file
}

// fill gives a table rows whose keys sort differently by bytes and by the rules of a language.
func fill(t *testing.T, db *sql.DB, table, account string) {
	t.Helper()
	columns := texts(t, db, `SELECT name || ' ' || upper(type) || ' ' || ("notnull" OR pk > 0) FROM pragma_table_info('`+table+`')`)
	for row, word := range []string{"a", "B", "é", "a b", "Z_9", "~"} {
		var names, values []string
		for i, c := range columns {
			name, kind, required := strings.Fields(c)[0], strings.Fields(c)[1], strings.HasSuffix(c, "1")
			value := fmt.Sprintf("'%s%d ☃'", word, i)
			switch {
			case name == "account_id":
				value = "'" + account + "'"
			case kind == "BYTEA":
				value = fmt.Sprintf("x'00ff%02x80'", row)
			case kind != "TEXT":
				value = fmt.Sprint(row*1_000_000_007 - 3)
			}
			if !required && row%2 == 1 {
				value = "NULL"
			}
			names, values = append(names, name), append(values, value)
		}
		statement := `INSERT INTO ` + table + ` (` + strings.Join(names, ", ") + `) VALUES (` + strings.Join(values, ", ") + `)`
		if _, err := db.ExecContext(t.Context(), statement); err != nil && row == 0 {
			t.Fatalf("%s: %v", statement, err) // a table that allows one row alone has it
		}
	}
}

// texts is the first column of a query.
func texts(t *testing.T, db *sql.DB, query string) (list []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			t.Fatal(err)
		}
		list = append(list, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func move(t *testing.T, from, to string) store.Moved {
	t.Helper()
	moved, err := store.Move{From: from, To: to}.Run(t.Context())
	if err != nil {
		t.Fatalf("Move = %v", err)
	}
	return moved
}

func TestAMoveBringsEveryTableThereAndBack(t *testing.T) {
	t.Parallel()
	from, to, back := full(t), postgrestest.Empty(t), "sqlite:"+filepath.Join(t.TempDir(), "back.db")
	before := contents(t, from)
	there := move(t, from, to)
	if after := contents(t, from); !bytes.Equal(before, after) {
		t.Error("the file of the source was changed")
	}
	var names []string
	for _, table := range there.Tables {
		names = append(names, table.Name)
		if table.Rows == 0 {
			t.Errorf("table %s has no row in this test: fill it", table.Name)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(tablesOfMigrations(t), names); diff != "" {
		t.Errorf("tables (-migrations +moved):\n%s", diff)
	}
	again := move(t, to, back)
	if diff := cmp.Diff(there.Tables, again.Tables); diff != "" {
		t.Errorf("tables (-there +back):\n%s", diff)
	}
	for _, url := range []string{to, back} {
		s := open(t, url)
		head, err := s.AuditHead(t.Context())
		if err != nil || head != there.Audit || head.Seq != 41 {
			t.Errorf("end of the audit log at %s = %v, %v, want %v", url, head, err, there.Audit)
		}
		if err := s.CreateAccount(t.Context(), newAccount("user_2"), account.APIToken{ID: "at_2", AccountID: "user_2", Hash: "h2", CreatedAt: time.Now()}); err != nil {
			t.Errorf("a write after the move = %v", err)
		}
	}
}

func newAccount(id string) account.Account {
	return account.Account{ID: id, Email: id + "@example.com", Tier: account.Pro, Features: []string{}, ValidUntil: time.Now(), Status: account.Active, CreatedAt: time.Now()}
}

// tablesOfMigrations is what the migrations make, by their text.
func tablesOfMigrations(t *testing.T) (names []string) {
	t.Helper()
	for _, text := range migrationTexts(t) {
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, "CREATE TABLE "):
				names = append(names, words[2])
			case strings.HasPrefix(line, "DROP TABLE "):
				names = slices.DeleteFunc(names, func(name string) bool { return name == strings.TrimSuffix(words[2], ";") })
			}
		}
	}
	slices.Sort(names)
	return names
}

func contents(t *testing.T, url string) []byte {
	t.Helper()
	b, err := os.ReadFile(strings.TrimPrefix(url, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// interrupt ends a move when it has done what was to do of a table.
func interrupt(t *testing.T, m store.Move, at func(store.MoveProgress) bool) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m.Progress = func(p store.MoveProgress) {
		if at(p) {
			cancel()
		}
	}
	_, err := m.InBatches(3).Run(ctx)
	return err
}

// A move may be cut off in any table, while it is copied and while it is compared. What is there then
// serves nobody, and the next run goes on.
func TestAMoveGoesOnAfterAnInterruption(t *testing.T) {
	t.Parallel()
	from, server := full(t), postgrestest.Empty(t)
	want := move(t, from, server)
	for engine, target := range targets(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			source := from
			if engine == "sqlite" {
				source = server
			}
			to, cuts, last, table := target(t), 0, int64(0), ""
			for done := false; !done; {
				err := interrupt(t, store.Move{From: source, To: to}, func(p store.MoveProgress) bool {
					cut := p.Done > last && p.Table != table && (p.Done <= p.Total/2 || last <= p.Total/2 && p.Done < p.Total)
					if cut {
						last, table = p.Done, p.Table
					}
					return cut
				})
				switch {
				case err == nil:
					done = true
				case !errors.Is(err, context.Canceled):
					t.Fatalf("Run = %v, want context.Canceled", err)
				default:
					cuts++
				}
				if cuts == 1 {
					if s, err := store.Open(t.Context(), to); !errors.Is(err, store.ErrHalfMoved) {
						t.Fatalf("Open(a part of a database) = %v, %v, want ErrHalfMoved", s, err)
					}
				}
			}
			if cuts < len(want.Tables) {
				t.Errorf("%d interruptions, want one in each of %d tables", cuts, len(want.Tables))
			}
			if _, err := (store.Move{From: source, To: to}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "there is nothing left to do") {
				t.Errorf("Run after the end = %v, want that there is nothing left to do", err)
			}
			back := map[string]string{"postgres": "sqlite:" + filepath.Join(t.TempDir(), "back.db"), "sqlite": postgrestest.Empty(t)}[engine]
			if diff := cmp.Diff(want.Tables, move(t, to, back).Tables); diff != "" {
				t.Errorf("tables after %d interruptions (-want +got):\n%s", cuts, diff)
			}
		})
	}
}

func targets(t *testing.T) map[string]func(*testing.T) string {
	t.Helper()
	return map[string]func(*testing.T) string{
		"postgres": func(t *testing.T) string { return postgrestest.Empty(t) },
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "target.db") },
	}
}

// What was done in the source between two runs is in the target, whether the audit log tells of it
// or not.
func TestAMoveFindsWhatTheSourceGotMeanwhile(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(t *testing.T, file string){
		"an act": func(t *testing.T, file string) {
			s := open(t, "sqlite:"+file)
			if err := s.CreateAccount(t.Context(), newAccount("user_0"), account.APIToken{ID: "at_0", AccountID: "user_0", Hash: "h0", CreatedAt: time.Now()}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"a poll of a login":   alter(`UPDATE device_logins SET polled_at = 7`),
		"a login that ended":  alter(`DELETE FROM device_logins WHERE id = (SELECT min(id) FROM device_logins)`),
		"a session that came": alter(`INSERT INTO sessions (id, hash, account_id, created_at, expires_at) VALUES ('0', 'x', 'user_1', 1, 2)`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := full(t), postgrestest.Empty(t)
			if err := interrupt(t, store.Move{From: from, To: to}, func(p store.MoveProgress) bool { return p.Done > p.Total/2 }); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			meanwhile(t, strings.TrimPrefix(from, "sqlite:"))
			moved := move(t, from, to)
			if moved.Resumed {
				t.Error("the move says that it went on, want that it began again")
			}
			if diff := cmp.Diff(move(t, from, postgrestest.Empty(t)).Tables, moved.Tables); diff != "" {
				t.Errorf("tables (-of a move without interruption +of this one):\n%s", diff)
			}
		})
	}
}

func alter(statement string) func(*testing.T, string) {
	return func(t *testing.T, file string) {
		db := openFile(t, file)
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNobodyWritesToTheSourceOfAMove(t *testing.T) {
	t.Parallel()
	lite, server := full(t), postgrestest.Empty(t)
	move(t, lite, server)
	for name, c := range map[string][2]string{
		"sqlite": {lite, postgrestest.Empty(t)}, "postgres": {server, "sqlite:" + filepath.Join(t.TempDir(), "target.db")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := open(t, c[0])
			if name == "sqlite" {
				service.Hasty(t)
			}
			var once error
			m := store.Move{From: c[0], To: c[1], Progress: func(p store.MoveProgress) {
				if p.Done == p.Total {
					once = service.AddPolled(t)
				}
			}}
			moved, err := m.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(once, failure.ErrUnavailable) {
				t.Errorf("a write during the move = %v, want ErrUnavailable", once)
			}
			if head, err := service.AuditHead(t.Context()); err != nil || head != moved.Audit {
				t.Errorf("end of the source = %v, %v, want %v", head, err, moved.Audit)
			}
		})
	}
}

func TestWhatCannotBeMovedIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, server := full(t), postgrestest.Empty(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	older, shop, text := file("older.db"), file("shop.db"), file("notes.txt")
	if err := errors.Join(os.WriteFile(older, contents(t, good), 0o600), os.WriteFile(text, []byte("some notes, no database at all"), 0o600)); err != nil {
		t.Fatal(err)
	}
	alter(`DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`)(t, older)
	alter(`CREATE TABLE orders (id INTEGER)`)(t, shop)
	newer := file("newer.db")
	if err := os.WriteFile(newer, contents(t, good), 0o600); err != nil {
		t.Fatal(err)
	}
	alter(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)(t, newer)
	used, foreign, half := postgrestest.Empty(t), postgrestest.Empty(t), postgrestest.Empty(t)
	move(t, good, used)
	exec(t, connect(t, foreign), `CREATE TABLE orders (id INTEGER)`)
	if err := interrupt(t, store.Move{From: full(t), To: half}, func(store.MoveProgress) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	locked := full(t)
	lock, err := openFile(t, strings.TrimPrefix(locked, "sqlite:")).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	closed := fmt.Sprintf("postgres://service@127.0.0.1:%d/license", postgrestest.FreePort(t))
	for _, c := range []struct{ name, from, to, want string }{
		{"no file", "sqlite:" + file("none.db"), server, "none.db: is not there: name the file of the database to move"},
		{"no database", "sqlite:" + text, server, "is not a SQLite database"},
		{"another program's database", "sqlite:" + shop, server, "is the database of another program: name another file in --from"},
		{"the same twice", good, good, "both are of the same engine: for SQLite use `backup` and `restore`, for PostgreSQL pg_dump"},
		{"two servers", used, server, "both are of the same engine"},
		{"an older version", "sqlite:" + older, server, "the database is from an older version of pageflare-license, and only `serve` and `migrate` bring it up to date"},
		{"a newer version", "sqlite:" + newer, server, "the database is from a newer version of pageflare-license"},
		{"nothing in it", sqlitetest.New(t), server, "nothing was done in it yet: there is nothing to move"},
		{"an empty server", server, "sqlite:" + file("target.db"), "has no tables of pageflare-license: there is nothing to move"},
		{"no server", good, closed, "the server cannot be reached"},
		{"a target that is in use", good, used, "has data of pageflare-license already: name an empty database"},
		{"a target of another program", good, foreign, "has the tables of another program: name another database in --to, or a schema by search_path"},
		{"a part of another database", good, half, "holds a part of another database, whose move has not finished"},
		{"a source that is a part", half, "sqlite:" + file("target.db"), "a move to this database has not finished"},
		{"a source that is written", locked, server, "cannot be locked against writers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := store.Move{From: c.from, To: c.to}.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Run = %v, want one line with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "LICENSE_DATABASE_URL") {
				t.Errorf("Run = %v, want --from and --to in the place of a setting that was not given", err)
			}
		})
	}
	wrong := errors.New("the wrong key")
	if _, err := (store.Move{From: good, To: server, Check: func([]keyring.SealedKey) error { return wrong }}).Run(t.Context()); !errors.Is(err, wrong) {
		t.Errorf("Run with the wrong key = %v, want that error", err)
	}
	if store.HasTables(t.Context(), server) {
		t.Error("the target got tables, want nothing touched")
	}
	if _, err := os.Stat(file("target.db")); err == nil {
		t.Error("the target was made, want nothing touched")
	}
}

// SQLite holds any bytes as a text; PostgreSQL does not, and the error says where.
func TestATextThatPostgreSQLCannotHoldIsNamed(t *testing.T) {
	t.Parallel()
	from := full(t)
	db := openFile(t, strings.TrimPrefix(from, "sqlite:"))
	if _, err := db.ExecContext(t.Context(), `UPDATE machines SET label = 'a' || char(0) || 'b'`); err != nil {
		t.Fatal(err)
	}
	_, err := store.Move{From: from, To: postgrestest.Empty(t)}.Run(t.Context())
	const want = "copy table machines: a text is not one that PostgreSQL can hold (invalid byte sequence for encoding \"UTF8\": 0x00; COPY machines, line 1, column label): change it in the source"
	if err == nil || err.Error() != want {
		t.Errorf("Run = %v, want %s", err, want)
	}
}

// A server may sort texts by the rules of a language; rows are compared in the order of their bytes.
func TestTheOrderOfTheServerDoesNotMatterToAMove(t *testing.T) {
	t.Parallel()
	from, to := full(t), postgrestest.New(t)
	exec(t, connect(t, to), `ALTER TABLE machines ALTER COLUMN id TYPE TEXT COLLATE "und-x-icu"`,
		`ALTER TABLE audit_repositories ALTER COLUMN repository_id TYPE TEXT COLLATE "und-x-icu"`)
	if diff := cmp.Diff(move(t, from, postgrestest.Empty(t)).Tables, move(t, from, to).Tables); diff != "" {
		t.Errorf("tables (-of another server +of this one):\n%s", diff)
	}
}
