package main

import (
	"bufio"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// Who reads the log may go away, as a terminal, a pipe or a supervisor does. The service goes on.
func TestTheServiceOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	cmd := b.command("serve", "--listen", "127.0.0.1:0")
	read, write, err := os.Pipe()
	must(t, err)
	cmd.Stderr = write
	must(t, cmd.Start())
	must(t, write.Close())
	r := &running{cmd: cmd, ended: make(chan struct{})}
	close(r.ended)
	t.Cleanup(r.kill)
	lines := bufio.NewScanner(read)
	for r.addr == "" && lines.Scan() {
		if m := addrInLog.FindStringSubmatch(lines.Text()); m != nil {
			r.addr = m[1]
		}
	}
	must(t, read.Close())
	for range 3 { // each writes a line to the log
		r.wantCall(t, "POST", "/_api/license/issue", "", 401)
	}
	exit, _, err := r.stop(syscall.SIGTERM)
	must(t, err)
	if exit != exitOK {
		t.Errorf("exit = %d, want 0", exit)
	}
}

func TestAClosedTerminalEndsTheServiceInGoodOrder(t *testing.T) {
	t.Parallel()
	// what this process does not ignore, a program that it starts does not either: nor when the
	// tests run under nohup
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(heard) })
	exit, log, err := newBox(t).serve().stop(syscall.SIGHUP)
	must(t, err)
	if exit != exitOK || !strings.Contains(log, "msg=stopped") {
		t.Errorf("exit after SIGHUP = %d, want 0 and a last line in the log:\n%s", exit, log)
	}
}

func TestNohupIsHonoured(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	cmd := b.command("serve", "--listen", "127.0.0.1:0")
	cmd.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	r, err := start(cmd)
	must(t, err)
	t.Cleanup(r.kill)
	must(t, cmd.Process.Signal(syscall.SIGHUP))
	r.wantCall(t, "GET", "/_api/health", "", 200)
	exit, _, err := r.stop(syscall.SIGTERM)
	must(t, err)
	if exit != exitOK {
		t.Errorf("exit = %d, want 0", exit)
	}
}

// Somebody who sends a second signal does not want to wait for proxies.
func TestASecondSignalCutsADrainShort(t *testing.T) {
	t.Parallel()
	r := newBox(t).serve("--drain", "10m")
	must(t, r.cmd.Process.Signal(syscall.SIGTERM))
	for status := 200; status != 503; {
		var err error
		status, _, err = r.call(t.Context(), "GET", "/readyz", "")
		must(t, err)
	}
	exit, log, err := r.stop(syscall.SIGTERM)
	must(t, err)
	if exit != exitOK || !strings.Contains(log, "draining was cut short") || !strings.Contains(log, "msg=stopped") {
		t.Errorf("exit after a second SIGTERM = %d, want 0 and both lines in the log:\n%s", exit, log)
	}
}
