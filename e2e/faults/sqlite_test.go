//go:build e2e

package faults_test

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver, to lock the file as another program does
)

// Another process locks the file for longer than a write waits: all learn that the database is not
// available, what only reads goes on, and writes do when the lock is gone.
func TestTheFileIsLockedByAnotherProcess(t *testing.T) {
	t.Parallel()
	in := install(t, sqliteFile(t))
	r := in.serve()
	token, _ := r.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(in.database, "sqlite:")+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	must(t, err)
	defer db.Close()
	lock, err := db.Begin()
	must(t, err)
	var callers sync.WaitGroup
	for range 300 { // more than share a transaction: the others wait behind the one that waits for the lock
		callers.Go(func() {
			a, err := r.send(t.Context(), "POST", issuePath, in.apiToken, nil, nil)
			if err != nil || a.status != http.StatusServiceUnavailable || a.took > 12*time.Second {
				t.Errorf("issue on a locked file = %d %s after %s, %v, want 503 within 12 s", a.status, a.body, a.took, err)
			}
		})
	}
	callers.Wait()
	r.want(http.StatusOK, "POST", validatePath, token)
	r.wantSaid("level=WARN", "msg=unavailable", "a write took longer than")
	r.wantSaid("database is locked") // as whoever was first in the row learned it
	must(t, lock.Rollback())
	t.Logf("the lock is gone: issues again after %s", r.recovers(in.apiToken).Round(time.Millisecond))
	in.wantWhole()
}

// A disk without room: what was acknowledged stays, what cannot be stored is not acknowledged, and
// with room again the service goes on.
func TestTheDiskFills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	smallDisk(t, dir, "2m")
	install(t, "sqlite:"+filepath.Join(dir, "license.db")).outlastsAFullDisk(filepath.Join(dir, "filler"))
}

// smallDisk makes a folder a file system of its own.
func smallDisk(t *testing.T, dir, size string) {
	t.Helper()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk cannot be mounted: %v; CI runs as root, who can", err) //check:allow root alone can mount
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) }) // a server may still run on it
}

// outlastsAFullDisk fills the disk of the database by a file, and wants what was acknowledged before
// to be there when the file is gone.
func (in *installation) outlastsAFullDisk(filler string) {
	t := in.t
	t.Helper()
	r := in.serve()
	token, id := r.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)
	fill(t, filler)
	there := []string{id}
	until(t, "the disk is full", func() bool {
		a := r.issue(in.apiToken)
		if a.status == http.StatusOK {
			_, id := a.Token(t)
			there = append(there, id)
			return false
		}
		if a.status != http.StatusServiceUnavailable {
			t.Fatalf("issue on a full disk = %d %s, want 503", a.status, a.body)
		}
		return true
	})
	r.want(http.StatusOK, "POST", validatePath, token)
	r.want(http.StatusServiceUnavailable, "GET", "/readyz", "")
	r.wantSaid("level=WARN", "msg=unavailable")
	must(t, os.Remove(filler))
	t.Logf("room again: issues after %s; %d tokens were acknowledged while it filled", r.recovers(in.apiToken).Round(time.Millisecond), len(there))
	records := in.records(r)
	for _, id := range there {
		if records[id].ID == "" {
			t.Errorf("the token %s, acknowledged on a disk that was about to fill, is not on record", id)
		}
	}
	r.want(http.StatusOK, "GET", "/readyz", "")
	in.wantWhole()
}

// fill writes a file until the disk has no room.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	for size := 64 << 10; size >= 512; {
		if _, err := f.WriteString(strings.Repeat("x", size)); err != nil {
			size /= 2
		}
	}
}
