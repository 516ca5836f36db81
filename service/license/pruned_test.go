package license_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/upkeep"
)

// prune does all upkeep that is due.
func (b *bench) prune() {
	b.t.Helper()
	p, err := parts.New(b.t.Context(), b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	u := p.Upkeep(upkeep.Config{
		Retention: 400 * 24 * time.Hour, Owner: "test", Now: b.clock, Elapsed: func() time.Duration { return 0 },
		After: time.After, Events: slog.New(slog.DiscardHandler),
	})
	for u.Turn(b.t.Context()) == 0 {
	}
	ctx, stop := context.WithCancel(b.t.Context())
	stop()
	u.Run(ctx) // gives the lease back
}

// newPruned is a service with eleven lines: a key, an account, its API token; three blocks of one
// record each; the account is suspended and restored; and, when the records are old, a line that
// they were pruned, and two blocks more.
func newPruned(t *testing.T) (*bench, []audit.Entry) {
	t.Helper()
	b := newBench(t)
	a, _ := b.account()
	issue := func(times int) {
		for range times {
			if _, err := b.IssueFor(t.Context(), a.ID, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	issue(3)
	if _, err := b.SuspendAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RestoreAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	b.advance(402 * 24 * time.Hour)
	b.prune()
	issue(2)
	entries, err := b.cfg.Stores.Audit.AuditAfter(t.Context(), 0, 100)
	if err != nil || len(entries) != 11 {
		t.Fatalf("entries = %d, %v, want 11", len(entries), err)
	}
	return b, entries
}

func TestAVerdictSaysWhatWasPruned(t *testing.T) {
	t.Parallel()
	b, entries := newPruned(t)
	said := entries[8]
	if want := fmt.Sprintf(`{"before":%d,"from":4,"through":6}`, b.now.Add(-400*24*time.Hour).Unix()); said.Action != audit.RecordsPruned ||
		said.Actor.Kind != audit.ActorService || said.Details != want {
		t.Errorf("line 9 = %+v, want %s with %s", said.Line, audit.RecordsPruned, want)
	}
	pruned := audit.Pruned{Records: 3, From: 4, Through: 6, At: b.now}
	end := entries[10].Head()
	for name, test := range map[string]struct {
		check    audit.Check
		pruned   audit.Pruned
		contents int64
	}{
		"the whole log":                            {audit.Check{}, pruned, 7},
		"an end of before it was pruned":           {audit.Check{Expected: entries[4].Head()}, pruned, 7},
		"from the start of what was pruned":        {audit.Check{From: entries[3].Head()}, pruned, 7},
		"from the middle of it":                    {audit.Check{From: entries[4].Head()}, audit.Pruned{Records: 2, From: 5, Through: 6, At: b.now}, 7},
		"from behind it":                           {audit.Check{From: entries[6].Head()}, audit.Pruned{}, 7},
		"from the line that says so":               {audit.Check{From: entries[8].Head()}, audit.Pruned{}, 9},
		"from behind it, with an end that follows": {audit.Check{From: entries[7].Head(), Expected: entries[9].Head()}, audit.Pruned{}, 8},
	} {
		got, err := b.Verify(t.Context(), test.check)
		if err != nil {
			t.Errorf("%s: Verify = %v", name, err)
		}
		if diff := cmp.Diff(audit.Proof{Head: end, Pruned: test.pruned}, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if got := got.ContentsFrom(test.check); got != test.contents {
			t.Errorf("%s: contents from line %d, want %d", name, got, test.contents)
		}
	}
	wrong := audit.Head{Seq: 5, Hash: strings.Repeat("0", 64)}
	for _, c := range []audit.Check{{From: wrong}, {Expected: wrong}} {
		wantTampered(t, b.Rules, c, "line 5 has another hash than the one expected")
	}
}

func TestATamperedBlockIsFound(t *testing.T) {
	t.Parallel()
	const take = `UPDATE ledger SET body = NULL WHERE seq = 10; `
	for name, test := range map[string]struct {
		query, want string
		atEnd       bool // the end alone shows it
	}{
		"a changed record":            {`UPDATE ledger SET body = body || x'00' WHERE seq = 10`, "lines 10 to 10 are not as they were written", false},
		"a changed record at the end": {`UPDATE ledger SET body = body || x'00' WHERE seq = 11`, "lines 11 to 11 are not as they were written", true},
		"no records":                  {`UPDATE ledger SET body = x'' WHERE seq = 10`, "lines 10 to 10 ", false},
		"a changed digest":            {`UPDATE ledger SET digest = zeroblob(32) WHERE seq = 10`, "lines 10 to 10 are not as they were written", false},
		"a digest that is cut":        {`UPDATE ledger SET digest = x'00' WHERE seq = 10`, "the digest of the lines up to 10 has 1 bytes", true},
		"a changed digest of what was pruned": {
			`UPDATE ledger SET digest = zeroblob(32) WHERE seq = 5`, "lines 5 to 5 are not as they were written", false},
		"the records of another block": {
			`UPDATE ledger SET (body, digest) = (SELECT body, digest FROM ledger WHERE seq = 11) WHERE seq = 10`, "lines 10 to 10 are not as they were written", false},
		"records in the place of those that were pruned": {
			`UPDATE ledger SET body = (SELECT body FROM ledger WHERE seq = 11) WHERE seq = 5`, "lines 5 to 5 are not as they were written", false},
		"records taken away": {take, "the records of lines 10 to 10 are missing, and no line says that they were pruned", false},
		"records taken away at the end": {
			`UPDATE ledger SET body = NULL WHERE seq = 11`, "the records of lines 11 to 11 are missing, and no line says that they were pruned", true},
		"a missing block":            {`DELETE FROM ledger WHERE seq = 10`, "lines 10 to 10 are missing", true},
		"a missing block at the end": {`DELETE FROM ledger WHERE seq = 11`, "lines 11 to 11 are missing", true},
		"a missing block of before":  {`DELETE FROM ledger WHERE seq = 5`, "lines 5 to 5 are missing", false},
		"no line about the pruning":  {`DELETE FROM audit_log WHERE seq = 9`, "lines 9 to 9 are missing", false},
		"a line that says more":      {take + `UPDATE audit_log SET details = replace(details, '"through":6', '"through":10') WHERE seq = 9`, "line 9 is not as it was written", false},
		"a line that is of something else": {
			`UPDATE audit_log SET action = 'clock.accept' WHERE seq = 9`, "line 9 is not as it was written", false},
		"a forged line": {
			take + `INSERT INTO audit_log SELECT 12, at, actor_kind, actor_id, address, request_id, action, account_id, object, '{"from":10,"through":10}', hash
				FROM audit_log WHERE seq = 9; UPDATE audit_head SET seq = 12, hash = (SELECT hash FROM audit_log WHERE seq = 12)`,
			"line 12 is not as it was written", true},
		"two blocks made one":          {`DELETE FROM ledger WHERE seq = 10; UPDATE ledger SET n = 2 WHERE seq = 11`, "lines 10 to 11 are not as they were written", true},
		"two pruned blocks made one":   {`DELETE FROM ledger WHERE seq = 4; UPDATE ledger SET n = 2 WHERE seq = 5`, "lines 4 to 5 are not as they were written", false},
		"a block of no lines":          {`UPDATE ledger SET n = 0 WHERE seq = 10`, "lines 10 to 10 are missing", false},
		"a block of more lines":        {`UPDATE ledger SET n = 2 WHERE seq = 10`, "lines 9 to 10 are not as they were written", false},
		"a block behind the head":      {`UPDATE ledger SET seq = 1011 WHERE seq = 11`, "lines 11 to 1010 are missing", true},
		"a block before the first":     {`UPDATE ledger SET seq = -5 WHERE seq = 10`, "lines 10 to 10 are missing", true},
		"blocks that changed places":   {`UPDATE ledger SET seq = -seq WHERE seq > 9; UPDATE ledger SET seq = 21 + seq WHERE seq < 0`, "lines 10 to 10 are not as they were written", true},
		"an end cut off with its head": {`DELETE FROM ledger WHERE seq = 11; UPDATE audit_head SET seq = 10, hash = (SELECT hash FROM ledger WHERE seq = 10)`, "line 10 was made its end by other means", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := newPruned(t)
			b.change(test.query)
			wantTampered(t, b.Rules, audit.Check{}, test.want)
			if _, err := b.CheckEnd(t.Context()); errors.Is(err, audit.ErrTampered) != test.atEnd {
				t.Errorf("CheckEnd = %v, want ErrTampered: %t", err, test.atEnd)
			}
		})
	}
}

// pruningStore prunes while the log is read for the first time.
type pruningStore struct {
	audit.Store
	prune func()
}

func (s *pruningStore) AuditAfter(ctx context.Context, seq int64, limit int) ([]audit.Entry, error) {
	if s.prune != nil {
		s.prune()
		s.prune = nil
	}
	return s.Store.AuditAfter(ctx, seq, limit)
}

func TestALogThatIsPrunedWhileItIsReadIsIntact(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, _ := b.account()
	if _, err := b.IssueFor(t.Context(), a.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := b.SuspendAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	b.advance(402 * 24 * time.Hour)
	c := b.cfg
	c.Stores.Audit = &pruningStore{c.Stores.Audit, b.prune}
	p, err := parts.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := servicetest.RulesOf(p).Verify(t.Context(), audit.Check{})
	if err != nil || got.Seq != 6 || got.Pruned.Records != 1 {
		t.Errorf("Verify = %+v, %v, want six lines, one of which was pruned", got, err)
	}
}

// Anyone who can write the database can make records look old. The service must not be the one who
// takes them away then, with a line that says that it was right.
func TestWhatOnlyLooksOldIsNotPruned(t *testing.T) {
	t.Parallel()
	const (
		expired = 502
		looks   = `UPDATE ledger_segments SET to_at = 1, ends = 1; `
	)
	for name, test := range map[string]struct {
		days   int    // after which
		before string // was changed, then a segment was made, and then
		query  string
		pruned int
	}{
		"nothing was changed":                    {expired, "", "", 1},
		"a segment whose tokens are good":        {402, "", looks, 0},
		"new records":                            {2, `UPDATE ledger SET at = 1`, looks, 0},
		"a segment that reaches farther":         {2, `UPDATE ledger SET at = 1 WHERE seq = 4`, looks + `UPDATE ledger_segments SET seq = 6`, 0},
		"a segment that begins inside a block":   {expired, "", `UPDATE ledger SET n = 3 WHERE seq = 6; DELETE FROM ledger WHERE seq = 4; UPDATE ledger_segments SET first = 5`, 0},
		"old records in the place of others":     {expired, "", `UPDATE ledger SET body = (SELECT body FROM ledger WHERE seq = 4)`, 0},
		"old records with a digest of their own": {expired, "", `UPDATE ledger SET (body, digest) = (SELECT body, digest FROM ledger WHERE seq = 4)`, 0},
		"a block that is missing":                {expired, "", `DELETE FROM ledger WHERE seq = 4`, 0},
		"a last block that is missing":           {expired, "", `DELETE FROM ledger WHERE seq = 6`, 0},
		"a block without its records":            {expired, "", `UPDATE ledger SET body = NULL WHERE seq = 4`, 0},
		"a line between blocks that was changed": {expired, "", `UPDATE audit_log SET object = 'x' WHERE seq = 5`, 0},
		"a line between blocks that is missing":  {expired, "", `DELETE FROM audit_log WHERE seq = 5`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			a, _, err := b.CreateAccount(t.Context(), account.NewAccount{Email: "a@example.com", Tier: account.Pro, ValidUntil: b.clock().Add(3 * year)})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // lines 4 and 6
				if _, err := b.IssueFor(t.Context(), a.ID, 500*24*time.Hour); err != nil {
					t.Fatal(err)
				}
				if _, _, err := b.CreateAPIToken(t.Context(), a.ID, "x"); err != nil {
					t.Fatal(err)
				}
			}
			b.advance(time.Duration(min(test.days, 402)) * 24 * time.Hour)
			b.change(test.before)
			b.prune()
			b.advance(time.Duration(max(0, test.days-402)) * 24 * time.Hour)
			b.change(test.query)
			b.prune()
			lines, err := b.Lines(t.Context(), audit.Query{Action: audit.RecordsPruned, Limit: 10})
			if err != nil || len(lines) != test.pruned {
				t.Errorf("lines about what was pruned = %d, %v, want %d", len(lines), err, test.pruned)
			}
		})
	}
}

// A replica whose clock is behind takes a token for valid when the others do not any more.
func TestARevocationOutlivesItsTokenOnAllClocks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, _, err := b.CreateAccount(t.Context(), account.NewAccount{Email: "a@example.com", Tier: account.Pro, ValidUntil: b.clock().Add(3 * year)})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := b.IssueFor(t.Context(), a.ID, 500*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.RevokeToken(t.Context(), string(issued.ID), false); err != nil {
		t.Fatal(err)
	}
	b.advance(500 * 24 * time.Hour)
	b.prune()
	slow, _ := b.apart(-30 * time.Second)
	if _, err := slow.Refresh(t.Context(), b.caller(slow, issued.Token)); !errors.Is(err, license.ErrTokenRevoked) {
		t.Errorf("Refresh of a revoked token on a replica that is behind = %v, want ErrTokenRevoked", err)
	}
}
