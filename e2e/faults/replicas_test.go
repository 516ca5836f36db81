//go:build e2e

package faults_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/store/postgrestest"
)

// ending is a right that ends on one replica or by a command, and what every replica says then.
type ending struct {
	in       *installation
	replicas []*replica
	delays   map[string][]time.Duration
}

// What ends on one replica, or by a command beside them, ends on all of them within a second.
func TestWhatEndsOnOneReplicaEndsOnAll(t *testing.T) {
	t.Parallel()
	jobs, err := githubtest.NewIssuer(githubtest.IssuerConfig{})
	must(t, err)
	t.Cleanup(jobs.Close)
	in := install(t, postgrestest.New(t))
	in.issuers = jobs.URL()
	e := &ending{in: in, delays: map[string][]time.Duration{}}
	for range 3 {
		e.replicas = append(e.replicas, in.serve())
	}
	first := e.replicas[0]
	for i := range *rounds {
		token := e.good()
		e.ends("a revocation", http.StatusForbidden, func() { first.mustRevoke(in.apiToken, token) },
			func(r *replica) answer { return r.validate(token) })

		token = e.good()
		e.ends("a suspension", http.StatusForbidden, func() { first.want(http.StatusOK, "POST", "/_api/admin/accounts/"+in.account+"/suspend", in.admin) },
			func(r *replica) answer { return r.validate(token) })
		e.ends("a restored account", http.StatusOK, func() { first.want(http.StatusOK, "POST", "/_api/admin/accounts/"+in.account+"/restore", in.admin) },
			func(r *replica) answer { return r.validate(token) })

		var key struct {
			ID   string `json:"id"`
			Text string `json:"api_token"`
		}
		decode(t, in.ok("api-token", "create", "--account", in.account, "--json"), &key)
		e.everywhere(func(r *replica) answer { return r.issue(key.Text) })
		e.ends("an API token's revocation", http.StatusUnauthorized, func() { first.want(http.StatusOK, "DELETE", "/_api/admin/api-tokens/"+key.ID, in.admin) },
			func(r *replica) answer { return r.issue(key.Text) })

		var policy struct {
			ID string `json:"id"`
		}
		decode(t, in.ok("policy", "add", "--account", in.account, "--repository-id", "1296269", "--repository-owner-id", "1", "--json"), &policy)
		exchange := func(r *replica) answer {
			identity, err := jobs.Sign(map[string]any{"aud": "http://license.example"})
			must(t, err)
			return r.issue(identity)
		}
		e.everywhere(exchange)
		e.ends("a policy's removal", http.StatusForbidden, func() { first.want(http.StatusOK, "DELETE", "/_api/admin/policies/"+policy.ID, in.admin) }, exchange)

		if i%3 > 0 { // a command takes longer
			continue
		}
		token = e.good()
		e.ends("a revocation by a command", http.StatusForbidden, func() { in.ok("token", "revoke", token, "--family") },
			func(r *replica) answer { return r.validate(token) })
	}
	e.retireTheKey()
	for _, what := range slices.Sorted(maps.Keys(e.delays)) {
		all := e.delays[what]
		slices.Sort(all)
		t.Logf("%s holds on three replicas: p50 %s, p99 %s, %d times", what,
			all[len(all)/2].Round(time.Millisecond), all[len(all)*99/100].Round(time.Millisecond), len(all))
	}
	in.wantWhole()
}

// good is a new license token that every replica has called good a moment ago.
func (e *ending) good() string {
	e.in.t.Helper()
	token, _ := e.replicas[0].want(http.StatusOK, "POST", issuePath, e.in.apiToken).Token(e.in.t)
	e.everywhere(func(r *replica) answer { return r.validate(token) })
	return token
}

// everywhere asks each replica until it says yes: a replica looks for what is new as often as it
// looks for what has ended.
func (e *ending) everywhere(ask func(*replica) answer) {
	e.in.t.Helper()
	for _, r := range e.replicas {
		until(e.in.t, "every replica knows", func() bool { return ask(r).status == http.StatusOK })
	}
}

// ends does what ends a right, and asks the replicas in turn until each of them has the answer that
// is wanted then. A request that began a second later must have it.
func (e *ending) ends(what string, want int, end func(), ask func(*replica) answer) {
	e.in.t.Helper()
	end()
	ended := time.Now()
	waiting := slices.Clone(e.replicas)
	for len(waiting) > 0 {
		begun := time.Since(ended)
		r := waiting[0]
		waiting = waiting[1:]
		a := ask(r)
		if a.status == want {
			e.delays[what] = append(e.delays[what], begun+a.took)
			continue
		}
		if begun > time.Second || a.status >= http.StatusInternalServerError {
			e.in.t.Fatalf("%s: a replica answers %d %s %s later, want %d", what, a.status, a.body, begun, want)
		}
		waiting = append(waiting, r)
	}
}

// retireTheKey retires the key that signs, by force, when its successor signs everywhere.
func (e *ending) retireTheKey() {
	e.in.t.Helper()
	token := e.good()
	header, _, _ := strings.Cut(token, ".")
	var key struct {
		ID string `json:"kid"`
	}
	decode(e.in.t, unbase64(e.in.t, header), &key)
	e.in.ok("key", "rotate")
	until(e.in.t, "the new key signs", func() bool {
		fresh, _ := e.replicas[0].want(http.StatusOK, "POST", issuePath, e.in.apiToken).Token(e.in.t)
		now, _, _ := strings.Cut(fresh, ".")
		return now != header
	})
	e.ends("a key's retirement", http.StatusUnauthorized, func() {
		e.replicas[0].want(http.StatusOK, "DELETE", "/_api/admin/keys/"+key.ID+"?force=true", e.in.admin)
	}, func(r *replica) answer { return r.validate(token) })
}
