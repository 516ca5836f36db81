package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/store/storetest"
)

func TestSQLiteKeepsThePromisesOfAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, sqlitetest.New(t)) })
}

func open(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOpenNamesWhatIsWrongWithTheDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte("some notes, no database at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ url, want string }{
		"another scheme":       {"mysql://root:secret@db/x", `database url "mysql://[hidden]@db/x" is neither sqlite:PATH nor postgres://…`},
		"no path":              {"sqlite:", "is neither sqlite:PATH nor"},
		"no such folder":       {"sqlite:" + dir + "/none/license.db", "cannot be opened for writing: no such file or directory: make its folder"},
		"a folder":             {"sqlite:" + dir, "is a directory"},
		"a file that is no db": {"sqlite:" + text, "is not a SQLite database: name another file"},
	} {
		_, err := store.Open(t.Context(), c.url)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%s) = %v, want one line with %q", name, err, c.want)
		}
	}
	cut := filepath.Join(dir, "cut.db")
	whole, err := store.Open(t.Context(), "sqlite:"+cut)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(whole.Close(), os.Truncate(cut, 20000)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), "sqlite:"+cut); err == nil || !strings.Contains(err.Error(), "database sqlite:"+cut+": the file is damaged: restore a backup") {
		t.Errorf("Open(a file cut short) = %v, want the file, the reason and the remedy", err)
	}
	if b, _ := os.ReadFile(text); !strings.HasPrefix(string(b), "some notes") {
		t.Error("Open wrote into a file that is no database")
	}
}

// Anyone who names the wrong file finds it as it was, its mode of journaling included.
func TestTheDatabaseOfAnotherProgramIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "shop.db")
	shop := openFile(t, file)
	if _, err := shop.Exec(`CREATE TABLE orders (id INTEGER)`); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const want = "is the database of another program: name another file in LICENSE_DATABASE_URL"
	if _, err := store.Open(t.Context(), "sqlite:"+file); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Open = %v, want %q", err, want)
	}
	if _, err := store.Backup(t.Context(), "sqlite:"+file, filepath.Join(dir, "copy.db"), false); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Backup = %v, want %q", err, want)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed (%v)", err)
	}
}

func TestDatabaseOfANewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	file := sqlitetest.File(t)
	open(t, "sqlite:"+file)
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), "sqlite:"+file); !errors.Is(err, store.ErrNewer) {
		t.Errorf("Open(newer database) = %v, want ErrNewer", err)
	}
}

func TestSeveralProcessesStartOnOneNewDatabase(t *testing.T) {
	t.Parallel()
	url := "sqlite:" + filepath.Join(t.TempDir(), "license.db")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			s, err := store.Open(t.Context(), url)
			if err == nil {
				err = s.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestPathsAreTakenLiterally(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a b?mode=memory#%41.db")
	open(t, "sqlite:"+file)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("database file has mode %v and %d bytes, want -rw------- and some", info.Mode(), info.Size())
	}
}

func TestEveryConnectionHasTheSettings(t *testing.T) {
	t.Parallel()
	s := open(t, sqlitetest.New(t))
	for name, c := range map[string]struct {
		pragma string
		want   int
	}{"durable": {"synchronous", 2}, "references": {"foreign_keys", 1}, "patience": {"busy_timeout", 5000}} {
		for pool, got := range s.Pragma(t, c.pragma) {
			if got != c.want {
				t.Errorf("%s: PRAGMA %s of the %s pool = %d, want %d", name, c.pragma, pool, got, c.want)
			}
		}
	}
}

// A second Store on the same file stands for the command line beside a running server.
func TestWhatOneProcessWritesAnotherSees(t *testing.T) {
	t.Parallel()
	url := sqlitetest.New(t)
	server, command := open(t, url), open(t, url)
	now := time.Now().UTC().Truncate(time.Millisecond)
	a := account.Account{ID: "user_1", Email: "a@example.com", Tier: account.Pro, Features: []string{}, ValidUntil: now, Status: account.Active, CreatedAt: now}
	if err := command.CreateAccount(t.Context(), a, account.APIToken{ID: "at_1", AccountID: a.ID, Hash: "h", CreatedAt: now}); err != nil {
		t.Fatal(err)
	}
	if err := command.Revoke(t.Context(), license.Revocation{Subject: "x", AccountID: a.ID, At: now}, audit.Act{}); err != nil {
		t.Fatal(err)
	}
	if _, revoked, err := server.AccountStatus(t.Context(), a.ID, "x"); err != nil || !revoked {
		t.Errorf("AccountStatus = %t, %v right after the other process revoked, want true", revoked, err)
	}
}

func TestWritesAfterCloseAreRefused(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), sqlitetest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.RecordToken(t.Context(), license.TokenRecord{}, audit.Act{}); err == nil {
		t.Error("RecordToken after Close = nil, want an error")
	}
}

// A database that is locked by somebody is no reason to keep callers waiting in a row: all learn it
// together.
func TestALockedDatabaseIsUnavailableForAllAtOnce(t *testing.T) {
	t.Parallel()
	file := sqlitetest.File(t)
	s := open(t, "sqlite:"+file)
	other, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	lock, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = s.RecordToken(context.Background(), license.TokenRecord{ID: "x", AccountID: "user_none"}, audit.Act{})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if !errors.Is(err, failure.ErrUnavailable) {
			t.Errorf("RecordToken on a locked database = %v, want ErrUnavailable", err)
		}
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.RecordToken(t.Context(), license.TokenRecord{ID: "x", AccountID: "user_none"}, audit.Act{}); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("RecordToken after the lock = %v, want ErrNotFound: it works again", err)
	}
}

func TestCheckReadsTheWholeFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "license.db")
	url := "sqlite:" + file
	if err := store.Check(t.Context(), url); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Check(no file) = %v, want fs.ErrNotExist", err)
	}
	s := open(t, url)
	if err := store.Check(t.Context(), url); err != nil { // beside a server
		t.Errorf("Check(whole) = %v, want nil", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, file, 16384, bytes.Repeat([]byte{0x55}, 40960-16384))
	if _, err := os.Stat(file + "-wal"); err == nil {
		t.Fatal("there is a WAL, which would hide what is spoiled")
	}
	if err := store.Check(t.Context(), url); !errors.Is(err, store.ErrDamaged) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Check(spoiled) = %v, want ErrDamaged in one line", err)
	}
}

// spoil writes over a part of a file.
func spoil(t *testing.T, file string, at int64, noise []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(noise, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A process that starts knows the tokens of the last windows, and reads no further back.
func TestTheNewestTokensAreRememberedAfterAStart(t *testing.T) {
	t.Parallel()
	url := sqlitetest.New(t)
	before := open(t, url)
	now := time.Now().UTC().Truncate(time.Millisecond)
	a := account.Account{ID: "user_1", Email: "a@example.com", Tier: account.Pro, Features: []string{}, ValidUntil: now.Add(time.Hour), Status: account.Active, CreatedAt: now}
	if err := before.CreateAccount(t.Context(), a, account.APIToken{ID: "at_1", AccountID: a.ID, Hash: "h", CreatedAt: now}); err != nil {
		t.Fatal(err)
	}
	record := func(id opaque.TokenID, at time.Time) {
		r := license.TokenRecord{ID: id, AccountID: a.ID, KeyID: "k_1", IssuedAt: at, ExpiresAt: at.Add(time.Hour), Recorded: at}
		if err := before.RecordToken(t.Context(), r, audit.Act{}); err != nil {
			t.Fatal(err)
		}
	}
	record("old", now.Add(-time.Hour))
	for i := range 70 { // more blocks than are read at a time
		record(opaque.TokenID(fmt.Sprint(i)), now.Add(time.Duration(i)*time.Millisecond))
	}
	after := open(t, url)
	for _, id := range []opaque.TokenID{"0", "69"} {
		if _, err := after.RecordedAt(t.Context(), id); err != nil {
			t.Errorf("RecordedAt(%s) = %v, want it remembered", id, err)
		}
	}
	if _, err := after.RecordedAt(t.Context(), "old"); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("RecordedAt(an hour old) = %v, want ErrNotFound", err)
	}
}
