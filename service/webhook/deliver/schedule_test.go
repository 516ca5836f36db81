package deliver_test

import (
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/webhook/deliver"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func status(code int) deliver.Answer { return deliver.Answer{Status: code} }

func TestWhatFollowsFromAnAnswer(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	retry := func(tries int64, wait time.Duration) deliver.Step {
		return deliver.Step{Outcome: deliver.Retry, Tries: tries, At: at.Add(wait)}
	}
	for name, c := range map[string]struct {
		tries  int64
		since  time.Duration // the first attempt
		answer deliver.Answer
		random float64
		want   deliver.Step
	}{
		"200 is success":                              {0, 0, status(200), 0, deliver.Step{Outcome: deliver.Delivered, Tries: 1}},
		"299 is success":                              {3, 0, status(299), 0, deliver.Step{Outcome: deliver.Delivered, Tries: 4}},
		"199 is a failure":                            {0, 0, status(199), 0, retry(1, 5*time.Second)},
		"a redirect is a failure":                     {0, 0, status(302), 0, retry(1, 5*time.Second)},
		"304 is a failure":                            {0, 0, status(304), 0, retry(1, 5*time.Second)},
		"404 is tried again":                          {0, 0, status(404), 0, retry(1, 5*time.Second)},
		"500 is tried again":                          {1, 0, status(500), 0, retry(2, 30*time.Second)},
		"no answer is tried again":                    {2, 0, deliver.Answer{Err: "refused"}, 0, retry(3, 3*time.Minute)},
		"200 that ended early is a failure":           {0, 0, deliver.Answer{Status: 200, Err: "ended early"}, 0, retry(1, 5*time.Second)},
		"time is added":                               {4, 0, status(500), 1, retry(5, hour+15*time.Minute)},
		"the last wait":                               {9, 48 * hour, status(500), 0, retry(10, 24*hour)},
		"after it the delivery is given up":           {10, 72 * hour, status(500), 0, deliver.Step{Outcome: deliver.Failed, Tries: 11}},
		"more tries than there are is no panic":       {1 << 40, 0, status(500), 0, deliver.Step{Outcome: deliver.Failed, Tries: 1<<40 + 1}},
		"Retry-After that is longer is kept":          {0, 0, deliver.Answer{Status: 503, RetryAfter: hour}, 0, retry(1, hour)},
		"Retry-After that is shorter is not":          {4, 0, deliver.Answer{Status: 503, RetryAfter: time.Second}, 0, retry(5, hour)},
		"Retry-After counts for a day at most":        {0, 0, deliver.Answer{Status: 503, RetryAfter: 1 << 62}, 0, retry(1, 24*hour)},
		"429 costs no try":                            {4, 0, status(429), 0, deliver.Step{Outcome: deliver.Throttled, Tries: 4, At: at.Add(30 * time.Second)}},
		"429 with a time":                             {4, 0, deliver.Answer{Status: 429, RetryAfter: 2 * hour}, 0, deliver.Step{Outcome: deliver.Throttled, Tries: 4, At: at.Add(2 * hour)}},
		"429 for three days ends it":                  {4, 72 * hour, status(429), 0, deliver.Step{Outcome: deliver.Failed, Tries: 4}},
		"410 keeps the delivery":                      {4, 0, status(410), 0, deliver.Step{Outcome: deliver.Gone, Tries: 5, At: at}},
		"what we cut ourselves costs no try":          {4, 0, deliver.Answer{Err: "stopped", Cut: true}, 0, deliver.Step{Outcome: deliver.Cut, Tries: 4, At: at}},
		"410 of a body that ended early is a failure": {0, 0, deliver.Answer{Status: 410, Err: "ended early"}, 0, retry(1, 5*time.Second)},
	} {
		got := deliver.NextStep(c.tries, at.Add(-c.since), at, c.answer, c.random)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// A delivery that always fails is tried for three days, and time is only ever added.
func TestRetriesLastThreeDays(t *testing.T) {
	t.Parallel()
	for _, random := range []float64{0, 0.5, 0.999} {
		now, tries := at, int64(0)
		for {
			s := deliver.NextStep(tries, at, now, status(500), random)
			if s.Outcome == deliver.Failed {
				break
			}
			tries, now = s.Tries, s.At
		}
		if took := now.Sub(at); took < deliver.GiveUpAfter || took > deliver.GiveUpAfter*5/4+time.Hour || tries != 10 {
			t.Errorf("with %v: given up after %s and %d tries before, want 72h to 91h and 10", random, took, tries)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"":                        0,
		"120":                     2 * time.Minute,
		" 7 ":                     7 * time.Second,
		"0":                       0,
		"-5":                      0,
		"1.5":                     0,
		"soon":                    0,
		"86400":                   24 * time.Hour,
		"86401":                   24 * time.Hour,
		"9223372036854775807":     24 * time.Hour,
		"99999999999999999999999": 24 * time.Hour,
		at.Add(time.Hour).Format(http.TimeFormat):   time.Hour,
		at.Add(-time.Hour).Format(http.TimeFormat):  0,
		at.AddDate(9, 0, 0).Format(http.TimeFormat): 24 * time.Hour,
		"Sun, 01 Mar 9999999999 13:00:00 GMT":       0,
		at.Add(time.Minute).Format(time.RFC3339):    0,
		at.Add(time.Minute).Format(time.ANSIC):      time.Minute,
	} {
		if got := deliver.RetryAfter(text, at); got != want {
			t.Errorf("RetryAfter(%q) = %s, want %s", text, got, want)
		}
	}
}

// fail fails an endpoint once, when it is asked again.
func fail(c deliver.Circuit, now time.Time) (deliver.Circuit, string) {
	a := status(500)
	return c.After(deliver.NextStep(0, now, now, a, 0), a, now, 0)
}

func TestAnEndpointThatFailsIsProbedLaterAndLater(t *testing.T) {
	t.Parallel()
	c, now := deliver.Closed, at
	var waits []time.Duration
	for i := range 12 {
		c, _ = fail(c, now)
		if i < 4 {
			if !c.NotBefore.IsZero() || c.Allowed != deliver.PerEndpoint {
				t.Errorf("after %d failures: %+v, want it as before", i+1, c)
			}
			continue
		}
		if c.Allowed != 1 {
			t.Errorf("after %d failures %d are sent at once, want 1", i+1, c.Allowed)
		}
		waits = append(waits, c.NotBefore.Sub(now))
		now = c.NotBefore
	}
	want := []time.Duration{
		5 * time.Second, 30 * time.Second, 3 * time.Minute, 15 * time.Minute, time.Hour, time.Hour, time.Hour, time.Hour,
	}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits (-want +got)\n%s", diff)
	}

	ok := deliver.Step{Outcome: deliver.Delivered, Tries: 1}
	var allowed []int64
	for range 5 {
		c, _ = c.After(ok, status(200), now, 0)
		allowed = append(allowed, c.Allowed)
	}
	if diff := cmp.Diff([]int64{2, 3, 4, 5, 6}, allowed); diff != "" || !c.FailingSince.IsZero() || c.Failures != 0 || !c.NotBefore.IsZero() {
		t.Errorf("after successes: %+v, and at once (-want +got)\n%s", c, diff)
	}
}

// Sixteen that fail at once are one failure of the endpoint more, not sixteen steps of its waits.
func TestFailuresThatWereUnderWayCountOnce(t *testing.T) {
	t.Parallel()
	c := deliver.Closed
	for range 16 {
		c, _ = fail(c, at)
	}
	if c.Failures != 5 || c.NotBefore != at.Add(5*time.Second) {
		t.Errorf("%+v, want 5 failures and 5 s", c)
	}
}

func TestAnEndpointIsDisabled(t *testing.T) {
	t.Parallel()
	gone := status(410)
	if _, why := deliver.Closed.After(deliver.NextStep(0, at, at, gone, 0), gone, at, 0); why != "its receiver answered 410 Gone" {
		t.Errorf("after 410: %q", why)
	}
	c, why := deliver.Closed, ""
	now := at
	for why == "" {
		c, why = fail(c, now)
		now = now.Add(time.Second)
		if c.NotBefore.After(now) {
			now = c.NotBefore
		}
	}
	if took := now.Sub(at); took < 72*time.Hour || took > 73*time.Hour+time.Minute {
		t.Errorf("disabled after %s, want three days", took)
	}
	if want := "nothing was accepted for three days; the last attempt: the receiver answered 500 Internal Server Error"; why != want {
		t.Errorf("why = %q, want %q", why, want)
	}
	// one that is accepted in between starts it anew
	c, _ = fail(deliver.Closed, at)
	c, _ = c.After(deliver.Step{Outcome: deliver.Delivered}, status(200), at.Add(71*time.Hour), 0)
	if _, why := fail(c, at.Add(73*time.Hour)); why != "" {
		t.Errorf("disabled, because %s, though something was accepted two hours before", why)
	}
	// a receiver that only ever says 429 is not one either
	c, _ = deliver.Closed.After(deliver.Step{Outcome: deliver.Throttled}, status(429), at, 0)
	if c.Failures != 0 || c.Allowed != 1 || c.NotBefore != at.Add(30*time.Second) {
		t.Errorf("after 429: %+v, want a pause and no failure", c)
	}
	if _, why := c.After(deliver.Step{Outcome: deliver.Throttled}, status(429), at.Add(72*time.Hour), 0); why == "" {
		t.Error("after three days of 429 it is not disabled")
	}
}

// docs/webhooks.md has the waits as a table.
func TestRetriesAndTheirTableAgree(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []time.Duration
	for _, row := range regexp.MustCompile(`(?m)^\| [0-9]+ \| ([0-9]+) (s|min|h) \|$`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		documented = append(documented, time.Duration(n)*map[string]time.Duration{"s": time.Second, "min": time.Minute, "h": time.Hour}[row[2]])
	}
	if diff := cmp.Diff(deliver.Retries, documented); diff != "" {
		t.Errorf("waits (-code +docs/webhooks.md)\n%s", diff)
	}
}
