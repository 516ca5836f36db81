package deliver

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// When a delivery is tried again, and when an endpoint is left alone. All of it is pure: given what
// is known, what the receiver answered and the time, it says what follows.
//
//   - A delivery is tried at once, and then after each of retries: eleven times, over three days.
//     Time is only ever added to that, so that what failed together does not come back together.
//   - 2xx alone is success. A redirect is a failure and is not followed.
//   - Retry-After of any failure is kept, up to a day. 429 costs the delivery no try, but ends it
//     when it has been tried for three days.
//   - An endpoint that failed circuitAfter times in a row is asked by one delivery at a time, later
//     and later, an hour apart at most: it is never hammered, and one that is back is found within
//     the hour. From then on one more is sent at once with each success, up to the cap.
//   - An endpoint that answers 410, or nothing but failures for three days, is disabled. What was
//     queued for it stays queued.

// retries are the waits before the tries after the first. docs/webhooks.md shows them; a test keeps
// both in step.
var retries = []time.Duration{
	5 * time.Second, 30 * time.Second, 3 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour,
	8 * time.Hour, 12 * time.Hour, 24 * time.Hour, 24 * time.Hour,
}

// The bounds of a delivery and of an endpoint.
const (
	// GiveUpAfter is how long an endpoint may fail before it is disabled, and how long a delivery
	// may be put off by its receiver.
	GiveUpAfter = 72 * time.Hour
	// maxRetryAfter is the longest time that a receiver may ask for.
	maxRetryAfter = 24 * time.Hour
	// jitter is how much is added to a wait at most, as a part of it.
	jitter = 0.25
	// circuitAfter is how many failures in a row make an endpoint one that is only probed.
	circuitAfter = 5
	// maxProbe is the longest time between two probes.
	maxProbe = time.Hour
	// throttled is how long an endpoint is left alone that answered 429 and did not say how long.
	throttled = 30 * time.Second
	// PerEndpoint is how many deliveries an endpoint gets at once, from all replicas together.
	PerEndpoint = 16
)

// Outcome is what follows from an attempt.
type Outcome string

// The outcomes.
const (
	Delivered Outcome = "delivered" // it was accepted
	Retry     Outcome = "retry"     // it is tried again later
	Throttled Outcome = "throttled" // the same, and this attempt does not count
	Failed    Outcome = "failed"    // it is given up
	Gone      Outcome = "gone"      // the endpoint is disabled, and the delivery stays queued
	Cut       Outcome = "cut"       // the service stopped meanwhile: it is tried again at once, and does not count
)

// Answer is what came of an attempt.
type Answer struct {
	Status     int           // of the response; 0: there was none
	Err        string        // why the attempt failed; empty: the response came whole
	RetryAfter time.Duration // that the receiver asks for; 0: it does not
	Body       string        // the first 2 KB of the response, without what looks like a secret
	Addr       string        // that was called
	Took       time.Duration
	Cut        bool // we ended it ourselves, to stop
}

// Success says whether the receiver accepted the delivery.
func (a Answer) Success() bool { return a.Err == "" && a.Status >= 200 && a.Status < 300 }

// Step is what is done with a delivery after an attempt.
type Step struct {
	Outcome Outcome
	Tries   int64     // that count, with this one
	At      time.Time // when it is tried again, if it is
}

// NextStep says what follows for a delivery that had been tried so many times, for the first time
// at firstAt, from an answer that came now. random is from 0 up to 1.
func NextStep(tries int64, firstAt, now time.Time, a Answer, random float64) Step {
	switch {
	case a.Cut:
		return Step{Outcome: Cut, Tries: tries, At: now}
	case a.Success():
		return Step{Outcome: Delivered, Tries: tries + 1}
	case a.Err == "" && a.Status == http.StatusGone:
		return Step{Outcome: Gone, Tries: tries + 1, At: now}
	case a.Status == http.StatusTooManyRequests:
		if now.Sub(firstAt) >= GiveUpAfter {
			return Step{Outcome: Failed, Tries: tries}
		}
		return Step{Outcome: Throttled, Tries: tries, At: now.Add(spread(asked(a, throttled), random))}
	case tries >= int64(len(retries)):
		return Step{Outcome: Failed, Tries: tries + 1}
	}
	wait := spread(asked(a, retries[max(0, tries)]), random)
	return Step{Outcome: Retry, Tries: tries + 1, At: now.Add(wait)}
}

// asked is how long to wait: what the receiver asks for, if that is longer.
func asked(a Answer, wait time.Duration) time.Duration {
	return max(wait, min(a.RetryAfter, maxRetryAfter))
}

// spread adds to a wait.
func spread(wait time.Duration, random float64) time.Duration {
	return wait + time.Duration(float64(wait)*jitter*random)
}

// Circuit is how an endpoint does, in its row: every replica goes by it.
type Circuit struct {
	Failures     int64     // in a row, those apart that came while it was left alone
	FailingSince time.Time // zero: the newest attempt went well
	NotBefore    time.Time // it is left alone until then
	Allowed      int64     // how many deliveries it gets at once
}

// Closed is the circuit of an endpoint that nothing is known about.
var Closed = Circuit{Allowed: PerEndpoint}

// After says how the endpoint does after an attempt that ended now. disable says why it is to be
// disabled; empty: it is not.
func (c Circuit) After(s Step, a Answer, now time.Time, random float64) (next Circuit, disable string) {
	switch s.Outcome {
	case Cut:
		return c, ""
	case Delivered:
		return Circuit{Allowed: min(PerEndpoint, max(1, c.Allowed)+1)}, ""
	case Gone:
		return c, "its receiver answered 410 Gone"
	}
	if c.FailingSince.IsZero() {
		c.FailingSince = now
	}
	if now.Sub(c.FailingSince) >= GiveUpAfter {
		return c, "nothing was accepted for three days; the last attempt: " + a.Reason()
	}
	switch {
	case s.Outcome == Throttled:
		c.Allowed = 1
		c.pause(now.Add(spread(asked(a, throttled), random)))
	case now.Before(c.NotBefore): // it was sent before the circuit opened
	default:
		c.Failures++
		if c.Failures >= circuitAfter {
			c.Allowed = 1
			wait := min(maxProbe, retries[min(c.Failures-circuitAfter, int64(len(retries)-1))])
			c.pause(now.Add(spread(asked(a, wait), random)))
		}
	}
	return c, ""
}

func (c *Circuit) pause(until time.Time) {
	if until.After(c.NotBefore) {
		c.NotBefore = until
	}
}

// Reason is why an attempt was no success, for people.
func (a Answer) Reason() string {
	switch {
	case a.Err != "":
		return a.Err
	case a.Status >= 300 && a.Status < 400:
		return "the receiver answered " + statusText(a.Status) + ": redirects are not followed"
	case a.Status != 0:
		return "the receiver answered " + statusText(a.Status)
	}
	return ""
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}

// retryAfter reads the header of that name, which is seconds or a date; 0 for what is neither.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) { // also what does not fit
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), maxRetryAfter))
}
