package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/postgrestest"
)

// Accounts that are asked for at the same time are read together; each caller gets its own, or its
// own error. On one core nearly all ask before the first statement is sent, so this test runs beside
// no other.
func TestAccountsAreReadTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	via, trips := countTrips(t, postgrestest.New(t))
	s := open(t, via)
	first, second, unreadable := backupAccount(t, s), "user_2", "user_3"
	for i, id := range []string{second, unreadable} {
		a := account.Account{ID: id, Email: id + "@example.com", Tier: account.Pro, Status: account.Active}
		if err := s.CreateAccount(t.Context(), a, account.APIToken{ID: fmt.Sprint("at_of_", i), AccountID: id, Hash: id}); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, connect(t, via), `UPDATE accounts SET features = '{' WHERE id = '`+unreadable+`'`)
	if _, err := s.Account(t.Context(), first); err != nil { // opens the connection
		t.Fatal(err)
	}
	const refused = "not\x00text"
	ask := func(ids ...string) (took int64) {
		before := trips.Load()
		var asking sync.WaitGroup
		for i := range 60 {
			asking.Go(func() { wantAccount(t, s, ids[i%len(ids)], first, second, unreadable) })
		}
		asking.Wait()
		return trips.Load() - before
	}
	// a second reader may open a connection of its own
	if got := ask(first, second, unreadable, "user_none"); got > 10 {
		t.Errorf("60 accounts took %d round trips, want 10 at most", got)
	}
	if got := ask(first, second, unreadable, "user_none", refused); got > 70 {
		t.Errorf("60 accounts, of which some are refused, took %d round trips, want 70 at most", got)
	}
}

// wantAccount asks for an account and fails unless the caller gets what is true of it.
func wantAccount(t *testing.T, s *store.Store, id, first, second, unreadable string) {
	got, err := s.Account(t.Context(), id)
	switch id {
	case first, second:
		if err != nil || got.ID != id || got.Email == "" {
			t.Errorf("account %s = %+v, %v", id, got, err)
		}
	case unreadable:
		if err == nil || !strings.Contains(err.Error(), "features") || errors.Is(err, failure.ErrNotFound) {
			t.Errorf("the account that cannot be read: %v", err)
		}
	case "user_none":
		if !errors.Is(err, failure.ErrNotFound) {
			t.Errorf("an account that is not there: %v", err)
		}
	default:
		if err == nil {
			t.Error("there is an account whose id PostgreSQL refuses")
		}
	}
}

// A database that hangs is not asked by one caller after the other: all who wait learn at once that
// nobody can tell. Who leaves does not wait for that.
func TestAccountsOfADatabaseThatHangs(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	s := open(t, url)
	id := backupAccount(t, s)
	holder := connect(t, url)
	exec(t, holder, `BEGIN`, `LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE`)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.Account(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has left: %v", err)
	}
	s.ReadAccountsFor(200 * time.Millisecond)
	var asking sync.WaitGroup
	for range 300 { // more than two statements have
		asking.Go(func() {
			if _, err := s.Account(t.Context(), id); !errors.Is(err, failure.ErrUnavailable) {
				t.Errorf("Account = %v, want that nobody can tell", err)
			}
		})
	}
	asking.Wait()
	exec(t, holder, `ROLLBACK`)
	s.ReadAccountsFor(time.Minute)
	if got, err := s.Account(t.Context(), id); err != nil || got.ID != id {
		t.Errorf("account %s = %+v, %v", id, got, err)
	}
}
