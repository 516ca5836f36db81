package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store"
)

// Each token is recorded with a line in the audit log: a copy that has more of one than of the
// other is not of one moment.
func TestABackupIsOfOneMomentWhileOthersWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	url := "sqlite:" + filepath.Join(dir, "license.db")
	s := open(t, url)
	account := backupAccount(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	written, ended := make(chan int, 1), make(chan error, 1)
	go func() {
		defer close(written)
		for n := 1; ; n++ {
			if err := s.RecordToken(ctx, backupToken(account, n), audit.Act{Action: "token.issue", Details: "{}"}); err != nil {
				ended <- err
				return
			}
			select {
			case written <- n:
			default:
			}
		}
	}()
	last := 0
	for i := range 5 {
		atLeast := <-written
		to := filepath.Join(dir, fmt.Sprintf("copy%d.db", i))
		made, err := store.Backup(t.Context(), url, to, false)
		if err != nil {
			t.Fatal(err)
		}
		tokens := tokensAndLines(t, to, account, made)
		if tokens < atLeast || tokens < last {
			t.Errorf("copy %d has %d tokens, want the %d that were acknowledged before", i, tokens, max(atLeast, last))
		}
		last = tokens
	}
	cancel()
	for range written { // until the writer has ended
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the writer beside the backups ended with %v, want only its own end", err)
	}
}

// tokensAndLines proves that the copy is whole and returns how many tokens it has.
func tokensAndLines(t *testing.T, file, account string, made store.Copy) int {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() != made.Bytes {
		t.Errorf("the copy has mode %v and %d bytes, want -rw------- and %d", info.Mode(), info.Size(), made.Bytes)
	}
	c := open(t, "sqlite:"+file)
	tokens, err := c.Tokens(t.Context(), license.TokenQuery{Account: account, Limit: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	head, err := c.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if head != made.Audit || head.Seq != int64(len(tokens)) {
		t.Errorf("the copy has %d tokens, and its audit log ends at %v; Backup said %v", len(tokens), head, made.Audit)
	}
	return len(tokens)
}

// A backup is made before an upgrade by the new version: it must find what is there, and leave it.
func TestABackupDoesNotBringTheDatabaseUpToDate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "license.db")
	s := open(t, "sqlite:"+file)
	backupAccount(t, s)
	oldVersion := openFile(t, file)
	if _, err := oldVersion.Exec(`DELETE FROM goose_db_version WHERE version_id > 1`); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Backup(t.Context(), "sqlite:"+file, filepath.Join(dir, "copy.db"), false); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, filepath.Join(dir, "copy.db")} {
		var got int
		if err := openFile(t, f).QueryRow(`SELECT max(version_id) FROM goose_db_version`).Scan(&got); err != nil || got != 1 {
			t.Errorf("%s is at version %d, %v after the backup, want 1 as before", filepath.Base(f), got, err)
		}
	}
}

func TestADamagedDatabaseGivesNoBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "license.db")
	s, err := store.Open(t.Context(), "sqlite:"+file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), os.Truncate(file, 40960)); err != nil {
		t.Fatal(err)
	}
	if made, err := store.Backup(t.Context(), "sqlite:"+file, filepath.Join(dir, "copy.db"), false); err == nil {
		t.Errorf("Backup of a database that was cut short = %+v, want an error", made)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("the folder has %v after a backup that failed, want the database alone", left)
	}
}

func backupAccount(t *testing.T, s *store.Store) string {
	t.Helper()
	a := account.Account{ID: "user_1", Email: "a@example.com", Tier: account.Pro, Features: []string{}, ValidUntil: time.Now(), Status: account.Active, CreatedAt: time.Now()}
	if err := s.CreateAccount(t.Context(), a, account.APIToken{ID: "at_1", AccountID: a.ID, Hash: "h", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return a.ID
}

// openFile opens a database as any other program would.
func openFile(t *testing.T, file string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func backupToken(account string, n int) license.TokenRecord {
	return license.TokenRecord{ID: opaque.TokenID(fmt.Sprintf("%040d", n)), AccountID: account, KeyID: "k_1", ExpiresAt: time.Now()}
}
