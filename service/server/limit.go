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
)

// maxLimitKeys is how many tokens of a tier, or addresses, are counted at once; beyond it the
// longest unseen ones are forgotten, so memory stays bounded.
const maxLimitKeys = 65536

// DefaultBadCredentials is how many requests without a good credential an address may make in a
// minute before they are answered 429 instead of
// 401. Good credentials from the same address are never held up by it.
const DefaultBadCredentials = 60

// limits counts requests by GCRA: at most so many at once, and as many again spread over the next
// minute.
type limits struct {
	tiers     map[account.Tier]*throttled.GCRARateLimiterCtx // by token
	addresses *throttled.GCRARateLimiterCtx                  // of bad credentials
	logins    *throttled.GCRARateLimiterCtx                  // device logins, by address
	allLogins *throttled.GCRARateLimiterCtx                  // device logins, all together
	codes     *throttled.GCRARateLimiterCtx                  // user codes that were typed, by session and by address
}

// The limits against strangers who begin logins and against those who guess user codes. A person
// needs one of each; behind one address there may be an office or the runners of a company.
const (
	loginsPerMinute = 30
	codesPerMinute  = 10

	allLoginsPerMinute = 3000 // of all addresses: what a flood from everywhere leaves in the database is bounded by it
)

func newLimits(perMinute map[account.Tier]int, bad int, now func() time.Time) (limits, error) {
	out := limits{tiers: map[account.Tier]*throttled.GCRARateLimiterCtx{}}
	for tier, n := range perMinute {
		var err error
		if out.tiers[tier], err = newLimiter(n, now); err != nil {
			return limits{}, fmt.Errorf("rate limit of tier %s: %w", tier, err)
		}
	}
	for _, l := range []struct {
		of        string
		to        **throttled.GCRARateLimiterCtx
		perMinute int
	}{
		{"addresses", &out.addresses, bad},
		{"logins", &out.logins, loginsPerMinute},
		{"all logins", &out.allLogins, allLoginsPerMinute},
		{"user codes", &out.codes, codesPerMinute},
	} {
		var err error
		if *l.to, err = newLimiter(l.perMinute, now); err != nil {
			return limits{}, fmt.Errorf("rate limit of %s: %w", l.of, err)
		}
	}
	return out, nil
}

// newLimiter is nil for no limit.
func newLimiter(perMinute int, now func() time.Time) (*throttled.GCRARateLimiterCtx, error) {
	if perMinute <= 0 {
		return nil, nil
	}
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
	return limiter, nil
}

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

func count(ctx context.Context, limiter *throttled.GCRARateLimiterCtx, key, by string) error {
	if limiter == nil {
		return nil
	}
	over, result, err := limiter.RateLimitCtx(ctx, key, 1)
	if err != nil {
		return fmt.Errorf("count a request: %w", err)
	}
	if !over {
		return nil
	}
	return &limited{after: result.RetryAfter, by: by}
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
