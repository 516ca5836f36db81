//go:build e2e

package faults_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// acknowledged is what clients were told to be done.
type acknowledged struct {
	mu      sync.Mutex
	tokens  map[string]bool   // ids
	revoked map[string]string // id -> text
	enough  chan struct{}     // closed when the wanted number was reached
	left    int
}

func (a *acknowledged) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[id] = true
	a.count()
}

func (a *acknowledged) end(id, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked[id] = text
	a.count()
}

func (a *acknowledged) count() {
	if a.left--; a.left == 0 {
		close(a.enough)
	}
}

// work issues, refreshes and revokes until the service is gone.
func (a *acknowledged) work(ctx context.Context, t *testing.T, r *replica, key string) {
	for i := 0; ; i++ {
		issued, err := r.send(ctx, "POST", issuePath, key, nil, nil)
		if err != nil {
			return
		}
		if issued.status != http.StatusOK {
			t.Errorf("issue under load = %d %s", issued.status, issued.body)
			return
		}
		token, id := issued.Token(t)
		a.add(id)
		refreshed, err := r.send(ctx, "GET", refreshPath, token, nil, nil)
		if err != nil {
			return
		}
		if refreshed.status != http.StatusOK {
			t.Errorf("refresh under load = %d %s", refreshed.status, refreshed.body)
			return
		}
		_, id = refreshed.Token(t)
		a.add(id)
		if i%3 > 0 {
			continue
		}
		ended, err := r.revoke(ctx, key, token)
		if err != nil {
			return
		}
		if ended.status != http.StatusOK {
			t.Errorf("revoke under load = %d %s", ended.status, ended.body)
			return
		}
		a.end(idOf(t, token), token)
	}
}

// A process that is killed at a random moment under load, again and again: all that was acknowledged
// is there when it is started again, and the audit log is whole.
func TestNothingAcknowledgedIsLostWhenTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(*testing.T) string{
		"sqlite": sqliteFile, "postgres": func(t *testing.T) string { return postgrestest.New(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := install(t, database(t))
			all := &acknowledged{tokens: map[string]bool{}, revoked: map[string]string{}}
			for range *rounds {
				a := in.killed(1 + rand.IntN(400))
				in.wantAcknowledged(a)
				maps.Copy(all.tokens, a.tokens)
				maps.Copy(all.revoked, a.revoked)
			}
			in.wantAcknowledged(all) // of the first rounds too, after all that came then
			t.Logf("%d rounds, %d tokens acknowledged and there, %d of them revoked", *rounds, len(all.tokens), len(all.revoked))
		})
	}
}

// killed lets eight clients work and kills the service when so much was acknowledged.
func (in *installation) killed(after int) *acknowledged {
	in.t.Helper()
	r := in.serve()
	a := &acknowledged{tokens: map[string]bool{}, revoked: map[string]string{}, enough: make(chan struct{}), left: after}
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() { a.work(in.t.Context(), in.t, r, in.apiToken) })
	}
	<-a.enough
	r.kill()
	working.Wait()
	return a
}

// wantAcknowledged fails unless a service that starts now has all of it on record.
func (in *installation) wantAcknowledged(a *acknowledged) {
	in.t.Helper()
	in.wantWhole()
	r := in.serve()
	defer r.kill()
	there := in.recordsUntil(r, func(there map[string]record) bool {
		for id := range a.tokens {
			if there[id].ID == "" {
				return false
			}
		}
		return true
	})
	for id := range a.tokens {
		if there[id].ID == "" {
			in.t.Errorf("the acknowledged token %s is not on record", id)
		}
	}
	for id, text := range a.revoked {
		if there[id].Status != "revoked" {
			in.t.Errorf("the token %s whose revocation was acknowledged is %q", id, there[id].Status)
		}
		if got := r.refresh(text); got.status != http.StatusForbidden {
			in.t.Errorf("refresh of a token whose revocation was acknowledged = %d %s, want 403", got.status, got.body)
		}
	}
}
