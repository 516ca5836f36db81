package store_test

import (
	"fmt"
	"testing"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/store/sqlitetest"
)

// Prepared statements are kept permanently, by their text: a text with a value in it would be one
// more for each value.
func TestStatementsAreKeptOnceHoweverManyValuesTheyMeet(t *testing.T) {
	t.Parallel()
	s := open(t, sqlitetest.New(t))
	account := backupAccount(t, s)
	round := func(n int) {
		id := backupToken(account, n).ID
		if err := s.RecordToken(t.Context(), backupToken(account, n), audit.Act{Action: "token.issue", Details: "{}"}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.AccountStatus(t.Context(), account, string(id), id.Family()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AuditLines(t.Context(), audit.Query{Before: int64(n), Account: fmt.Sprint("user_", n), Limit: n}); err != nil {
			t.Fatal(err)
		}
	}
	round(1)
	round(2) // what the first transaction had to parse is prepared after it
	kept := s.Prepared()
	if kept == 0 {
		t.Fatal("no statement is kept")
	}
	for n := 3; n < 20; n++ {
		round(n)
	}
	if got := s.Prepared(); got != kept {
		t.Errorf("%d statements are kept after 17 more rounds, want %d as after the first ones", got, kept)
	}
}
