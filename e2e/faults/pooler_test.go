//go:build e2e

package faults_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// A pooler in transaction mode is restarted under load: what was acknowledged is there, and the
// service goes on with the next pooler.
func TestAPoolerRestarts(t *testing.T) {
	t.Parallel()
	s := server(t, postgrestest.Options{Durable: true})
	p, err := s.Pool(t.Context())
	must(t, err)
	in := install(t, s.URL("postgres"))
	l := newLink(t, p.URL("postgres")) // the address stays when another pooler takes over
	r := in.serveOn(l.url)
	a := &acknowledged{tokens: map[string]bool{}, revoked: map[string]string{}, enough: make(chan struct{}), left: 100}
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() { a.workThrough(ctx, t, r, in.apiToken) })
	}
	<-a.enough
	must(t, p.Stop())
	until503(t, r, "POST", issuePath, in.apiToken)
	next, err := s.Pool(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, next.Stop()) })
	l.moveTo(next.URL("postgres"))
	t.Logf("a pooler was restarted: issues again after %s", r.recovers(in.apiToken).Round(time.Millisecond))
	stop()
	working.Wait()
	token, _ := r.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)
	r.mustRevoke(in.apiToken, token)
	r.want(http.StatusForbidden, "POST", validatePath, token)
	r.wantSaid("level=WARN", "msg=unavailable")
	in.wantAcknowledged(a)
}
