package github

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	firstWait = time.Second      // after a server or network error; doubles
	limitWait = 60 * time.Second // after a rate limit that names no time; doubles
)

// retrier repeats requests that may well pass the next time, and nothing else:
//
//   - no answer, a broken answer, 5xx: after 1 s, doubling, or after Retry-After
//   - 429, and 403 that is a rate limit: after Retry-After, else when the limit is reset, else after 60 s, doubling
//
// Every other refusal is final at once, so a plain mistake is reported without delay. A wait that
// would not end before the context does, or before a shutdown does, is not begun.
//
// The retries are made here, below go-github, because that remembers a spent limit and then refuses
// calls on its own, with the system's clock: rate limits end here and their headers are taken off
// the answers that pass.
type retrier struct {
	next     http.RoundTripper
	now      func() time.Time
	rand     io.Reader
	sleep    func(context.Context, time.Duration) error // nil: a timer
	shutdown *Shutdown                                  // nil: none
	attempts int
}

// Once makes calls under a context that are tried one time: for what is only good to know.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

type onceKey struct{}

// A limitError says that GitHub's rate limit lasts longer than we may wait.
type limitError struct {
	status  int
	message string // empty when the answer had none
	until   time.Time
	spent   bool // the limit of an hour is used up; else GitHub asks to slow down
	hourly  int  // how many requests that limit allows; 0: unknown
	foreign bool // it is a proxy's limit
}

func (e *limitError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("rate limit (%d) until %s: %s", e.status,
		e.until.UTC().Format(time.RFC3339), e.message), ": ")
}

// RoundTrip gives the first answer that is no reason to try again, or the last one; a lasting rate
// limit is a *limitError.
func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	for attempt := 1; ; attempt++ {
		before := r.shutdown.state()
		resp, err := r.next.RoundTrip(req)
		tellAllowance(req.Context(), resp, r.now())
		v := judge(resp, err, attempt, r.now())
		if !v.again {
			return hideLimits(resp), err
		}
		if attempt >= r.attempts || req.Context().Value(onceKey{}) != nil {
			return r.giveUp(v, resp, err)
		}
		after := r.shutdown.state()
		if after.begun && !before.begun {
			continue
		}
		wait := v.wait + r.jitter(v.wait)
		if !r.fits(req.Context(), wait, after) || !r.pause(req.Context(), wait, after) {
			return r.giveUp(v, resp, err)
		}
	}
}

func (r *retrier) giveUp(v verdict, resp *http.Response, err error) (*http.Response, error) {
	if v.limited {
		hourly, _ := strconv.Atoi(resp.Header.Get("X-RateLimit-Limit"))
		return nil, &limitError{
			status: resp.StatusCode, message: readProblem(resp).Message, until: limitEnd(resp, r.now().Add(v.wait)),
			spent: isSpent(resp), hourly: hourly, foreign: !fromGitHub(resp),
		}
	}
	return hideLimits(resp), err
}

// jitter adds up to a quarter, so that the jobs of a matrix do not come back all at once. It never
// shortens a wait.
func (r *retrier) jitter(wait time.Duration) time.Duration {
	var b [1]byte
	if _, err := io.ReadFull(r.rand, b[:]); err != nil {
		return 0
	}
	return wait / 1024 * time.Duration(b[0])
}

func (r *retrier) fits(ctx context.Context, wait time.Duration, end shutdownState) bool {
	over := r.now().Add(wait)
	deadline, ok := ctx.Deadline()
	return (!ok || over.Before(deadline)) && (!end.begun || over.Before(end.deadline))
}

// pause waits, and no longer than until a shutdown begins. It is false when ctx has ended.
func (r *retrier) pause(ctx context.Context, wait time.Duration, end shutdownState) bool {
	short := ctx
	if !end.begun {
		var stop func()
		short, stop = r.shutdown.bounded(ctx)
		defer stop()
	}
	sleep := r.sleep
	if sleep == nil {
		sleep = onTimer
	}
	return sleep(short, wait) == nil || ctx.Err() == nil
}

func onTimer(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
