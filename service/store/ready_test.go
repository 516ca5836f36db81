package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
)

// wantNotReady fails unless the store says in the words of the driver why it cannot write.
func wantNotReady(t *testing.T, s *store.Store, words string) {
	t.Helper()
	if err := s.Ready(t.Context()); !errors.Is(err, failure.ErrUnavailable) || !strings.Contains(err.Error(), words) {
		t.Errorf("Ready = %v, want ErrUnavailable with %q", err, words)
	}
}

func TestAStoreIsNotReadyWhileItsWritesFail(t *testing.T) {
	t.Parallel()
	file := sqlitetest.File(t)
	s := open(t, "sqlite:"+file)
	s.Hasty(t)
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready of a new store = %v, want nil", err)
	}
	account := backupAccount(t, s)
	lock, err := openFile(t, file+"?_txlock=immediate").Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready before a write failed = %v, want nil: it tries nothing without a reason", err)
	}
	err = s.RecordToken(t.Context(), backupToken(account, 1), audit.Act{Action: "token.issue", Details: "{}"})
	if !errors.Is(err, failure.ErrUnavailable) || !strings.Contains(err.Error(), "database is locked") {
		t.Errorf("RecordToken on a locked database = %v, want ErrUnavailable in the words of the driver", err)
	}
	wantNotReady(t, s, "database is locked")
	wantNotReady(t, s, "database is locked")
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready without the lock = %v, want nil though nobody wrote", err)
	}
}

// A disk without room: what needs no room still works, and is no proof of health.
func TestAFullDatabaseIsNotReadyUntilAWriteIsGood(t *testing.T) {
	t.Parallel()
	s := open(t, sqlitetest.New(t))
	account := backupAccount(t, s)
	act := audit.Act{Action: "token.issue", Details: fmt.Sprintf(`{"filler":%q}`, strings.Repeat("x", 16<<10))}
	if err := s.RecordToken(t.Context(), backupToken(account, 1), act); err != nil {
		t.Fatal(err)
	}
	s.Full(t, true)
	err := s.RecordToken(t.Context(), backupToken(account, 2), act)
	if !errors.Is(err, failure.ErrUnavailable) || !strings.Contains(err.Error(), "database or disk is full") {
		t.Errorf("RecordToken on a full disk = %v, want ErrUnavailable in the words of the driver", err)
	}
	if err := s.RecordToken(t.Context(), backupToken(account, 1), act); err != nil { // it is there already: nothing is written
		t.Errorf("RecordToken of what is there = %v, want nil", err)
	}
	if s.WriteFault() == nil {
		t.Error("a write that wrote nothing counts as a good one")
	}
	for range 3 {
		wantNotReady(t, s, "database or disk is full")
	}
	s.Full(t, false)
	for range 2 {
		if err := s.Ready(t.Context()); err != nil {
			t.Errorf("Ready with room again = %v, want nil though nobody wrote", err)
		}
	}
	if err := s.RecordToken(t.Context(), backupToken(account, 3), act); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteFault(); err != nil {
		t.Errorf("after a good write the fault is %v, want none", err)
	}
}

func TestADamagedFileStaysNotReady(t *testing.T) {
	t.Parallel()
	file := sqlitetest.File(t)
	first := open(t, "sqlite:"+file)
	account := backupAccount(t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	var page int64
	if err := openFile(t, file).QueryRow(`SELECT rootpage FROM sqlite_schema WHERE name = 'ledger'`).Scan(&page); err != nil {
		t.Fatal(err)
	}
	spoil(t, file, (page-1)*4096, bytes.Repeat([]byte{0x55}, 4096))
	s := open(t, "sqlite:"+file)
	for range 2 {
		if err := s.RecordToken(t.Context(), backupToken(account, 1), audit.Act{}); err == nil {
			t.Fatal("a token was recorded in a damaged table")
		}
		if err := s.Revoke(t.Context(), license.Revocation{Subject: "x", AccountID: account}, audit.Act{Details: "{}"}); err != nil {
			t.Fatal(err) // its table is whole
		}
		if err := s.Ready(t.Context()); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("Ready of a damaged database = %v, want ErrDamaged", err)
		}
	}
}

// What is written to a file that was taken away or exchanged is lost with it.
func TestReadyNoticesThatTheFileWasExchanged(t *testing.T) {
	t.Parallel()
	file := sqlitetest.File(t)
	s, err := store.Open(t.Context(), "sqlite:"+file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Ready(t.Context()); err != nil {
		t.Fatalf("Ready = %v", err)
	}
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	wantNotReady(t, s, "restart the service") // it was taken away
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantNotReady(t, s, "restart the service") // another took its place
	if err := os.Rename(file+".old", file); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready when it is back = %v", err)
	}
}
