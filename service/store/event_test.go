package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/webhook/out"
)

// aRefresh is a record of a refreshed token with its act.
func aRefresh(account string, n int) (license.TokenRecord, audit.Act) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := license.TokenRecord{
		ID: opaque.TokenID(fmt.Sprintf("%08d%016d%016d", n, n, n)), AccountID: account, KeyID: "k_1", IssuedAt: at, ExpiresAt: at.Add(time.Hour), Recorded: at,
	}
	return r, audit.Act{At: at, Action: audit.TokenRefreshed, Account: account, Object: string(r.ID), Details: "{}"}
}

func withAccount(tb testing.TB) (*store.Store, string) {
	tb.Helper()
	s, err := store.Open(context.Background(), sqlitetest.New(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	a := account.Account{ID: "user_1", Email: "dev@example.com", Tier: account.Pro, Features: []string{}, ValidUntil: time.Now().AddDate(1, 0, 0), Status: account.Active}
	if err := s.CreateAccount(context.Background(), a, account.APIToken{ID: "at_1", AccountID: a.ID, Hash: "h"}); err != nil {
		tb.Fatal(err)
	}
	return s, a.ID
}

func subscribe(tb testing.TB, s *store.Store, n int, types ...audit.EventType) {
	tb.Helper()
	e := out.Sealed{Endpoint: out.Endpoint{ID: fmt.Sprintf("wh_%d", n), URL: "https://example.com", Events: types, Status: out.Active}, SealedSecret: []byte{1}}
	if _, err := s.AddEndpoint(context.Background(), e, audit.Act{Action: audit.EndpointAdded, Object: e.ID, Details: "{}"}); err != nil {
		tb.Fatal(err)
	}
}

// While nobody hears of refreshes, finding that out costs a transaction of 256 of them no statement
// and no allocation, and no statement about events is ever prepared.
//
// It does not run beside others: their allocations would count.
func TestRefreshesThatNobodyHearsOfCostNothing(t *testing.T) {
	for name, types := range map[string][]audit.EventType{"no endpoint": nil, "an endpoint that hears other types": {audit.EventPlanChanged, audit.EventLicenseRevoked}} {
		s, account := withAccount(t)
		if types != nil {
			subscribe(t, s, 1, types...)
		}
		for n := range 3 {
			r, act := aRefresh(account, n)
			if err := s.RecordToken(t.Context(), r, act); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.AllocsOfTelling(t.Context(), t, 256); n != 0 {
			t.Errorf("%s: %v allocations in a transaction of 256 refreshes, want none", name, n)
		}
		for text := range s.WriteTexts() {
			if strings.Contains(text, "INTO events") {
				t.Errorf("%s: a refresh prepared %s", name, text)
			}
		}
	}
}

// BenchmarkEventsOnRefresh is what an event costs a refresh, by how many endpoints hear it: 64 writers
// share transactions, as requests do.
func BenchmarkEventsOnRefresh(b *testing.B) {
	for _, subscribers := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("subscribers=%d", subscribers), func(b *testing.B) {
			s, account := withAccount(b)
			for n := range subscribers {
				subscribe(b, s, n, audit.EventLicenseRefreshed)
			}
			rights, err := s.Rights(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			var n atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, act := aRefresh(account, int(n.Add(1)))
					r.AsOf = rights
					if err := s.RecordToken(context.Background(), r, act); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
