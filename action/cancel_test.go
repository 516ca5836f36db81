package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
)

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

// cancelAt starts the job, waits for the event, and sends SIGINT and then, when the job has
// noticed, SIGTERM, as a runner does. cancelled is called between the two.
func (j *job) cancelAt(event, cancelled func()) result {
	j.t.Helper()
	cmd, log := j.command(j.t.Context())
	noticed := make(chan struct{})
	w := &watcher{next: log, text: "Cancelled by interrupt: ", seen: func() { close(noticed) }}
	cmd.Stdout, cmd.Stderr = w, w
	must(j.t, cmd.Start())
	event()
	must(j.t, cmd.Process.Signal(os.Interrupt))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }() // the exit status is in the result
	select {
	case <-noticed:
		if cancelled != nil {
			cancelled()
		}
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may be gone by now
	case <-ended:
	}
	<-ended
	return j.result(cmd, log)
}

// watcher calls seen once, when the text was written.
type watcher struct {
	next *bytes.Buffer
	text string
	seen func()
}

func (w *watcher) Write(p []byte) (int, error) {
	n, err := w.next.Write(p)
	if w.seen != nil && strings.Contains(w.next.String(), w.text) {
		w.seen()
		w.seen = nil
	}
	return n, err
}

func TestCancelledDuringTheRefreshStoresTheTokenThatWasIssued(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	asked, answer := make(chan struct{}), make(chan struct{})
	j.api(func(w http.ResponseWriter, req *http.Request) {
		close(asked)
		select {
		case <-answer:
		case <-req.Context().Done(): // the job gave up: the test fails, and does not hang
		}
		j.service.ServeHTTP(w, req)
	})
	r := j.cancelAt(func() { <-asked }, func() { close(answer) })
	r.wantExit(t, 128+int(syscall.SIGINT))
	r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "true"})
	j.wantWhole(false)
	if j.stored() == "" {
		t.Error("the issued token is lost")
	}
}

func TestCancelledDuringTheOptimizerLeavesTheSourceWhole(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	before := tree(t, filepath.Join(j.ws, "dist"))
	started := filepath.Join(j.mkdir("bin"), "started")
	must(t, mkfifo(started))
	// it writes half a site and then hangs; it can read the FIFO, and may not write to it
	j.input("optimizer-path", j.fakeCLI("#!/bin/sh\nmkdir -p \"$4\"; echo half >\"$4/index.html\"\ncat "+started+" >/dev/null\nexec sleep 600\n"))
	r := j.cancelAt(func() {
		if err := os.WriteFile(started, []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
	}, nil)
	r.wantExit(t, 128+int(syscall.SIGINT))
	r.wantOutputs(t, map[string]string{"secret-updated": "true"})
	r.wantLog(t, "cancelled by interrupt")
	j.wantWhole(false)
	for name, text := range tree(t, filepath.Join(j.ws, "dist")) {
		if before[name] != text {
			t.Errorf("%s changed", name)
		}
	}
}

func TestCancelledDuringTheWriteFinishesIt(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	arrived, hold := make(chan struct{}), make(chan struct{})
	j.github.FailNext("PUT /PAGEFLARE_TOKEN", githubtest.Fault{OnArrive: func() { close(arrived) }, Hold: hold})
	r := j.input("mode", "refresh-only").cancelAt(func() { <-arrived }, func() { close(hold) })
	r.wantExit(t, 128+int(syscall.SIGINT))
	r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "true"})
	if j.stored() == "" {
		t.Error("the issued token is lost")
	}
}

// The pause that GitHub asks for is longer than the run has: it is cut, and the write is tried once
// more.
func TestCancelledInAPauseTriesOnceMore(t *testing.T) {
	t.Parallel()
	for about, times := range map[string]int{"and GitHub is well again": 1, "and GitHub still has trouble": -1} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(2 * dayLong)
			var first sync.Once
			answered := make(chan struct{})
			j.github.FailNext("PUT /PAGEFLARE_TOKEN", githubtest.Fault{
				Status: 503, Header: map[string]string{"Retry-After": "20"}, Times: times, OnArrive: func() { first.Do(func() { close(answered) }) },
			})
			r := j.input("mode", "refresh-only").cancelAt(func() { <-answered }, nil)
			r.wantExit(t, 128+int(syscall.SIGINT))
			puts := 0
			for _, q := range j.github.Requests() {
				if q.Method == "PUT" {
					puts++
				}
			}
			if puts != 2 || (j.stored() != "") != (times == 1) {
				t.Errorf("%d writes were tried, stored: %t, want a second try:\n%s", puts, j.stored() != "", r.log)
			}
			if times < 0 {
				r.wantLog(t, "GitHub has trouble (503): Service Unavailable")
			}
			if strings.Contains(r.log, "stopped before") || strings.Contains(r.log, "context canceled") {
				t.Errorf("the log says that GitHub did not answer:\n%s", r.log)
			}
		})
	}
}

func TestCancelledWhileOneTargetFailsStoresTheOther(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t)
	j.licensed(2 * dayLong)
	arrived, hold := make(chan struct{}), make(chan struct{})
	var first sync.Once
	j.github.FailNext("GET /codespaces/secrets/public-key", githubtest.Fault{Status: 503, Times: -1, OnArrive: func() { first.Do(func() { close(arrived) }) }})
	j.github.FailNext("GET /actions/secrets/PAGEFLARE_TOKEN", githubtest.Fault{Hold: hold})
	r := j.input("secret-targets", "codespaces/repository,repository").cancelAt(func() { <-arrived }, func() { close(hold) })
	r.wantExit(t, 128+int(syscall.SIGINT))
	r.wantLog(t, "was not stored everywhere", "GitHub has trouble (503)")
	if j.stored() == "" {
		t.Errorf("the healthy target was not written:\n%s", r.log)
	}
}

func TestCancelledBeforeAnythingWasDone(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	gone := make(chan struct{})
	asked := make(chan struct{})
	j.api(func(_ http.ResponseWriter, req *http.Request) {
		close(asked)
		<-req.Context().Done() // an API that never answers: the grace ends the call
		close(gone)
	})
	r := j.cancelAt(func() { <-asked }, nil)
	<-gone
	r.wantExit(t, 128+int(syscall.SIGINT))
	r.wantOutputs(t, map[string]string{"refreshed": "false", "secret-updated": "false"})
	if !strings.Contains(r.log, "cancelled by interrupt") {
		t.Errorf("the log does not say why:\n%s", r.log)
	}
	j.wantWhole(false)
}
