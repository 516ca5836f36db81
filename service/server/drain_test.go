package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/servicetest"
)

// While it drains, a server says that it is not ready and closes each connection after its answer,
// and answers all else as before. It ends when the time is over.
func TestAServerThatIsToldToStopDrainsFirst(t *testing.T) {
	t.Parallel()
	asked, over := make(chan time.Duration), make(chan time.Time)
	s := servicetest.Start(t, servicetest.Options{Drain: 7 * time.Second, After: func(d time.Duration) <-chan time.Time {
		asked <- d
		return over
	}})
	s.ServesBeside()
	_, key := s.Account(t, "a@example.com")
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Server.Serve(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	call := func(method, path string) (status int, closes bool) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		defer res.Body.Close()
		if _, err := io.Copy(&said, res.Body); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Close
	}
	if status, closes := call("GET", "/readyz"); status != http.StatusOK || closes {
		t.Errorf("readyz before = %d, closes %t, want 200 on a connection that stays", status, closes)
	}
	stop()
	if d := <-asked; d != 7*time.Second {
		t.Errorf("it drains for %s, want 7s", d)
	}
	if status, closes := call("GET", "/readyz"); status != http.StatusServiceUnavailable || !closes || !strings.Contains(said.String(), "about to stop") {
		t.Errorf("readyz = %d, closes %t, %s, want 503, the end of the connection and why", status, closes, said.String())
	}
	for path, method := range map[string]string{"/_api/health": "GET", "/_api/license/issue": "POST"} {
		if status, closes := call(method, path); status != http.StatusOK || !closes {
			t.Errorf("%s %s = %d, closes %t, want 200 and the end of the connection", method, path, status, closes)
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("Serve = %v before the time was over", err)
	default:
	}
	close(over)
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

// A listener that fails is not drained: nobody could come.
func TestAFailureEndsWithoutADrain(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{Drain: time.Hour})
	s.ServesBeside()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Server.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v, want %v", err, net.ErrClosed)
	}
}
