package command_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/command"
)

// RFC 8628, 3.5: after each slow_down, all further polls are five seconds further apart.
func TestEachSlowDownMovesPollsFiveSecondsApart(t *testing.T) {
	t.Parallel()
	answers := []string{"authorization_pending", "slow_down", "authorization_pending", "slow_down", ""}
	var polls atomic.Int32
	var access atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/auth/device/code"):
			fmt.Fprintf(w, `{"device_code":"x","user_code":"AAAA-BBBB","verification_uri":"http://%s/device","expires_in":600,"interval":5}`, r.Host)
		case strings.HasSuffix(r.URL.Path, "/auth/device/token"):
			if said := answers[polls.Add(1)-1]; said != "" {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"error":%q}`, said)
				return
			}
			fmt.Fprint(w, `{"access_token":"pf_lt_secret"}`)
		default: // the login itself is done
			access.Store(r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"code":"no_active_license","message":"ended"}`)
		}
	}))
	t.Cleanup(server.Close)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var waits []time.Duration
	home := t.TempDir()
	err := command.Run(t.Context(), command.Config{
		Getenv: func(name string) string { return map[string]string{"HOME": home}[name] },
		Stdout: io.Discard, Stderr: io.Discard, HTTP: server.Client(), UserAgent: "test/1", Version: "test", VendorAPI: server.URL + "/_api",
		Trusting: func(c *http.Client, _ string) (*http.Client, error) { return c, nil },
		Now:      func() time.Time { return now },
		Wait: func(_ context.Context, d time.Duration) error {
			waits, now = append(waits, d), now.Add(d)
			return nil
		},
	}, []string{"login"})
	want := []time.Duration{5 * time.Second, 5 * time.Second, 10 * time.Second, 10 * time.Second, 15 * time.Second}
	if diff := cmp.Diff(want, waits); access.Load() != "Bearer pf_lt_secret" || diff != "" {
		t.Errorf("login = %v with %v, waits (-want +got):\n%s", err, access.Load(), diff)
	}
}

func TestAMistakeOfTheCallerIsAUsageError(t *testing.T) {
	t.Parallel()
	err := command.Run(t.Context(), command.Config{
		Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard, HTTP: &http.Client{}, Now: time.Now,
		Trusting: func(c *http.Client, _ string) (*http.Client, error) { return c, nil },
	}, []string{"token", "show"})
	if !errors.As(err, new(command.UsageError)) || !strings.Contains(err.Error(), "set HOME or XDG_CONFIG_HOME") {
		t.Errorf("token show without a home = %v, want a UsageError", err)
	}
}
