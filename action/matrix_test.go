package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pageflare/ci/github/githubtest"
)

func TestWaitsAreWithinTheSpreadAndSeldomShort(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float64Range(0, 1).Draw(t, "a"), rapid.Float64Range(0, 1).Draw(t, "b")
		if got := wait(spread, a); got < 0 || got > spread {
			t.Fatalf("wait(%v) = %v, outside of 0 to %v", a, got, spread)
		}
		if a < b && wait(spread, a) > wait(spread, b) {
			t.Fatalf("wait(%v) > wait(%v)", a, b)
		}
	})
	if got := wait(spread, 1.0/256); got < spread/8 {
		t.Errorf("the first of 256 jobs waits %v, want time for the others to see its write", got)
	}
	if wait(spread, 0) != 0 {
		t.Error("nobody begins at once")
	}
}

// A matrix of jobs that begin together: their event is of that time by the clock of their runner,
// and clock is what that says now.
func matrix(t *testing.T, jobs int, event time.Time, clock func() time.Time) {
	t.Helper()
	j := newJob(t)
	old := j.licensed(2 * dayLong)
	delete(j.env, asProgram)
	j.input("mode", "refresh-only").input("job-total", strconv.Itoa(jobs))
	eventFile := j.write("event.json", "{}")
	must(t, os.Chtimes(eventFile, event, event))
	results := make([]string, jobs)
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: jobs}}
	t.Cleanup(client.CloseIdleConnections)
	for i := range jobs {
		env := maps.Clone(j.env)
		dir := j.mkdir(fmt.Sprintf("job%d", i))
		for name, file := range map[string]string{"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary", "GITHUB_ENV": "env"} {
			env[name] = filepath.Join(dir, file)
			must(t, os.WriteFile(env[name], nil, 0o600))
		}
		env["GITHUB_EVENT_PATH"], env["GITHUB_WORKSPACE"] = eventFile, dir
		wg.Go(func() {
			var log bytes.Buffer
			w := world{
				getenv: func(name string) string { return env[name] }, stdout: &log, stderr: &log, http: client, now: clock, rand: rand.Reader,
				spread: spread,
			}
			if code := w.main(context.Background(), nil); code != 0 {
				results[i] = log.String()
			}
		})
	}
	wg.Wait()
	for _, log := range results {
		if log != "" {
			t.Fatalf("a job failed:\n%s", masked(log))
		}
	}
	writes := 0
	for _, q := range j.github.Requests() {
		if q.Method == "PUT" {
			writes++
		}
	}
	if writes == 0 || writes > 8 {
		t.Errorf("%d jobs made %d writes, want a few", jobs, writes)
	}
	if n := tokenCount(j); n != 2 {
		t.Errorf("%d tokens were issued, want the old one and one new", n)
	}
	if s := j.stored(); s == "" || s == old || strings.Count(s, ".") != 2 {
		t.Error("the secret does not hold the new token")
	}
}

func TestAMatrixOf256JobsWritesOneTokenAFewTimes(t *testing.T) {
	t.Parallel()
	matrix(t, 256, time.Now().Add(-2*time.Second).Truncate(time.Second), time.Now) // the runner wrote the event when the jobs began
}

func TestAMatrixOnARunnerWhoseClockIsWrongWritesAFewTimes(t *testing.T) {
	t.Parallel()
	for about, ahead := range map[string]time.Duration{"ahead": 8 * time.Second, "behind": -2 * time.Minute} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			clock := func() time.Time { return time.Now().Add(ahead) }
			matrix(t, 60, clock().Add(-5*time.Second), clock)
		})
	}
	t.Run("set back since the jobs began", func(t *testing.T) {
		t.Parallel()
		matrix(t, 60, time.Now().Add(8*time.Second), time.Now)
	})
}

// GitHub's clock is two minutes before the runner's, so what somebody stored a minute before the
// job has a later time than its start.
func TestASecretThatWasStoredBeforeTheJobIsWrittenWhateverTheClockSays(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	var past atomic.Int64
	past.Store(int64(time.Minute))
	j.github = githubtest.Start(t, githubtest.Config{
		Repositories: []githubtest.Repository{{ID: 1296269, Owner: "acme", Name: "site"}},
		Tokens:       []githubtest.Token{{Value: writerPAT, Permissions: map[string]string{"secrets": "write"}}},
		Now:          func() time.Time { return time.Now().Add(2*time.Minute - time.Duration(past.Load())) },
	})
	j.env["GITHUB_API_URL"] = j.github.URL()
	j.github.SetSecret("repos/acme/site/actions", "PAGEFLARE_TOKEN", "by hand", githubtest.Access{})
	past.Store(0)
	j.env["GITHUB_EVENT_PATH"] = j.write("event.json", "{}")
	r := j.input("mode", "refresh-only").run()
	r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "true"})
	if s := j.stored(); s == "by hand" || s == "" {
		t.Errorf("the fresh token was dropped:\n%s", r.log)
	}
}

func TestASecretThatAnotherJobWroteIsLeftAlone(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	event := j.write("event.json", "{}")
	j.env["GITHUB_EVENT_PATH"] = event
	past := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(event, past, past))
	j.run().wantOutputs(t, map[string]string{"secret-updated": "true"})
	must(t, os.Truncate(filepath.Join(j.dir, "output"), 0))
	r := j.run() // a job that began together with the first one
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "false"})
	if r.report.Secret.Targets[0].Outcome != "stored by another job" {
		t.Errorf("report = %+v", r.report.Secret)
	}
	must(t, os.Chtimes(event, time.Unix(0, 0), time.Unix(0, 0))) // a copy without a time
	must(t, os.Truncate(filepath.Join(j.dir, "output"), 0))
	j.run().wantOutputs(t, map[string]string{"secret-updated": "true"})
	future := time.Now().Add(time.Hour)
	must(t, os.Chtimes(event, future, future))
	must(t, os.Truncate(filepath.Join(j.dir, "output"), 0))
	j.run().wantOutputs(t, map[string]string{"secret-updated": "true"}) // a job of a later run
}
