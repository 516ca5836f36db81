//go:build e2e

package faults_test

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// heard is what a receiver of webhooks was told.
type heard struct {
	*httptest.Server
	mu        sync.Mutex
	events    map[string]string // jti -> id of the event
	attempts  map[string]int    // id of the event -> how often it came
	conflicts []string
	more      chan struct{} // gets a value when something came
}

// hear answers deliveries, one of seven with an error after it took them.
func hear(t *testing.T) *heard {
	t.Helper()
	h := &heard{events: map[string]string{}, attempts: map[string]int{}, more: make(chan struct{}, 1)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var event struct {
			ID   string `json:"id"`
			Data struct {
				JTI string `json:"jti"`
			} `json:"data"`
		}
		if err != nil || json.Unmarshal(body, &event) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.attempts[event.ID]++
		if before := h.events[event.Data.JTI]; before != "" && before != event.ID {
			h.conflicts = append(h.conflicts, event.Data.JTI)
		}
		h.events[event.Data.JTI] = event.ID
		select {
		case h.more <- struct{}{}:
		default:
		}
		if h.attempts[event.ID] == 1 && rand.IntN(7) == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// missing is how many of the tokens the receiver has not heard of, and one of them.
func (h *heard) missing(ids map[string]bool) (n int, one string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range ids {
		if h.events[id] == "" {
			n, one = n+1, id
		}
	}
	return n, one
}

// A process that is killed at random moments, between a claim and its answer, between an answer and
// its record: the receiver hears of all that was acknowledged, and what it hears twice has the same
// id.
func TestNoEventIsLostWhenTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(*testing.T) string{
		"sqlite": sqliteFile, "postgres": func(t *testing.T) string { return postgrestest.New(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := install(t, database(t))
			in.settings = []string{"LICENSE_WEBHOOK_ALLOW=127.0.0.0/8"}
			h := hear(t)
			in.ok("webhook", "add", "--url", h.URL, "--event", "license.issued", "--event", "license.refreshed")
			acknowledged := map[string]bool{}
			for range *rounds {
				for id := range in.killed(1 + rand.IntN(400)).tokens {
					acknowledged[id] = true
				}
			}
			r := in.serve()
			begun := time.Now()
			late := time.After(5 * time.Minute)
			for n, one := h.missing(acknowledged); n > 0; n, one = h.missing(acknowledged) {
				select {
				case <-h.more:
				case <-late:
					t.Fatalf("the receiver has not heard of %d of %d tokens, such as %s; the end of the log:\n%s", n, len(acknowledged), one, tail(r.said()))
				}
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			twice := 0
			for _, n := range h.attempts {
				twice += n - 1
			}
			if len(h.conflicts) > 0 {
				t.Errorf("%d tokens have events with two ids, such as %s", len(h.conflicts), h.conflicts[0])
			}
			t.Logf("%d rounds, %d acknowledged, 0 lost, %d heard more than once; all heard %s after the last start", *rounds, len(acknowledged), twice, time.Since(begun).Round(time.Second))
		})
	}
}
