package server_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/server"
	"github.com/pageflare/ci/service/store"
)

// fullStore is a database whose disk has no room.
type fullStore struct {
	license.Store
	fault error
}

func (f fullStore) RecordToken(context.Context, license.TokenRecord, license.Act) error {
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
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "license.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	master, err := license.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l, err := license.New(t.Context(), license.Config{
		Store: fullStore{db, fmt.Errorf("%w: %w", license.ErrUnavailable, fullDisk(t))}, MasterKey: master, Issuer: "http://127.0.0.1",
		TokenTTL: time.Hour, Now: time.Now, Rand: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := l.CreateAccount(t.Context(), license.NewAccount{Email: "a@example.com", Tier: license.Pro, ValidUntil: time.Now().AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"code":"unavailable","error":"Service Unavailable","message":"the database is not available: try again later"}`
	for path, method := range map[string]string{"/_api/license/issue": "POST", "/readyz": "GET"} {
		var log syncBuffer
		s, err := server.New(server.Config{License: l, Now: time.Now, Log: slog.New(slog.NewJSONHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		req.Header.Set("Authorization", "Bearer "+key.Reveal())
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		if w.Code != 503 || w.Body.String() != want {
			t.Errorf("%s on a full disk = %d %s, want 503 %s", path, w.Code, w.Body, want)
		}
		if !strings.Contains(log.String(), `"reason":"`) || !strings.Contains(log.String(), "database or disk is full") {
			t.Errorf("the log does not say why %s was answered 503: %s", path, log.String())
		}
	}
}
