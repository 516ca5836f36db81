package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

// Many jobs of one matrix may come here together, with the same old token and, since a refresh is
// idempotent, the same new one. One write is enough; GitHub limits writes to about 80 a minute. So
// each job waits for a random time, and then leaves the secret alone when somebody wrote it since
// this job was given its secrets: then it holds the new token, or a newer one. By whose clock,
// package secret minds.

// spread is the longest random wait before a write.
const spread = 4 * time.Second

// wait is a random time up to the spread. Short times are rare, the more so the shorter: of many
// jobs only a few begin before the first has finished, however many there are, up to thousands.
// (Exponential feedback timers: RFC 5740, 5.1.)
func wait(spread time.Duration, u float64) time.Duration {
	const steepness = 6
	return time.Duration(float64(spread) / steepness * math.Log1p(u*math.Expm1(steepness)))
}

// takeTurn waits for this job's turn to write: not at all when it is alone, and not long when
// nobody says how many there are. A job that is being cancelled writes at once.
func (r *run) takeTurn(ctx, finish context.Context) {
	longest := r.spread
	switch r.cfg.Jobs {
	case 0:
		longest /= 4
	case 1:
		return
	}
	stop := make(chan struct{})
	defer context.AfterFunc(ctx, func() { close(stop) })()
	timer := time.NewTimer(wait(longest, rand.Float64()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	case <-finish.Done():
	}
}

// parseJobs reads the number of jobs in the matrix, which action.yml fills in; empty is unknown.
func parseJobs(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number of jobs; leave this input out, the runner fills it in", s)
	}
	return n, nil
}

// longestJob is how long a job may run at most, on a runner of one's own.
// https://docs.github.com/en/actions/reference/limits
const longestJob = 5 * 24 * time.Hour

// jobStart is when this job was given its secrets: the runner writes the event right after it got
// the job. Without an event, or with one that has no honest time (nektos/act copies it with none; a
// clock that was set back since leaves one to come), now: then a write too many is made, and none
// is left out. GitHub tells times in whole seconds, so a write within the same second counts as
// before.
func jobStart(getenv func(string) string, now time.Time) time.Time {
	info, err := os.Stat(getenv("GITHUB_EVENT_PATH"))
	if err != nil || now.Sub(info.ModTime()) > longestJob || info.ModTime().After(now) {
		return now
	}
	return info.ModTime()
}
