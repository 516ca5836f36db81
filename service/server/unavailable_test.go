package server_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
)

// fullStore is a database whose disk has no room.
type fullStore struct {
	license.Store
	fault error
}

func (f fullStore) RecordToken(context.Context, license.TokenRecord, audit.Act) error {
	return f.fault
}

func (f fullStore) Ready(context.Context) error { return f.fault }

// fullDisk is what the driver says of a disk without room.
func fullDisk(t *testing.T) error {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "full.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`PRAGMA max_page_count = 1; CREATE TABLE a (x); CREATE TABLE b (x)`); err != nil {
		return err
	}
	t.Fatal("there was room")
	return nil
}

func TestTheLogSaysWhyTheDatabaseIsNotAvailable(t *testing.T) {
	t.Parallel()
	full := fmt.Errorf("%w: %w", failure.ErrUnavailable, fullDisk(t))
	const want = `{"code":"unavailable","error":"Service Unavailable","message":"the database is not available: try again later"}`
	for path, method := range map[string]string{"/_api/license/issue": "POST", "/readyz": "GET"} {
		var log syncBuffer
		s := servicetest.Start(t, servicetest.Options{Log: &log, Between: func(s *parts.Stores) {
			f := fullStore{s.Licenses, full}
			s.Licenses, s.Ready = f, f.Ready
		}})
		s.MayFail()
		_, key := s.Account(t, "a@example.com")
		if got := call(t, s, method, path, "", bearer(key)...); got.status != 503 || got.body != want {
			t.Errorf("%s on a full disk = %d %s, want 503 %s", path, got.status, got.body, want)
		}
		if !strings.Contains(log.String(), `"reason":"`) || !strings.Contains(log.String(), "database or disk is full") {
			t.Errorf("the log does not say why %s was answered 503: %s", path, log.String())
		}
	}
}
