package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
)

// brokenOnce is randomness that panics the first time that a value is sealed.
type brokenOnce struct{ met atomic.Bool }

func (b *brokenOnce) Read(p []byte) (int, error) {
	if b.met.CompareAndSwap(false, true) {
		panic("no randomness")
	}
	return rand.Read(p)
}

// The write has a goroutine of its own beside the optimizer, and each target has one: a panic there
// must end in the report, with the tokens of the App revoked and the other target written.
func TestAPanicInAWriteIsThatTargetsError(t *testing.T) {
	t.Parallel()
	j := newOrgJob(t).withApp(appPEM()).input("mode", "optimize").input("secret-targets", "dependabot/repository,repository")
	j.licensed(2 * dayLong)
	j.input("optimizer-path", j.write("fake-cli", "#!/bin/sh\nexit 3\n"))
	// the second target is held until the panic has come
	panicked := &brokenOnce{}
	held := make(chan struct{})
	j.github.FailNext("GET /actions/secrets/PAGEFLARE_TOKEN", githubtest.Fault{Hold: held})
	var log, stacks bytes.Buffer
	w := world{
		getenv: func(name string) string { return j.env[name] }, stdout: &log, stderr: &closer{next: &stacks, first: held}, http: newWorld().http,
		now: time.Now, rand: panicked,
	}
	if code := w.main(context.Background(), nil); code != 3 {
		t.Errorf("exit = %d, want that of the optimizer:\n%s", code, log.String())
	}
	const want = "the new token was not stored everywhere: internal error: no randomness: please report this"
	if !strings.Contains(log.String(), want) || !strings.Contains(j.read(filepath.Join("ws", reportName)), want) || !strings.Contains(stacks.String(), "Seal") {
		t.Errorf("want %q in log and report, and the stack:\n%s\n%s", want, log.String(), stacks.String())
	}
	if j.stored() == "" || j.holds("repos/acme/site/dependabot") != "" {
		t.Error("want the second target written, and the first not")
	}
	j.github.WantRevoked(t, 3)
}

// The optimizer's side breaks while the secret is being written: the token that was issued is
// stored all the same.
func TestAPanicBesideAWriteLosesNoToken(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	j.input("optimizer-path", j.write("fake-cli", "#!/bin/sh\nexit 3\n"))
	held := make(chan struct{})
	j.github.FailNext("GET /actions/secrets/PAGEFLARE_TOKEN", githubtest.Fault{Hold: held})
	out := &breaking{at: "optimizer ended", held: held}
	w := world{
		getenv: func(name string) string { return j.env[name] }, stdout: out, stderr: io.Discard, http: newWorld().http, now: time.Now, rand: rand.Reader,
	}
	if code := w.main(context.Background(), nil); code != 1 || !strings.Contains(out.String(), "internal error: no room") {
		t.Errorf("exit = %d, want 1 and the error:\n%s", code, out.String())
	}
	if j.stored() == "" {
		t.Error("the token that was issued is not stored")
	}
}

// breaking panics once, at a text, and lets go of what was held.
type breaking struct {
	bytes.Buffer
	at   string
	held chan struct{}
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.held != nil && strings.Contains(string(p), b.at) {
		close(b.held)
		b.held = nil
		panic("no room")
	}
	return b.Buffer.Write(p)
}

// closer closes a channel at the first write.
type closer struct {
	next  *bytes.Buffer
	first chan struct{}
}

func (c *closer) Write(p []byte) (int, error) {
	if c.first != nil {
		close(c.first)
		c.first = nil
	}
	return c.next.Write(p)
}
