package server

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/limit"
)

// maxLimitKeys is how many tokens of a tier, or addresses, are counted at once; beyond it the
// longest unseen ones are forgotten, so memory stays bounded.
const maxLimitKeys = 65536

// DefaultBadCredentials is how many requests without a good credential an address may make in a
// minute before they are answered 429 instead of
// 401. Good credentials from the same address are never held up by it.
const DefaultBadCredentials = 60

// limits counts requests by GCRA: at most so many at once, and as many again spread over the next
// minute. Where the database has room for it, all replicas count together (service/limit).
type limits struct {
	tiers     map[account.Tier]counter // by token
	addresses counter                  // of bad credentials
	logins    counter                  // device logins, by address
	allLogins counter                  // device logins, all together
	codes     counter                  // user codes that were typed, by session and by address
	replica   *limit.Replica           // nil: this process counts alone
}

// counter counts a request of a key. It returns 0, or how long the key has to wait.
type counter func(ctx context.Context, key string) (wait time.Duration, err error)

// The limits against strangers who begin logins and against those who guess user codes. A person
// needs one of each; behind one address there may be an office or the runners of a company.
const (
	loginsPerMinute = 30
	codesPerMinute  = 10

	allLoginsPerMinute = 3000 // of all addresses: what a flood from everywhere leaves in the database is bounded by it
)

// newLimits makes the limits of a process; replica is nil for one that counts alone.
func newLimits(perMinute map[account.Tier]int, bad int, now func() time.Time, replica *limit.Replica) (limits, error) {
	out := limits{tiers: map[account.Tier]counter{}, replica: replica}
	for tier, n := range perMinute {
		var err error
		if out.tiers[tier], err = newCounter("tier "+string(tier), n, now, replica); err != nil {
			return limits{}, err
		}
	}
	for _, l := range []struct {
		of        string
		to        *counter
		perMinute int
	}{
		{"addresses", &out.addresses, bad},
		{"logins", &out.logins, loginsPerMinute},
		{"all logins", &out.allLogins, allLoginsPerMinute},
		{"user codes", &out.codes, codesPerMinute},
	} {
		var err error
		if *l.to, err = newCounter(l.of, l.perMinute, now, replica); err != nil {
			return limits{}, err
		}
	}
	return out, nil
}

// newCounter is nil for no limit.
func newCounter(of string, perMinute int, now func() time.Time, replica *limit.Replica) (counter, error) {
	if perMinute <= 0 {
		return nil, nil
	}
	if replica == nil {
		c, err := countAlone(perMinute, now)
		if err != nil {
			return nil, fmt.Errorf("rate limit of %s: %w", of, err)
		}
		return c, nil
	}
	shared := replica.Limit(of, perMinute)
	return func(ctx context.Context, key string) (time.Duration, error) { return shared.Take(ctx, key), nil }, nil
}

// countAlone counts in the memory of this process.
func countAlone(perMinute int, now func() time.Time) (counter, error) {
	store, err := memstore.NewCtx(maxLimitKeys)
	if err != nil {
		return nil, err
	}
	limiter, err := throttled.NewGCRARateLimiterCtx(clockStore{store, now},
		throttled.RateQuota{MaxRate: throttled.PerMin(perMinute), MaxBurst: perMinute - 1})
	if err != nil {
		return nil, err
	}
	limiter.SetMaxCASAttemptsLimit(1000) // jobs of one matrix meet on one key
	return func(ctx context.Context, key string) (time.Duration, error) {
		over, result, err := limiter.RateLimitCtx(ctx, key, 1)
		if err != nil || !over {
			return 0, err
		}
		return max(result.RetryAfter, 1), nil
	}, nil
}

// newReplica is nil where the database has no place for limits.
func (s *Server) newReplica(store limit.Store, now func() time.Time) *limit.Replica {
	if store == nil {
		return nil
	}
	return limit.NewReplica(limit.Config{
		Store: store, Now: now, Asked: func(o limit.Outcome) { s.metrics.portions.WithLabelValues(string(o)).Inc() },
		Silent: func(err error) {
			if err != nil {
				s.log.Warn("limits count in this process alone", "err", err)
				return
			}
			s.log.Info("limits count together with other replicas")
		},
	})
}

// giveBack returns to other replicas what this one holds of limits, when it stops.
func (l limits) giveBack(ctx context.Context) error {
	if l.replica == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, giveBackTimeout)
	defer cancel()
	return l.replica.GiveBack(ctx)
}

// giveBackTimeout bounds how long a stop may take for it.
const giveBackTimeout = time.Second

// take counts one request. The error is a *limited when it was one too many.
func (l limits) take(ctx context.Context, c auth.Caller) error {
	by := byToken
	if c.Kind == auth.ByIdentity {
		by = byRepository
	}
	return count(ctx, l.tiers[c.Tier()], c.LimitKey(), by)
}

// TakeAddress counts one request without a good credential.
func (l limits) TakeAddress(ctx context.Context, ip string) error {
	return count(ctx, l.addresses, network(ip), byAddress)
}

// takeLogin counts one device login that was begun.
func (l limits) takeLogin(ctx context.Context, ip string) error {
	if err := count(ctx, l.logins, network(ip), byLogin); err != nil {
		return err
	}
	return count(ctx, l.allLogins, "all", byAllLogins)
}

// TakeCode counts one user code that was typed, right or wrong: an answer to a right one alone
// would be worth guessing for.
func (l limits) TakeCode(ctx context.Context, session, ip string) error {
	if err := count(ctx, l.codes, session, byCode); err != nil {
		return err
	}
	return count(ctx, l.codes, network(ip), byCodeAddress)
}

// network is what an address is counted by: itself, or for IPv6 its /64, of which one customer has
// all.
func network(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil || addr.Unmap().Is4() {
		return ip
	}
	p, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return ip
	}
	return p.String()
}

func count(ctx context.Context, c counter, key, by string) error {
	if c == nil {
		return nil
	}
	wait, err := c(ctx, key)
	if err != nil {
		return fmt.Errorf("count a request: %w", err)
	}
	if wait == 0 {
		return nil
	}
	return &limited{after: wait, by: by}
}

// limited says when the next request will be allowed.
type limited struct {
	after time.Duration
	by    string
}

// What requests are counted by.
const (
	byToken       = "token"
	byRepository  = "repository"
	byAddress     = "address"
	byLogin       = "login"
	byAllLogins   = "all_logins"
	byCode        = "code"
	byCodeAddress = "code_address"
)

// overLimit is what there was too much of.
var overLimit = map[string]string{
	byToken: "with this token", byRepository: "by jobs of this repository", byAddress: "without a good token from this address",
	byLogin: "for a login from this address", byAllLogins: "for logins, of all addresses together", byCode: "with a code", byCodeAddress: "with a code from this address",
}

// seconds is the whole number of seconds for Retry-After (RFC 9110, 10.2.3): rounded up, at least
// one.
func (l *limited) seconds() int { return max(1, int((l.after+time.Second-1)/time.Second)) }

func (l *limited) Error() string {
	return fmt.Sprintf("too many requests %s: try again in %d s", overLimit[l.by], l.seconds())
}

// steady is a clock that begins now and goes on by elapsed, whatever the clock of the machine is
// set to meanwhile: one that was ahead when a request was counted must not keep others out once it
// is right again.
func steady(now func() time.Time, elapsed func() time.Duration) func() time.Time {
	if elapsed == nil {
		return now
	}
	begin, since := now(), elapsed()
	return func() time.Time { return begin.Add(elapsed() - since) }
}

// clockStore is a store that tells the time by our clock.
type clockStore struct {
	throttled.GCRAStoreCtx
	now func() time.Time
}

func (s clockStore) GetWithTime(ctx context.Context, key string) (int64, time.Time, error) {
	n, _, err := s.GCRAStoreCtx.GetWithTime(ctx, key)
	return n, s.now(), err
}
