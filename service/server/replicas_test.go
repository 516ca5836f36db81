package server_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/limit"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/server"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store/postgrestest"
)

// replicas are servers on one PostgreSQL database, which has a clock of its own: those of the
// servers are half a minute apart.
type replicas struct {
	all   []*servicetest.Service
	now   time.Time // of the database
	asked atomic.Int64
}

// counted counts what is asked of the buckets.
type counted struct {
	limit.Store
	asked *atomic.Int64
}

func (c counted) TakeLimit(ctx context.Context, t limit.Take) (limit.Taken, error) {
	c.asked.Add(1)
	return c.Store.TakeLimit(ctx, t)
}

// startReplicas starts n of them.
func startReplicas(t *testing.T, n int, o servicetest.Options) *replicas {
	t.Helper()
	r := &replicas{now: time.Now()}
	o.DatabaseURL, o.DatabaseNow, o.Now = postgrestest.New(t), r.skewed(0), r.skewed(0)
	o.Between = func(s *parts.Stores) { s.Limits = counted{s.Limits, &r.asked} }
	r.all = []*servicetest.Service{servicetest.Start(t, o)}
	for len(r.all) < n {
		r.join(t)
	}
	return r
}

func (r *replicas) join(t *testing.T) {
	t.Helper()
	ahead := 15 * time.Second
	if len(r.all)%2 == 0 {
		ahead = -ahead
	}
	r.all = append(r.all, r.all[0].Replica(t, r.skewed(ahead)))
}

func (r *replicas) skewed(ahead time.Duration) func() time.Time {
	return func() time.Time { return r.now.Add(ahead) }
}

// burst sends n requests without a good credential from an address to replicas in turn, with a
// pause after each, and returns how many were let in.
func (r *replicas) burst(t *testing.T, address string, n int, pause time.Duration, to ...int) (let int) {
	t.Helper()
	for i := range n {
		if r.all[to[i%len(to)]].Server.TakeAddress(t.Context(), address) == nil {
			let++
		}
		r.now = r.now.Add(pause)
	}
	return let
}

func TestReplicasCountTogether(t *testing.T) {
	t.Parallel()
	const n, each = server.DefaultBadCredentials, time.Second
	r := startReplicas(t, 3, servicetest.Options{BadCredentials: n})
	for i, test := range []struct {
		name     string
		send     func(address string) (let int)
		least    int
		most     int
		maxAsked int
	}{
		{"at once, in turn", func(a string) int { return r.burst(t, a, 4*n, 0, 0, 1, 2) }, n, n, 70},
		{"at once, to one", func(a string) int { return r.burst(t, a, 4*n, 0, 1) }, n, n, 50},
		{"at once, to one after another", func(a string) int {
			return r.burst(t, a, n/3, 0, 0) + r.burst(t, a, n/3, 0, 1) + r.burst(t, a, n, 0, 2)
		}, n * 9 / 10, n * 11 / 10, 60},
		{"a few to two, and all others to the third", func(a string) int {
			return r.burst(t, a, n/20, 0, 0) + r.burst(t, a, n/20, 0, 1) + r.burst(t, a, 2*n, 0, 2)
		}, n, n * 11 / 10, 50},
		{"one portion to two, and all others to the third", func(a string) int {
			return r.burst(t, a, n/20+1, 0, 0) + r.burst(t, a, n/20+1, 0, 1) + r.burst(t, a, 2*n, 0, 2)
		}, n * 9 / 10, n, 50},
		{"three times the limit for five minutes, in turn", func(a string) int {
			return r.burst(t, a, 15*n, each/3, 0, 1, 2)
		}, 6*n - n/10, 6 * n, 15 * n},
		{"three times the limit for five minutes, to one", func(a string) int {
			return r.burst(t, a, 15*n, each/3, 2)
		}, 6*n - n/10, 6 * n, 15 * n},
		{"just the limit for five minutes, in turn", func(a string) int { return r.burst(t, a, 5*n, each, 0, 1, 2) }, 5 * n, 5 * n, 5 * n / 2},
		{"half of the limit for five minutes, to one", func(a string) int { return r.burst(t, a, 5*n/2, 2*each, 1) }, 5 * n / 2, 5 * n / 2, 5 * n / 6},
		{"far below the limit", func(a string) int { return r.burst(t, a, n/4, 20*each, 0, 1, 2) }, n / 4, n / 4, 0},
	} {
		before := r.asked.Load()
		let := test.send("192.0.2." + strconv.Itoa(i))
		asked := int(r.asked.Load() - before)
		t.Logf("%s: %d let in, the database asked %d times", test.name, let, asked)
		if let < test.least || let > test.most {
			t.Errorf("%s: %d let in, want %d to %d", test.name, let, test.least, test.most)
		}
		if asked > test.maxAsked {
			t.Errorf("%s: the database was asked %d times, want %d at most", test.name, asked, test.maxAsked)
		}
	}
}

func TestReplicasComeAndGo(t *testing.T) {
	t.Parallel()
	const n = 60
	r := startReplicas(t, 3, servicetest.Options{BadCredentials: n})
	const address = "192.0.2.1"
	let := r.burst(t, address, 5, 0, 0)      // it holds a portion, and dies
	let += r.burst(t, address, n/2, 0, 1, 2) // two go on
	r.join(t)
	let += r.burst(t, address, 2*n, 0, 1, 2, 3)
	if let < n*9/10 || let > n {
		t.Errorf("%d let in with a replica that died and one that joined, want %d to %d", let, n*9/10, n)
	}
	r.now = r.now.Add(time.Minute) // what the dead one held is there again
	if let := r.burst(t, address, 2*n, 0, 1, 2, 3); let != n {
		t.Errorf("%d let in a minute later, want %d", let, n)
	}
}

// A caller that meets the limit at one replica meets it at all, and gets in when Retry-After says.
func TestRetryAfterHoldsAtEveryReplica(t *testing.T) {
	t.Parallel()
	r := startReplicas(t, 1, servicetest.Options{RateLimits: map[account.Tier]int{account.Pro: 4}})
	r.all = append(r.all, r.all[0].Replica(t, r.skewed(0)), r.all[0].Replica(t, r.skewed(0)))
	_, key := r.all[0].Account(t, "a@example.com")
	ask := func(to int) answer {
		return call(t, r.all[to], "POST", "/_api/license/issue", "", bearer(key)...)
	}
	for i := range 4 {
		ask(i % 3).token(t)
	}
	for i := range r.all {
		got := ask(i)
		got.wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
		if after := got.header.Get("Retry-After"); after != "15" {
			t.Errorf("Retry-After of replica %d = %s, want 15", i, after)
		}
	}
	r.now = r.now.Add(15 * time.Second)
	ask(2).token(t)
	for i := range r.all {
		ask(i).wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
	}
	wantMetrics(t, r.all[2], `limit_portions_total{outcome="granted"} 2`, `limit_portions_total{outcome="refused"} 2`)
}

// Where the database does not answer, each replica counts alone, and tells later what it let in.
func TestLimitsWithoutAnAnswerOfTheDatabase(t *testing.T) {
	t.Parallel()
	const n, address = 60, "192.0.2.1"
	var log syncBuffer
	r := startReplicas(t, 2, servicetest.Options{BadCredentials: n, Log: &log})
	r.burst(t, address, 4, 0, 0) // makes the row
	conn, err := pgx.Connect(t.Context(), r.all[0].DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `BEGIN`); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `SELECT 1 FROM rate_limits FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	if let := 4 + r.burst(t, address, 2*n, 0, 0); let != n {
		t.Errorf("%d let in by one replica without the database, want %d", let, n)
	}
	if got := log.String(); strings.Count(got, "limits count in this process alone") != 1 {
		t.Errorf("want one line of the log that says so: %s", got)
	}
	wantMetrics(t, r.all[0], `limit_portions_total{outcome="failed"} 1`)
	if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(10 * time.Second)
	if let := r.burst(t, address, n, 0, 0); let != 10 {
		t.Errorf("%d let in ten seconds later, want 10", let)
	}
	if got := log.String(); strings.Count(got, "limits count together") != 1 {
		t.Errorf("want one line of the log that says that the database answers: %s", got)
	}
	if let := r.burst(t, address, n, 0, 1); let > n/20 {
		t.Errorf("%d let in by the other replica, want %d at most: the first one told what it let in", let, n/20)
	}
}

func TestAReplicaThatStopsGivesBackWhatItHolds(t *testing.T) {
	t.Parallel()
	r := startReplicas(t, 1, servicetest.Options{BadCredentials: 60})
	r.burst(t, "192.0.2.1", 4, 0, 0)
	lacks := func() time.Duration {
		t.Helper()
		got, err := r.all[0].Store.TakeLimit(t.Context(), limit.Take{Key: "addresses 192.0.2.1", PerMinute: 60})
		if err != nil {
			t.Fatal(err)
		}
		return got.FullIn
	}
	if got := lacks(); got != 6*time.Second {
		t.Errorf("after four requests the bucket lacks %s, want 6s: three that were not told, and a portion", got)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := r.all[0].Server.Serve(ctx, l); err != nil {
		t.Fatal(err)
	}
	if got := lacks(); got != 4*time.Second {
		t.Errorf("after the stop the bucket lacks %s, want 4s", got)
	}
}

// A SQLite file has one process: its limits cost no statement.
func TestLimitsOnSQLiteAskNobody(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{Between: func(s *parts.Stores) {
		if s.Limits != nil {
			t.Errorf("limits on SQLite are in the database: %v", s.Limits)
		}
	}})
	wantMetrics(t, s, "panics_total 0")
}
