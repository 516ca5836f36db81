package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/postgrestest"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/upkeep"
)

// A database may have tokens of before there was a ledger, each with a row of its own.
func TestOldTokensWithRowsArePruned(t *testing.T) {
	t.Parallel()
	file := sqlitetest.File(t)
	s := open(t, "sqlite:"+file)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := account.Account{ID: "user_1", Email: "a@example.com", Tier: account.Pro, Features: []string{}, ValidUntil: now, Status: account.Active, CreatedAt: now}
	if err := s.CreateAccount(t.Context(), a, account.APIToken{ID: "at_1", AccountID: a.ID, Hash: "h", CreatedAt: now}); err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	ids := make([]opaque.TokenID, 4)
	for i, days := range []time.Duration{0, 1, 2, 9} { // each lives for five days
		at, family, by := now.Add(days*day), "", "at_1"
		if i > 0 {
			family, by = ids[0].Family(), ""
		}
		var err error
		if ids[i], err = opaque.NewTokenID(at, family, noise{}); err != nil {
			t.Fatal(err)
		}
		_, err = openFile(t, file).ExecContext(t.Context(), `INSERT INTO tokens (id, account_id, parent_id, issued_by, key_id, issued_at, expires_at, recorded_at)
			VALUES ($1, $2, '', $3, 'k_1', $4, $5, $4)`, string(ids[i]), a.ID, by, at.UnixMilli(), at.Add(5*day).UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
	}
	held, err := s.ClaimUpkeep(t.Context(), upkeep.Lease{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	p := upkeep.Pruning{Now: now.Add(10 * day), Before: now.Add(3 * day)}
	if _, err := s.Prune(t.Context(), upkeep.Lease{Owner: "another"}, p); err == nil {
		t.Error("another one pruned")
	}
	for more := true; more; {
		if more, err = s.Prune(t.Context(), held, p); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range ids {
		if _, err := s.Token(t.Context(), id); (err == nil) != (i == 3) {
			t.Errorf("Token of day %d = %v, want those of the first days pruned", i, err)
		}
	}
	// the family is known to be issued by the API token, though the row that said so is gone
	families, err := s.RevokeAPIToken(t.Context(), "at_1", audit.Act{}, &audit.Act{At: p.Now})
	if err != nil || families != 1 {
		t.Errorf("RevokeAPIToken = %d, %v, want one family", families, err)
	}
}

func TestExpiredLeasesArePruned(t *testing.T) {
	t.Parallel()
	for engine, url := range map[string]func(t *testing.T) string{
		"SQLite":     func(t *testing.T) string { return sqlitetest.New(t) },
		"PostgreSQL": func(t *testing.T) string { return postgrestest.New(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := url(t)
			s := open(t, url)
			now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			owner := backupAccount(t, s)
			for _, kid := range []string{"k_1", "k_2"} {
				k := keyring.SealedKey{ID: kid, Algorithm: keyring.EdDSA, Sealed: []byte("x"), CreatedAt: now, SignsFrom: now}
				if err := s.AddKey(t.Context(), k, audit.Act{At: now, Action: audit.KeyAdded, Details: "{}"}); err != nil {
					t.Fatal(err)
				}
			}
			const before, slack, after = 600, 50, 3 // more than are removed at once
			for i := range before + slack + after {
				ends := now.Add(-time.Hour)
				if i >= before { // it may be good yet where the clock is behind
					ends = now.Add(-time.Minute)
				}
				if i >= before+slack {
					ends = now.Add(time.Minute)
				}
				kid := []string{"k_1", "k_2"}[i%2]
				l := license.LeaseRecord{ID: fmt.Sprintf("ls_%d", i), TokenID: opaque.TokenID(fmt.Sprint(i)), KeyID: kid, AccountID: owner, IssuedAt: now, ExpiresAt: ends}
				if err := s.RecordLease(t.Context(), l, audit.Act{At: now, Action: audit.LeaseIssued, Details: "{}"}); err != nil {
					t.Fatal(err)
				}
			}
			held, err := s.ClaimUpkeep(t.Context(), upkeep.Lease{}, "test")
			if err != nil {
				t.Fatal(err)
			}
			p := upkeep.Pruning{Now: now, Before: now.AddDate(-1, 0, 0)}
			if _, err := s.Prune(t.Context(), upkeep.Lease{Owner: "another"}, p); !errors.Is(err, upkeep.ErrLost) {
				t.Errorf("Prune by another one = %v, want ErrLost", err)
			}
			for more := true; more; {
				if more, err = s.Prune(t.Context(), held, p); err != nil {
					t.Fatal(err)
				}
			}
			var left int
			if err := openAny(t, url).QueryRowContext(t.Context(), `SELECT count(*) FROM leases`).Scan(&left); err != nil || left != slack+after {
				t.Errorf("leases = %d, %v, want %d", left, err, slack+after)
			}
		})
	}
}
