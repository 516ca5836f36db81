package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
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
	before := trips.Load()
	var asking sync.WaitGroup
	for i := range 60 {
		asking.Go(func() {
			id := []string{first, second, unreadable, "user_none"}[i%4]
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
			default:
				if !errors.Is(err, failure.ErrNotFound) {
					t.Errorf("an account that is not there: %v", err)
				}
			}
		})
	}
	asking.Wait()
	// a second reader may open a connection of its own
	if got := trips.Load() - before; got > 10 {
		t.Errorf("60 accounts took %d round trips, want 10 at most", got)
	}
}

// Who leaves does not wait for the database, and the others do not suffer by it.
func TestWhoLeavesDoesNotWaitForAnAccount(t *testing.T) {
	t.Parallel()
	s := open(t, postgrestest.New(t))
	id := backupAccount(t, s)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	for range 3 {
		if _, err := s.Account(ctx, id); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who has left: %v", err)
		}
		if got, err := s.Account(t.Context(), id); err != nil || got.ID != id {
			t.Errorf("account %s = %+v, %v", id, got, err)
		}
	}
}
