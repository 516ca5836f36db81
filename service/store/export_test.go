package store

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/store/ledger"
	"github.com/pageflare/ci/service/webhook/out"
)

// Pragma returns the value of a pragma on a connection of each pool.
func (s *Store) Pragma(t *testing.T, name string) map[string]int {
	t.Helper()
	out := map[string]int{}
	var n int
	if err := s.read.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	out["read"] = n
	if err := s.write.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	out["write"] = n
	return out
}

// PlanOfRevokeIssuedBy is how SQLite finds what an API token issued.
func (s *Store) PlanOfRevokeIssuedBy(t *testing.T) string {
	t.Helper()
	return s.plan(t, revokeRows, "at_1", 0, 1)
}

// PlanOfPoliciesFor is how SQLite finds the policies of an identity.
func (s *Store) PlanOfPoliciesFor(t *testing.T) (plan []string) {
	t.Helper()
	rows, err := s.write.DB.QueryContext(t.Context(), `EXPLAIN QUERY PLAN SELECT `+policyColumns+` FROM policies`+policiesFor, "7", "1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var step string
		if err := rows.Scan(new(any), new(any), new(any), &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

// QueryPlans is how SQLite finds the rows of each statement that reads was prepared for.
func (s *Store) QueryPlans(t *testing.T) map[string]string {
	t.Helper()
	plans := map[string]string{}
	s.read.prepared.Range(func(text, _ any) bool {
		args := make([]any, strings.Count(text.(string), "$"))
		for i := range args {
			args[i] = 1
		}
		plans[text.(string)] = s.plan(t, text.(string), args...)
		return true
	})
	return plans
}

// plan is the first line of how SQLite runs a statement.
func (s *Store) plan(t *testing.T, text string, args ...any) (plan string) {
	t.Helper()
	err := s.write.DB.QueryRowContext(t.Context(), `EXPLAIN QUERY PLAN `+text, args...).Scan(new(any), new(any), new(any), &plan)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// Hasty makes writes give up at once when another process has the lock.
func (s *Store) Hasty(t *testing.T) {
	t.Helper()
	if _, err := s.write.ExecContext(t.Context(), "PRAGMA busy_timeout = 0"); err != nil {
		t.Fatal(err)
	}
}

// Full lets the file grow no more, as a disk without room does; or again, when full is false.
func (s *Store) Full(t *testing.T, full bool) {
	t.Helper()
	pages := 1 // the size that it has is the least
	if !full {
		pages = 1 << 30
	}
	if _, err := s.write.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
		t.Fatal(err)
	}
}

// Prepared returns how many statements are kept.
func (s *Store) Prepared() (n int) {
	for _, p := range []*pool{s.read, s.write} {
		p.prepared.Range(func(any, any) bool { n++; return true })
	}
	return n
}

// WriteFault is how the newest write failed; nil when it went well.
func (s *Store) WriteFault() error {
	if fault := s.write.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

// OpenMigrating is Open with the migrations in the folder migrations of files instead of ours.
func OpenMigrating(ctx context.Context, url string, files fs.FS) (*Store, error) {
	return open(ctx, url, true, files)
}

// Migrations are ours.
func Migrations() fs.FS { return migrations }

// ExecMode is how statements are sent to the database of a URL.
func ExecMode(t *testing.T, url string) pgx.QueryExecMode {
	t.Helper()
	c, err := postgresConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return c.DefaultQueryExecMode
}

// InBatches is the move with n rows to a batch.
func (m Move) InBatches(n int) Move { m.batch = n; return m }

// AddPolled is a write of the service that no line of the audit log tells of.
func (s *Store) AddPolled(t *testing.T) error {
	t.Helper()
	return inTx(t.Context(), s.write, func(t *tx) error {
		t.wrote = true
		_, err := t.ExecContext(context.Background(), `UPDATE device_logins SET polled_at = 9`)
		return storeError(err)
	})
}

// AllocsOfTelling is how many allocations it costs a transaction to find out who hears of n refreshed
// tokens. It has nothing to run a statement on.
func (s *Store) AllocsOfTelling(ctx context.Context, t *testing.T, n int) float64 {
	t.Helper()
	known := s.write.heard.Load()
	if known == nil {
		t.Fatal("no transaction has read who hears of tokens")
	}
	x := &tx{pool: s.write, head: head{endpoints: known.asOf}, records: make([]ledger.Record, n)}
	for i := range x.records {
		x.records[i] = ledger.Record{Account: "user_1", Action: string(audit.TokenRefreshed)}
	}
	return testing.AllocsPerRun(100, func() {
		if err := x.tellRecords(ctx, "hash"); err != nil || len(x.events) > 0 {
			t.Errorf("told %d events, %v", len(x.events), err)
		}
	})
}

// WriteTexts are the statements that were prepared for writing.
func (s *Store) WriteTexts() map[string]bool {
	texts := map[string]bool{}
	s.write.prepared.Range(func(text, _ any) bool { texts[text.(string)] = true; return true })
	return texts
}

// SlowFill reads what is to be added to the queue of an endpoint, and returns what adds it: a claim
// may be as slow as that.
func (s *Store) SlowFill(ctx context.Context, e out.Endpoint, now time.Time) (add func() error, err error) {
	f, err := s.readFill(ctx, e)
	return func() error {
		return s.inQueueTx(ctx, false, func(t *tx) error {
			q, err := t.lockQueue(ctx, e.ID, e.Since)
			if err != nil {
				return err
			}
			if err := t.addFill(ctx, e.ID, millis(now), f, &q); err != nil {
				return err
			}
			return t.storeQueue(ctx, e.ID, q)
		})
	}, err
}

// InTx runs f in a transaction that adds acts to the audit log.
func (s *Store) InTx(
	ctx context.Context, f func(run func(text string, args ...any) error) error, acts ...audit.Act,
) error {
	return inTx(ctx, s.write, func(t *tx) error {
		t.log(acts...)
		return f(func(text string, args ...any) error {
			_, err := t.ExecContext(ctx, text, args...)
			return storeError(err)
		})
	})
}

// KnowRightsFor sets how old the state of rights may be that a process goes by.
func (s *Store) KnowRightsFor(d time.Duration) { s.write.rights.maxAge = d }

// RightsBy is what a process knows of the state of rights that read reads.
func RightsBy(read func(context.Context) (int64, error)) func(context.Context) (int64, error) {
	k := newRightsKnown()
	return func(ctx context.Context) (int64, error) { return k.state(ctx, read) }
}

// ReadAccountsFor sets how long a statement that reads accounts may take.
func (s *Store) ReadAccountsFor(d time.Duration) { s.accounts.patience = d }

// Gathered is how many writes share a transaction when one is there and n are ready to be made.
func Gathered(n int) int {
	g := &group{writes: make(chan *groupWrite, maxGroup)}
	for range n {
		go func() { g.writes <- &groupWrite{} }()
	}
	batch := g.gather(&groupWrite{})
	for range n + 1 - len(batch) {
		<-g.writes // nobody is left waiting
	}
	return len(batch)
}
