//go:build e2e

package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// pair is a primary and its standby, which has all that was acknowledged.
type pair struct {
	primary, standby *postgrestest.Server
}

// newPair starts a primary that acknowledges what its standby has, and that standby.
func newPair(t *testing.T) pair {
	t.Helper()
	p := pair{primary: server(t, postgrestest.Options{Durable: true, Settings: []string{"wal_level=replica", "max_wal_senders=5"}})}
	var err error
	p.standby, err = p.primary.Standby(t.Context(), "second")
	must(t, err)
	t.Cleanup(func() { must(t, p.standby.Stop(context.Background())) })
	p.ask(t, p.primary, `ALTER SYSTEM SET synchronous_standby_names = 'second'`)
	p.ask(t, p.primary, `SELECT pg_reload_conf()`)
	until(t, "the standby is synchronous", func() bool {
		return p.ask(t, p.primary, `SELECT count(*)::text FROM pg_stat_replication WHERE sync_state = 'sync'`) == "1"
	})
	return p
}

// ask runs a statement and returns the first value of what it says, as a text.
func (p pair) ask(t *testing.T, s *postgrestest.Server, statement string) (said string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	must(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), statement)
	must(t, err)
	for rows.Next() {
		values, err := rows.Values()
		must(t, err)
		said = fmt.Sprint(values[0])
	}
	must(t, rows.Err())
	return said
}

// url names both servers.
func (p pair) url() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable", p.primary.Port(), p.standby.Port())
}

func (p pair) promote(t *testing.T) {
	t.Helper()
	must(t, p.standby.Command(t.Context(), "pg_ctl", "-D", filepath.Join(p.standby.Dir(), "data"), "-w", "promote").Run())
}

// The primary is lost while it commits, and its standby takes over: all that was acknowledged is
// there, and the service finds it without a hand.
func TestTheStandbyTakesOver(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	in := install(t, p.url())
	r := in.serve()
	a := &acknowledged{tokens: map[string]bool{}, revoked: map[string]string{}, enough: make(chan struct{}), left: 200}
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() { a.workThrough(ctx, t, r, in.apiToken) })
	}
	<-a.enough
	lost := time.Now()
	must(t, p.primary.Halt(t.Context()))
	p.promote(t)
	promoted := time.Now()
	p.ask(t, p.standby, `ALTER SYSTEM SET synchronous_standby_names = ''`)
	p.ask(t, p.standby, `SELECT pg_reload_conf()`)
	r.recovers(in.apiToken)
	t.Logf("the primary was lost: issues again %s after that, %s after the promotion",
		time.Since(lost).Round(time.Millisecond), time.Since(promoted).Round(time.Millisecond))
	stop()
	working.Wait()
	in.database = p.standby.URL("postgres")
	in.wantAcknowledged(a)
	r.wantSaid("level=WARN", "msg=unavailable")
}

// workThrough is work for a service that is away for a while.
func (a *acknowledged) workThrough(ctx context.Context, t *testing.T, r *replica, key string) {
	for ctx.Err() == nil {
		issued, err := r.send(ctx, "POST", issuePath, key, nil, nil)
		switch {
		case err != nil || issued.status == http.StatusServiceUnavailable:
		case issued.status != http.StatusOK:
			t.Errorf("issue = %d %s", issued.status, issued.body)
			return
		default:
			_, id := issued.Token(t)
			a.add(id)
		}
	}
}

// A primary that was demoted keeps its connections, answers reads as if nothing had happened, and
// refuses writes: the service leaves it for the new one, also when nobody writes.
func TestADemotedPrimaryIsLeft(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	in := install(t, p.url())
	r := in.serve()
	var tokens []string
	for range 2 {
		token, _ := r.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)
		tokens = append(tokens, token)
		r.want(http.StatusOK, "POST", validatePath, token)
	}
	p.ask(t, p.primary, `ALTER SYSTEM SET synchronous_standby_names = ''`)
	p.ask(t, p.primary, `ALTER SYSTEM SET default_transaction_read_only = on`)
	p.promote(t)
	p.ask(t, p.primary, `SELECT pg_reload_conf()`)

	// on the new one a right ends, by a command that knows no other
	in.database = p.standby.URL("postgres")
	in.ok("token", "revoke", tokens[0], "--family")
	revoked := time.Now()
	until(t, "the revocation holds", func() bool {
		a := r.validate(tokens[0])
		if at := time.Since(revoked); a.status == http.StatusOK && at > time.Second {
			t.Fatalf("a token is good %s after its revocation: the service reads from the primary of before", at)
		}
		return a.status == http.StatusForbidden
	})
	t.Logf("a demoted primary: left after %s by reads", time.Since(revoked).Round(time.Millisecond))
	t.Logf("and by writes after %s", r.recovers(in.apiToken).Round(time.Millisecond))
	r.want(http.StatusOK, "GET", refreshPath, tokens[1])
	in.wantWhole()
}
