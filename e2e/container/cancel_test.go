//go:build e2e

package container_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
)

// The worst moment to cancel: GitHub has not answered the write yet, and the optimizer has half a
// site on disk.
func TestACancelledRunStoresTheTokenAndLeavesTheSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.issue(t, "48h")
	s := w.licensed(t, old)
	s.inputs["optimizer-path"] = s.stuckOptimizer()
	before := tree(t, s.ws+"/dist")
	writing, answer := make(chan struct{}), make(chan struct{})
	w.github.FailNext("PUT /"+secretName, githubtest.Fault{OnArrive: func() { close(writing) }, Hold: answer})

	limit, end := context.WithTimeout(t.Context(), patience)
	defer end()
	ctx, cancel := context.WithCancel(limit)
	defer cancel()
	const half, noticed = "half of the site is written", "Cancelled by interrupt"
	log := newWatchedLog(half, noticed)
	halfWritten, cancelNoticed := log.event(half), log.event(noticed)
	wait := func(event <-chan struct{}, what string) {
		t.Helper()
		select {
		case <-event:
		case <-limit.Done():
			t.Fatalf("waited in vain for %s; log:\n%s", what, masked(log.String()))
		}
	}
	cmd := s.command(ctx, log)
	must(t, cmd.Start())
	wait(halfWritten, "half a site")
	wait(writing, "the write of the secret")
	cancel()
	wait(cancelNoticed, "the Action to notice")
	close(answer)
	_ = cmd.Wait() // the exit status is in the result

	r := s.result(cmd, log.String())
	r.wantExit(130)
	r.wantOutputs(map[string]string{"token-state": "refreshed", "refreshed": "true", "secret-updated": "true"})
	w.wantSuccessorStored(t, old)
	if tree(t, s.ws+"/dist") != before {
		t.Error("the site is not as it was")
	}
}

// stuckOptimizer builds an optimizer that writes half a site and hangs, for an image that has no
// shell, and gives its path in the workspace.
func (s *step) stuckOptimizer() string {
	s.t.Helper()
	name := filepath.Join(toolFolder, "stuck")
	build := exec.CommandContext(s.t.Context(), "go", "build", "-o", filepath.Join(s.ws, name), "./stuck")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build the stuck optimizer: %v\n%s", err, out)
	}
	giveAway(s.t, filepath.Join(s.ws, toolFolder))
	return name
}

// watchedLog is a log that tells when some texts appear in it.
type watchedLog struct {
	mu   sync.Mutex
	text strings.Builder
	seen map[string]chan struct{}
}

func newWatchedLog(texts ...string) *watchedLog {
	l := &watchedLog{seen: map[string]chan struct{}{}}
	for _, text := range texts {
		l.seen[text] = make(chan struct{})
	}
	return l
}

func (l *watchedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	for text, seen := range l.seen {
		if strings.Contains(l.text.String(), text) {
			close(seen)
			delete(l.seen, text)
		}
	}
	return len(p), nil
}

func (l *watchedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// event gives what is closed when the text appears. It is asked for before the log is written.
func (l *watchedLog) event(text string) <-chan struct{} { return l.seen[text] }
