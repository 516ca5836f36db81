package store_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/upkeep"
)

// What docs/performance-queries.md tells is measured here:
//
//	go test ./service/store -run - -bench 'Queries|Index' -benchtime 3x -records 1000000
var (
	benchRecords  = flag.Int("records", 20_000, "records in the database that is measured")
	benchAccounts = flag.Int("accounts", 10_000, "accounts in it, each of which has as many as the others")
)

// library is a database with many records, of 400 days up to now: of twenty records one is the first
// of a family, by an API token, one is an exchange of a job of one of a thousand repositories, and
// the others are refreshes.
type library struct {
	*store.Store
	log      *audit.Log
	now      time.Time
	accounts []account.Account
	old      opaque.TokenID // one of the first
}

const benchWriters = 256

// newLibrary makes a library of records for a benchmark. What it writes it does not measure.
func newLibrary(b *testing.B, records int) *library {
	b.Helper()
	ctx := context.WithoutCancel(b.Context())
	s, err := store.Open(ctx, sqlitetest.New(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	l := &library{Store: s, now: time.Now().UTC().Truncate(time.Millisecond)}
	var clock atomic.Int64
	clock.Store(l.now.Add(-400 * 24 * time.Hour).UnixMilli())
	step := (400 * 24 * time.Hour).Milliseconds() / int64(records+1)
	tick := func() time.Time { return time.UnixMilli(clock.Add(step)).UTC() }
	if l.log, err = audit.NewLog(ctx, s, make([]byte, 32), func() time.Time { return time.UnixMilli(clock.Load()).UTC() }); err != nil {
		b.Fatal(err)
	}
	for i := range *benchAccounts {
		l.accounts = append(l.accounts, account.Account{
			ID: fmt.Sprintf("user_%016d", i), Email: fmt.Sprintf("%d@example.com", i), Tier: account.Pro, Features: []string{},
			ValidUntil: l.now.AddDate(9, 0, 0), Status: account.Active, CreatedAt: tick().Truncate(time.Second),
		})
	}
	eachOf(b, len(l.accounts), func(i int) error {
		a := l.accounts[i]
		return s.CreateAccount(ctx, a, account.APIToken{ID: fmt.Sprintf("at_%016d", i), AccountID: a.ID, Hash: fmt.Sprint(i), CreatedAt: a.CreatedAt})
	})
	rights, err := s.Rights(ctx)
	if err != nil {
		b.Fatal(err)
	}
	var first sync.Once
	newest := make([]opaque.TokenID, len(l.accounts))
	var locks [1024]sync.Mutex
	eachOf(b, records, func(i int) error {
		n := i % len(l.accounts)
		lock := &locks[n%len(locks)]
		lock.Lock()
		parent := newest[n]
		lock.Unlock()
		at := tick()
		r := license.TokenRecord{
			AccountID: l.accounts[n].ID, KeyID: fmt.Sprintf("k_%016d", i*4/records), IssuedAt: at.Truncate(time.Second), Recorded: at, AsOf: rights,
		}
		r.ExpiresAt = r.IssuedAt.Add(365 * 24 * time.Hour)
		action, details := audit.TokenRefreshed, audit.Details(nil)
		actor := audit.Actor{Kind: audit.ActorAccount, Address: "192.0.2.7", RequestID: "NHGOK4TYVYC5YRFQYXKPLHWCB2"}
		switch kind := (i / len(l.accounts)) % 20; {
		case parent == "" || kind == 7:
			parent, r.IssuedBy, actor.ID, action = "", fmt.Sprintf("at_%016d", n), fmt.Sprintf("at_%016d", n), audit.TokenIssued
		case kind == 3:
			parent, r.IssuedBy, actor.Kind, action = "", "pol_0123456789abcdef", audit.ActorJob, audit.TokenExchanged
			repository := n % 1000
			details = audit.Details{"repository_id": fmt.Sprint(1000 + repository), "repository": fmt.Sprintf("acme/site-%d", repository), "run_id": fmt.Sprint(i)}
			r.ExpiresAt = r.IssuedAt.Add(time.Hour)
		default:
			r.Parent, actor.ID = parent, string(parent)
		}
		id, err := opaque.NewTokenID(r.IssuedAt, parent.Family(), noise{})
		if err != nil {
			return err
		}
		r.ID = id
		first.Do(func() { l.old = id })
		lock.Lock()
		newest[n] = id
		lock.Unlock()
		return s.RecordToken(ctx, r, l.log.Act(audit.WithActor(ctx, actor), action, r.AccountID, string(r.ID), details))
	})
	return l
}

// noise is random bytes that need not be secret.
type noise struct{}

func (noise) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	return len(p), nil
}

// eachOf calls f for 0 to n-1, many at once.
func eachOf(b *testing.B, n int, f func(i int) error) {
	b.Helper()
	var next atomic.Int64
	errs := make([]error, benchWriters)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[w] == nil; i = next.Add(1) - 1 {
				errs[w] = f(int(i))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
}

// index makes the whole index.
func (l *library) index(b *testing.B) (segments int) {
	b.Helper()
	seen, err := l.UpkeepLease(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	held, err := l.ClaimUpkeep(b.Context(), seen, "bench")
	for more := true; more && err == nil; segments++ {
		more, err = l.Index(b.Context(), held)
	}
	if err != nil {
		b.Fatal(err)
	}
	return segments - 1
}

// prune prunes all that is older than a time, and says in how many transactions.
func (l *library) prune(b *testing.B, before time.Time) (steps int) {
	b.Helper()
	seen, err := l.UpkeepLease(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	held, err := l.ClaimUpkeep(b.Context(), seen, "bench")
	p := upkeep.Pruning{Now: l.now.Add(365 * 24 * time.Hour), Before: before, Act: func(from, through int64) audit.Act {
		return l.log.PruneAct(b.Context(), from, through, before)
	}}
	for more := true; more && err == nil; steps++ {
		more, err = l.Prune(b.Context(), held, p)
	}
	if err != nil {
		b.Fatal(err)
	}
	return steps - 1
}

// BenchmarkIndex says what upkeep costs for each record, and BenchmarkPrune what it costs a year
// later.
func BenchmarkIndex(b *testing.B) {
	segments := 0
	for b.Loop() {
		b.StopTimer()
		l := newLibrary(b, *benchRecords)
		b.StartTimer()
		segments += l.index(b)
	}
	perStep(b, segments)
}

func BenchmarkPrune(b *testing.B) {
	steps := 0
	for b.Loop() {
		b.StopTimer()
		l := newLibrary(b, *benchRecords)
		l.index(b)
		b.StartTimer()
		steps += l.prune(b, l.now.Add(-24*time.Hour))
	}
	perStep(b, steps)
}

func perStep(b *testing.B, steps int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N**benchRecords), "ns/record")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(max(1, steps)), "ms/step")
}

// BenchmarkQueries asks what people and programs ask of a large database.
func BenchmarkQueries(b *testing.B) {
	begun := time.Now()
	l := newLibrary(b, *benchRecords)
	b.Logf("%d records of %d accounts were made in %s", *benchRecords, *benchAccounts, time.Since(begun).Round(time.Second))
	begun = time.Now()
	b.Logf("%d segments in %s", l.index(b), time.Since(begun).Round(time.Millisecond))
	ctx := b.Context()
	one := l.accounts[len(l.accounts)/2].ID
	actor := "at_" + one[len("user_"):]
	half, err := halfOf(ctx, l)
	if err != nil {
		b.Fatal(err)
	}
	lines := func(q audit.Query) func() error {
		q.Limit = 100
		return func() error { _, err := l.AuditLines(ctx, q); return err }
	}
	month := l.now.Add(-200 * 24 * time.Hour)
	for _, q := range []struct {
		name string
		ask  func() error
	}{
		{"token show, of the oldest", func() error { _, err := l.Token(ctx, l.old); return err }},
		{"token show, of an unknown one", func() error {
			_, err := l.Token(ctx, l.old[:39]+"!")
			if err == nil {
				return errors.New("it was found")
			}
			return nil
		}},
		{"token list, of an account", func() error {
			_, err := l.Tokens(ctx, license.TokenQuery{Account: one, Limit: 100})
			return err
		}},
		{"token list, of all", func() error { _, err := l.Tokens(ctx, license.TokenQuery{Limit: 100}); return err }},
		{"audit list, newest", lines(audit.Query{})},
		{"audit list, of an account", lines(audit.Query{Account: one})},
		{"audit list, by an API token", lines(audit.Query{Actor: actor})},
		{"audit list, by an unknown actor", lines(audit.Query{Actor: "adm_0123456789abcdef"})},
		{"audit list, of an action", lines(audit.Query{Action: audit.TokenExchanged})},
		{"audit list, of an action that is rare", lines(audit.Query{Action: audit.TokenRevoked})},
		{"audit list, of a repository by its name", lines(audit.Query{Repository: "acme/site-7"})},
		{"audit list, of an hour long ago", lines(audit.Query{Since: month, Until: month.Add(time.Hour)})},
		{"audit list, of an account and an action", lines(audit.Query{Account: one, Action: audit.TokenExchanged})},
		{"audit verify", func() error { _, err := l.log.Verify(ctx, audit.Check{}); return err }},
		{"audit verify, from the middle", func() error { _, err := l.log.Verify(ctx, audit.Check{From: half}); return err }},
		{"live tokens of a key", func() error { _, err := l.LiveTokens(ctx, "k_0000000000000003", l.now); return err }},
		{"end an API token and all that it issued", func() error {
			act := l.log.Act(ctx, audit.APITokenRevoked, "", actor, nil)
			issued := l.log.Act(ctx, audit.IssuesRevoked, "", actor, nil)
			_, err := l.RevokeAPIToken(ctx, actor, act, &issued)
			return err
		}},
	} {
		b.Run(q.name, func(b *testing.B) {
			for b.Loop() {
				if err := q.ask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// halfOf is an end of the log that was noted in the middle.
func halfOf(ctx context.Context, l *library) (audit.Head, error) {
	end, err := l.AuditHead(ctx)
	if err != nil {
		return end, err
	}
	entries, err := l.AuditAfter(ctx, end.Seq/2, 1)
	if err != nil {
		return end, err
	}
	return entries[0].Head(), nil
}
