package secret

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxAttempts = 5
	firstWait   = time.Second      // after a server or network error; doubles
	limitWait   = 60 * time.Second // after a rate limit that names no time; doubles
)

// retrier repeats requests that may well pass the next time, and nothing else:
//
//   - no answer, a broken answer, 5xx: after 1 s, doubling, or after Retry-After
//   - 429, and 403 that is a rate limit: after Retry-After, else when the limit is reset, else after 60 s, doubling
//
// Every other refusal is final at once, so a plain mistake is reported without delay. A wait that would not end before the
// context does, or before the run does that is being cancelled, is not begun.
//
// The retries are made here, below go-github, because that remembers a spent limit and then refuses calls by itself, with
// the system's clock: rate limits end here and their headers are taken off the answers that pass.
type retrier struct {
	next  http.RoundTripper
	now   func() time.Time
	rand  io.Reader
	sleep func(context.Context, time.Duration) error // nil: a timer
	hurry *Hurry                                     // nil: none
}

// once makes calls under a context that are tried one time: for what is only good to know.
func once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

type onceKey struct{}

// A limitError says that GitHub's rate limit lasts longer than we may wait.
type limitError struct {
	status  int
	message string // empty when the answer had none
	until   time.Time
	foreign bool // it is a proxy's limit
}

func (e *limitError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("rate limit (%d) until %s: %s", e.status, e.until.UTC().Format(time.RFC3339), e.message), ": ")
}

// RoundTrip gives the first answer that is no reason to try again, or the last one; a lasting rate limit is a *limitError.
func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	for attempt := 1; ; attempt++ {
		before := r.hurry.now()
		resp, err := r.next.RoundTrip(req)
		v := judge(resp, err, attempt, r.now())
		if !v.again {
			return hideLimits(resp), err
		}
		if attempt == maxAttempts || req.Context().Value(onceKey{}) != nil {
			return r.giveUp(v, resp, err)
		}
		after := r.hurry.now()
		if after.came && !before.came {
			continue
		}
		if wait := v.wait + r.jitter(v.wait); !r.fits(req.Context(), wait, after) || !r.pause(req.Context(), wait, after) {
			return r.giveUp(v, resp, err)
		}
	}
}

func (r *retrier) giveUp(v verdict, resp *http.Response, err error) (*http.Response, error) {
	if v.limited {
		return nil, &limitError{status: resp.StatusCode, message: readProblem(resp).Message, until: r.now().Add(v.wait), foreign: !fromGitHub(resp)}
	}
	return hideLimits(resp), err
}

// jitter adds up to a quarter, so that the jobs of a matrix do not come back all at once. It never shortens a wait.
func (r *retrier) jitter(wait time.Duration) time.Duration {
	var b [1]byte
	if _, err := io.ReadFull(r.rand, b[:]); err != nil {
		return 0
	}
	return wait / 1024 * time.Duration(b[0])
}

func (r *retrier) fits(ctx context.Context, wait time.Duration, haste haste) bool {
	end := r.now().Add(wait)
	deadline, ok := ctx.Deadline()
	return (!ok || end.Before(deadline)) && (!haste.came || end.Before(haste.until))
}

// pause waits, and no longer than until the hurry comes. It is false when ctx has ended.
func (r *retrier) pause(ctx context.Context, wait time.Duration, haste haste) bool {
	short := ctx
	if !haste.came {
		var stop func()
		short, stop = r.hurry.cut(ctx)
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

// verdict says what one answer is worth.
type verdict struct {
	again   bool
	limited bool // by a rate limit
	wait    time.Duration
}

// judge decides on the answer to the attempt-th try of a request.
func judge(resp *http.Response, err error, attempt int, now time.Time) verdict {
	if err != nil {
		return verdict{again: !permanent(err), wait: doubled(firstWait, attempt)}
	}
	if isLimit(resp) {
		return verdict{again: true, limited: true, wait: limitedFor(resp, attempt, now)}
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		wait, ok := retryAfter(resp, now)
		if !ok {
			wait = doubled(firstWait, attempt)
		}
		return verdict{again: true, wait: wait}
	}
	return verdict{}
}

// permanent tells errors that no repetition cures.
func permanent(err error) bool {
	var certificate *tls.CertificateVerificationError
	var dns *net.DNSError
	return errors.Is(err, errForeign) || errors.Is(err, errTooLarge) ||
		errors.As(err, &certificate) || errors.As(err, &dns) && dns.IsNotFound
}

// isLimit tells a rate limit from a missing permission: both come as 403, and the call that a limit still let through can
// also be the one that lacks the permission. So that nothing remains of the limit proves nothing: GitHub must say so, or say when to come again.
// The 403 of a proxy is never one.
func isLimit(resp *http.Response) bool {
	if resp.StatusCode != http.StatusForbidden {
		return resp.StatusCode == http.StatusTooManyRequests
	}
	if !fromGitHub(resp) {
		return false
	}
	p := readProblem(resp)
	if strings.HasPrefix(p.Message, "Resource not accessible") {
		return false
	}
	text := strings.ToLower(p.Message)
	return resp.Header.Get("Retry-After") != "" || strings.Contains(text, "rate limit") || strings.Contains(text, "abuse detection") ||
		strings.Contains(p.DocumentationURL, "rate-limit")
}

func limitedFor(resp *http.Response, attempt int, now time.Time) time.Duration {
	if wait, ok := retryAfter(resp, now); ok {
		return wait
	}
	reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || resp.Header.Get("X-RateLimit-Remaining") != "0" {
		return doubled(limitWait, attempt)
	}
	return sensible(time.Unix(reset, 0).Sub(serverTime(resp, now)))
}

func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return sensible(time.Duration(seconds) * time.Second), true
	}
	if at, err := http.ParseTime(text); err == nil {
		return sensible(at.Sub(serverTime(resp, now))), true
	}
	return 0, false
}

// serverTime is the time as GitHub sees it: clocks of self-hosted runners go wrong.
func serverTime(resp *http.Response, now time.Time) time.Time {
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		return date
	}
	return now
}

// sensible keeps what a header says to between a second, so that no answer makes us hammer, and a year, so that no sum of
// waits runs over.
func sensible(wait time.Duration) time.Duration {
	return min(max(wait, time.Second), 365*24*time.Hour)
}

func doubled(first time.Duration, attempt int) time.Duration { return first << (attempt - 1) }

// problem is the body of a refusal.
type problem struct {
	Message          string `json:"message"`
	DocumentationURL string `json:"documentation_url"`
}

// readProblem leaves the body as it was. A body that is not GitHub's gives the zero problem.
func readProblem(resp *http.Response) problem {
	body, _ := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var p problem
	if json.Unmarshal(body, &p) != nil {
		return problem{}
	}
	return p
}

func hideLimits(resp *http.Response) *http.Response {
	if resp != nil {
		for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
			resp.Header.Del(name)
		}
	}
	return resp
}
