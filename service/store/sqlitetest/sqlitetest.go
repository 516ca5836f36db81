// Package sqlitetest makes SQLite databases for tests, as postgrestest does on PostgreSQL.
package sqlitetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pageflare/ci/service/store"
)

// template is the file of a database with the tables of the service, and nothing in them.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "pageflare-sqlite-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "license.db")
	s, err := store.Open(context.Background(), "sqlite:"+file)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(file + "-wal"); err == nil {
		return nil, errors.New("the database has a WAL after its end, so its file is not all of it")
	}
	return os.ReadFile(file)
})

// New makes a database with the tables of the service, and nothing in them, in a folder of its own,
// and returns its URL. It is a copy: the migrations run once in a test process. What is tested of
// them themselves, or of a first start, opens a file that is not there.
func New(t testing.TB) (url string) {
	t.Helper()
	return "sqlite:" + File(t)
}

// File is New for who needs the path of the file.
func File(t testing.TB) (path string) {
	t.Helper()
	text, err := template()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "license.db")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
