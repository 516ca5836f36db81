package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// idleConnections are held open at once: each has asked once and then says nothing.
const idleConnections = 10_000

// idleMemory is the resident set of a service before and while it holds so many idle connections. The service is one of its own: after a
// load, the heap of another would have room for them and the difference would say nothing.
func idleMemory(ctx context.Context, temp, issuer, service string) (before, with int64, err error) {
	if err := allowFiles(idleConnections); err != nil {
		return 0, 0, err
	}
	home := filepath.Join(temp, "idle")
	if err := os.Mkdir(home, 0o700); err != nil {
		return 0, 0, err
	}
	p, err := start(ctx, environment(home, issuer), service, "serve")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	first, err := connectIdle(ctx, p.addr, 1) // what is made once, for the first request, is not of the connections
	defer closeAll(first)
	if err != nil {
		return 0, 0, err
	}
	if before, err = residentMemory(p.cmd.Process.Pid); err != nil {
		return 0, 0, err
	}
	idle, err := connectIdle(ctx, p.addr, idleConnections)
	defer closeAll(idle)
	if err != nil {
		return 0, 0, err
	}
	if err := askHealth(idle[0]); err != nil { // it still answers, and has not closed the oldest
		return 0, 0, err
	}
	with, err = residentMemory(p.cmd.Process.Pid)
	return before, with, err
}

// allowFiles tells whether n connections can be open here. Go has raised the soft limit as far as it may.
func allowFiles(n uint64) error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	if need := n + 200; files.Cur < need {
		return fmt.Errorf("%d open files are allowed, %d are needed: raise the hard limit (ulimit -Hn)", files.Cur, need)
	}
	return nil
}

// connectIdle opens n connections that have each had one answer. Those that it opened come back with an error too.
func connectIdle(ctx context.Context, addr string, n int) ([]net.Conn, error) {
	conns, errs := make([]net.Conn, n), make([]error, 32)
	var wg sync.WaitGroup
	for worker := range errs {
		wg.Go(func() {
			var d net.Dialer
			for i := worker; i < n && errs[worker] == nil; i += len(errs) {
				c, err := d.DialContext(ctx, "tcp", addr)
				if err == nil {
					conns[i], err = c, askHealth(c)
				}
				errs[worker] = err
			}
		})
	}
	wg.Wait()
	return conns, errors.Join(errs...)
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// askHealth asks on a connection that stays open.
func askHealth(c net.Conn) error {
	if _, err := io.WriteString(c, "GET /_api/health HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("health on an idle connection: %s", res.Status)
	}
	return nil
}
