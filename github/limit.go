package github

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

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

// isLimit tells a rate limit from a missing permission: both come as 403, and the call that a limit
// still let through can also be the one that lacks the permission. So that nothing remains of the
// limit proves nothing: GitHub must say so, or say when to come again. The 403 of a proxy is never
// one.
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
	return resp.Header.Get("Retry-After") != "" || strings.Contains(text, "rate limit") ||
		strings.Contains(text, "abuse detection") || strings.Contains(p.DocumentationURL, "rate-limit")
}

func limitedFor(resp *http.Response, attempt int, now time.Time) time.Duration {
	if wait, ok := retryAfter(resp, now); ok {
		return wait
	}
	reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || !isSpent(resp) {
		return doubled(limitWait, attempt)
	}
	return sensible(time.Unix(reset, 0).Sub(serverTime(resp, now)))
}

// limitEnd is when a limit ends: by GitHub's clock where it names a time, which may be further away
// than any wait, else as it was computed.
func limitEnd(resp *http.Response, computed time.Time) time.Time {
	reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || !isSpent(resp) || time.Unix(reset, 0).Before(computed) {
		return computed
	}
	return time.Unix(min(reset, lastTime), 0)
}

// lastTime is the end of the year 9999: later times have no form in texts.
const lastTime = 253402300799

// isSpent tells an hourly limit that is used up from a request to slow down, which names no such
// limit.
func isSpent(resp *http.Response) bool {
	return resp.Header.Get("X-RateLimit-Remaining") == "0" && resp.Header.Get("Retry-After") == ""
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

// sensible keeps what a header says to between a second, so that no answer makes us hammer, and a
// year, so that no sum of waits runs over.
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
