package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const idleConnections = 10_000

// TestTenThousandIdleConnectionsDisturbNobody: `make bench` tells what they cost.
func TestTenThousandIdleConnectionsDisturbNobody(t *testing.T) {
	t.Parallel()
	var files syscall.Rlimit // which Go has raised as far as it may, here and in the service
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	if files.Cur < idleConnections+200 {
		t.Fatalf("%d open files are allowed, %d are needed: raise the hard limit (ulimit -Hn)", files.Cur, idleConnections+200)
	}
	b := newBox(t)
	b.env["LICENSE_METRICS_LISTEN"] = "127.0.0.1:0"
	key := mustMember(t, b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "api_token")
	r := b.serve()
	idle := connectIdle(t, r.addr, idleConnections)

	metrics := &running{addr: r.metrics}
	if got := metrics.wantCall(t, "GET", "/metrics", "", 200); !strings.Contains(got, fmt.Sprintf("\npageflare_license_connections{state=\"idle\"} %d\n", idleConnections)) {
		t.Errorf("the service does not count %d idle connections:\n%s", idleConnections, got)
	}
	issued := r.wantCall(t, "POST", "/_api/license/issue", key, 200)
	r.wantCall(t, "GET", "/_api/license/refresh", mustMember(t, issued, "token"), 200)
	r.wantCall(t, "GET", "/readyz", "", 200)
	for i := 0; i < len(idle); i += 1000 {
		must(t, askHealthOn(idle[i]))
	}
	if got := metrics.wantCall(t, "GET", "/metrics", "", 200); strings.Contains(got, `status="5`) || !strings.Contains(got, "\npageflare_license_panics_total 0\n") {
		t.Errorf("metrics:\n%s", got)
	}
	if exit, log, err := r.stop(syscall.SIGTERM); exit != exitOK || err != nil || strings.Contains(log, "level=ERROR") {
		t.Errorf("exit = %d, %v, want 0 and no error in the log, which has %d bytes", exit, err, len(log))
	}
}

// connectIdle opens connections that have asked once and then fall silent, until the test ends.
func connectIdle(t *testing.T, addr string, n int) []net.Conn {
	t.Helper()
	conns, errs := make([]net.Conn, n), make([]error, 32)
	var all sync.WaitGroup
	for worker := range errs {
		all.Go(func() {
			for i := worker; i < n && errs[worker] == nil; i += len(errs) {
				conns[i], errs[worker] = connectAndAsk(t.Context(), addr)
			}
		})
	}
	all.Wait()
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	})
	for _, err := range errs {
		must(t, err)
	}
	return conns
}

func connectAndAsk(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return c, askHealthOn(c)
}

// askHealthOn asks on a connection that stays open.
func askHealthOn(c net.Conn) error {
	if _, err := io.WriteString(c, "GET /_api/health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("health = %s, %w", res.Status, err)
	}
	return nil
}
