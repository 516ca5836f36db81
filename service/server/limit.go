package server

import (
	"context"
	"fmt"
	"time"

	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"

	"github.com/pageflare/ci/service/license"
)

// maxLimitKeys is how many tokens are counted at once; beyond it the longest unseen ones are forgotten, so memory stays bounded.
const maxLimitKeys = 65536

// limits counts the requests of each token by GCRA: at most so many at once, and as many again spread over the next minute.
type limits map[license.Tier]*throttled.GCRARateLimiterCtx

func newLimits(perMinute map[license.Tier]int, now func() time.Time) (limits, error) {
	out := limits{}
	for tier, n := range perMinute {
		if n <= 0 {
			continue
		}
		store, err := memstore.NewCtx(maxLimitKeys)
		if err != nil {
			return nil, fmt.Errorf("rate limit of tier %s: %w", tier, err)
		}
		limiter, err := throttled.NewGCRARateLimiterCtx(clockStore{store, now}, throttled.RateQuota{MaxRate: throttled.PerMin(n), MaxBurst: n - 1})
		if err != nil {
			return nil, fmt.Errorf("rate limit of tier %s: %w", tier, err)
		}
		limiter.SetMaxCASAttemptsLimit(1000) // jobs of one matrix meet on one key
		out[tier] = limiter
	}
	return out, nil
}

// take counts one request. The error is a *limited when it was one too many.
func (l limits) take(ctx context.Context, c license.Caller) error {
	limiter := l[c.Account.Tier]
	if limiter == nil {
		return nil
	}
	over, result, err := limiter.RateLimitCtx(ctx, c.LimitKey(), 1)
	if err != nil {
		return fmt.Errorf("count a request: %w", err)
	}
	if !over {
		return nil
	}
	return &limited{after: result.RetryAfter}
}

// limited says when the next request will be let in.
type limited struct{ after time.Duration }

// seconds is the whole number of seconds for Retry-After (RFC 9110, 10.2.3): rounded up, at least one.
func (l *limited) seconds() int { return max(1, int((l.after+time.Second-1)/time.Second)) }

func (l *limited) Error() string {
	return fmt.Sprintf("too many requests with this token: try again in %d s", l.seconds())
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
