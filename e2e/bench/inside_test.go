package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
)

// BenchmarkRefresh is a refresh without the network: 256 sessions at once, each with the token that
// it got last. Look at where its time and its allocations go with -cpuprofile and -memprofile.
func BenchmarkRefresh(b *testing.B) {
	d, err := newDatabase(b.Context(), sqlite{b.TempDir()}, "one", "http://127.0.0.1:1")
	if err != nil {
		b.Fatal(err)
	}
	made, err := d.seedAccounts(b.Context(), 1)
	if err != nil {
		b.Fatal(err)
	}
	const sessions = 256
	tokens, err := d.moreTokens(b.Context(), made[0].account.ID, sessions)
	if err != nil {
		b.Fatal(err)
	}
	srv, err := d.inside(b.Context(), io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer srv.close()
	benchmarkBearers(b, srv, share(newSessions(tokens, false), sessions))
}

func benchmarkBearers(b *testing.B, h http.Handler, each []bearers) {
	b.Helper()
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(len(each) / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		mine := each[int(next.Add(1)-1)%len(each)]
		for pb.Next() {
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, refreshPath, http.NoBody)
			r.Header.Set("Authorization", "Bearer "+string(mine.next()))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Errorf("status %d: %s", w.Code, w.Body)
				return
			}
			if err := mine.answered(w.Body.Bytes()); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBare is what the bare handler takes for the same.
func BenchmarkBare(b *testing.B) {
	bare := bareHandlers{key: []byte("bench key bench key bench key bench key")}
	tokens := make([]string, 256)
	for i := range tokens {
		var err error
		if tokens[i], err = bare.sign(); err != nil {
			b.Fatal(err)
		}
	}
	benchmarkBearers(b, bare.engine(), share(newSessions(tokens, true), len(tokens)))
}
