package optimize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	maxStdout    = 64 << 20
	keptStderr   = 64 << 10
	defaultGrace = 2 * time.Second
)

var errTooMuch = errors.New("printed too much on its standard output")

// outcome is how the CLI ended.
type outcome struct {
	code   int // 128 + n for signal n
	signal syscall.Signal
	stdout []byte
	stderr string
}

// execute runs the CLI once, from the folder source into the folder staging, configured by the file
// config if there is one. The error is about us (no start, cancelled, too much output); what the
// CLI thinks of the site is in the outcome.
func (p *Plan) execute(ctx context.Context, home, source, staging, config, token string) (outcome, error) {
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stdout := &limited{max: p.maxStdout, full: func() { stop(errTooMuch) }}
	stderr := &tail{max: keptStderr}

	cmd := exec.CommandContext(run, p.cfg.Binary, p.words(source, staging, config)...)
	cmd.Dir = home // some passes write into the working folder, which must not be the workspace
	cmd.Env = p.environ(home, token)
	cmd.Stdout, cmd.Stderr = stdout, io.MultiWriter(stderr, p.log)
	cmd.SysProcAttr = childAttr()
	cmd.Cancel = func() error { return signalGroup(cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = p.cfg.Grace
	if cmd.WaitDelay <= 0 {
		cmd.WaitDelay = defaultGrace
	}
	box := p.sandbox(home, source, staging)
	var before trace
	switch err := p.trySandbox(box); {
	case p.unconfined:
		box = nil
	case err != nil:
		p.logf("the optimizer runs without Landlock (%v); the workspace is compared before and after", err)
		before, box = traceOf(p.Workspace, p.Source, staging), nil
	}
	err := startAndWait(cmd, box)
	if before != nil {
		if path := before.changed(traceOf(p.Workspace, p.Source, staging)); path != "" && ctx.Err() == nil {
			return outcome{}, escaped(p.Workspace, path)
		}
	}
	switch {
	case ctx.Err() != nil:
		return outcome{}, fmt.Errorf("optimizer stopped: %w", ctx.Err())
	case errors.Is(context.Cause(run), errTooMuch):
		return outcome{}, &ExitError{Code: 1, Message: fmt.Sprintf("printed more than %d bytes on its standard output", p.maxStdout)}
	case cmd.ProcessState == nil:
		hint := ""
		if errors.Is(err, syscall.ENOEXEC) {
			hint = fmt.Sprintf("; is it built for this machine (%s)?", runtime.GOARCH)
		}
		return outcome{}, fmt.Errorf("start optimizer %q: %w%s", p.cfg.Binary, reason(err), hint)
	}
	out := outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.buf.Bytes(), stderr: stderr.String()}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		out.signal = ws.Signal()
		out.code = 128 + int(out.signal)
	}
	return out, nil
}

func (p *Plan) words(source, staging, config string) []string {
	words := []string{"optimize", source, "--output", staging, "--json", "--no-browser"}
	if config == "" {
		return append(words, p.args...)
	}
	rest, _ := cutConfig(p.args)
	return append(append(words, "--config", config), rest...)
}

// trySandbox enters the sandbox on a thread of its own, which ends: whether the kernel lets it.
func (p *Plan) trySandbox(box *sandbox) error {
	if p.noLandlock {
		return errNoLandlock
	}
	return onThread(box.enter)
}

// onThread runs f on a thread that has given up rights, and that ends with its goroutine.
func onThread(f func() error) error {
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := confine(); err != nil {
			ended <- fmt.Errorf("keep it from reading the memory of the Action: %w: let the seccomp profile of the container allow prctl and capset", err)
			return
		}
		ended <- f()
	}()
	return <-ended
}

// startAndWait stays on one thread, since the kernel's promise to kill the child is bound to the
// thread that started it. What the CLI started and left behind ends with it. box is nil where the
// kernel cannot confine it.
func startAndWait(cmd *exec.Cmd, box *sandbox) error {
	return onThread(func() error {
		if box != nil {
			if err := box.enter(); err != nil {
				return err
			}
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		err := cmd.Wait()
		_ = signalGroup(cmd.Process.Pid, syscall.SIGKILL) // mostly there is nobody left
		return err
	})
}

// failure says what the CLI's end means when there is no result.
func (o outcome) failure(token string) *ExitError {
	message := Unfold(o.stderr)
	switch {
	case o.signal == syscall.SIGKILL:
		message = "killed by SIGKILL, as the kernel does when memory runs out; give the job more memory or optimize fewer files at once"
	case o.signal != 0:
		message = strings.TrimSuffix(fmt.Sprintf("killed by signal %d (%s): %s", int(o.signal), o.signal, message), ": ")
	case message == "":
		message = "it said nothing on stderr"
	case strings.Contains(message, syscall.ENOSPC.Error()) || strings.Contains(message, "No space left on device"):
		message = strings.TrimRight(message, ".") + "; " + remedyForFull
	}
	if token != "" {
		message = strings.ReplaceAll(message, token, "***")
	}
	return &ExitError{Code: max(o.code, 1), Message: message}
}

// limited keeps what is written up to max bytes, then calls full and drops the rest.
type limited struct {
	buf  bytes.Buffer
	max  int
	full func()
}

func (l *limited) Write(b []byte) (int, error) {
	if l.buf.Len()+len(b) > l.max {
		l.full()
		return len(b), nil
	}
	return l.buf.Write(b)
}

// tail keeps the last max bytes.
type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string { return strings.ToValidUTF8(string(t.buf), "?") }
