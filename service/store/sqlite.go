package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pageflare/ci/service/failure"
)

// The settings travel in the data source name so that every pooled connection has them.
// busy_timeout comes first, for the ones after it may have to wait. synchronous=FULL: with WAL and
// less than that, a power cut could undo a revocation that was acknowledged.
const (
	pragmas      = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
	writePragmas = pragmas + "&_txlock=immediate"
	readPragmas  = pragmas + "&_pragma=query_only(1)"
)

func openSQLite(path string) (*Store, error) {
	if err := checkFile(path); err != nil {
		return nil, fmt.Errorf("database sqlite:%s: %w", path, err)
	}
	name, err := dataSource(path)
	if err != nil {
		return nil, fmt.Errorf("database sqlite:%s: %w", path, err)
	}
	write, err := sql.Open("sqlite", name+"?"+writePragmas)
	if err != nil {
		return nil, fmt.Errorf("database sqlite:%s: %w", path, err)
	}
	read, err := sql.Open("sqlite", name+"?"+readPragmas)
	if err != nil {
		return nil, fmt.Errorf("database sqlite:%s: %w", path, err)
	}
	// SQLite has one writer at a time: waiting in our queue is fair and quick, waiting for its lock
	// is neither
	write.SetMaxOpenConns(1)
	readers := max(4, runtime.GOMAXPROCS(0)*2)
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	file, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("database sqlite:%s: %w", path, err)
	}
	return &Store{read: &pool{DB: read}, write: &pool{DB: write}, path: path, file: file}, nil
}

// dataSource is the name of a file for the driver, to be followed by "?" and settings.
func dataSource(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: abs}).String(), nil
}

// checkFile makes the file, readable by its owner alone, or proves that it is there and can be
// written, so that the error names the file.
func checkFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	var fault *os.PathError
	switch {
	case errors.As(err, &fault) && errors.Is(err, fs.ErrPermission) && failure.NotOurs(path) != "":
		return fmt.Errorf("cannot be opened for writing: %w: %s", fault.Err, failure.NotOurs(path))
	case errors.As(err, &fault):
		return fmt.Errorf("cannot be opened for writing: %w: make its folder and give this user the right to write there, or set LICENSE_DATABASE_URL", fault.Err)
	case err != nil:
		return err
	}
	defer f.Close()
	head := make([]byte, 16)
	if n, _ := f.Read(head); n > 0 && string(head) != "SQLite format 3\x00" {
		return errors.New("is not a SQLite database: name another file in LICENSE_DATABASE_URL, or restore a backup")
	}
	return f.Close()
}

// ErrDamaged says that the file of the database is not whole.
var ErrDamaged = errors.New("the file is damaged: restore a backup (docs/service.md)")

// checkOurs refuses the database of another program, before anything in it is changed. One that is
// not there yet, or empty, passes.
func checkOurs(ctx context.Context, path string) (err error) {
	if info, err := os.Stat(path); err != nil || info.IsDir() || info.Size() == 0 {
		return nil // openSQLite makes the file, or says what is wrong with it
	}
	if err := checkFile(path); err != nil {
		return err
	}
	db, err := openToLook(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var foreign, half bool
	err = db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%')
		AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'goose_db_version'),
		EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'engine_move')`).Scan(&foreign, &half)
	switch {
	case err == nil && foreign:
		err = errors.New("is the database of another program: name another file in LICENSE_DATABASE_URL")
	case err == nil && half:
		err = ErrHalfMoved
	}
	return damaged(err)
}

// openToLook opens a database as it is: nothing in it can be changed, its mode of journaling
// included.
func openToLook(path string) (*sql.DB, error) {
	name, err := dataSource(path)
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite", name+"?mode=rw&_pragma=busy_timeout(5000)&_pragma=query_only(1)")
}

// damaged turns what SQLite says of a file that is not whole into ErrDamaged.
func damaged(err error) error {
	var e *sqlite.Error
	if !errors.Is(err, ErrDamaged) && errors.As(err, &e) &&
		(e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// Check reads the whole database that url names, also beside a running server, and changes nothing
// in it. ErrDamaged: it is not whole; fs.ErrNotExist: there is none. A PostgreSQL server sees to
// that by itself: nothing is read.
func Check(ctx context.Context, url string) error {
	if IsPostgres(url) {
		return nil
	}
	path := strings.TrimPrefix(url, "sqlite:")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("database %s: %w", url, err)
	}
	if err := checkFile(path); err != nil {
		return fmt.Errorf("database %s: %w", url, err)
	}
	db, err := openToLook(path)
	if err != nil {
		return err
	}
	if err := errors.Join(quickCheck(ctx, db), db.Close()); err != nil {
		return fmt.Errorf("database %s: %w", url, damaged(err))
	}
	return nil
}

// quickCheck reads every page. It looks at all but whether an index has what its table has.
// ErrDamaged.
func quickCheck(ctx context.Context, db *sql.DB) error {
	var said string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&said); err != nil {
		return damaged(err)
	}
	if said != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, strings.ReplaceAll(said, "\n", "; "))
	}
	return nil
}

// storeError turns the errors of the drivers into those of the rules.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		if fault := postgresFault(err); fault != nil {
			return fault
		}
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return failure.ErrConflict
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return failure.ErrNotFound
	}
	switch e.Code() & 0xff { // the primary code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY:
		return fmt.Errorf("%w: %w", failure.ErrUnavailable, err)
	}
	return damaged(err)
}

// isNull says whether a column that must have a value was to be set to NULL.
func isNull(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() == sqlite3.SQLITE_CONSTRAINT_NOTNULL
	}
	said, ok := errors.AsType[*pgconn.PgError](err)
	return ok && said.Code == "23502" // not_null_violation
}
