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
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
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

func TestAMatrixOf256JobsWritesOneTokenAFewTimes(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	old := j.licensed(2 * dayLong)
	delete(j.env, asProgram)
	j.input("mode", "refresh-only").input("job-total", "256")
	event := j.write("event.json", "{}")
	start := time.Now().Add(-2 * time.Second).Truncate(time.Second) // the runner wrote it when the jobs began
	must(t, os.Chtimes(event, start, start))
	const jobs = 256
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
		env["GITHUB_EVENT_PATH"], env["GITHUB_WORKSPACE"] = event, dir
		wg.Go(func() {
			var log bytes.Buffer
			w := world{
				getenv: func(name string) string { return env[name] }, stdout: &log, stderr: &log, http: client, now: time.Now, rand: rand.Reader,
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
	if r.report.Secret.Targets[0].Outcome != outcomeElsewhere {
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
