//go:build e2e

package faults_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store/postgrestest"
)

// Two replicas whose clocks are 30 seconds apart: each takes what the other gives, refreshes to the
// same, and refuses what the other ended. The program has no setting for its clock, so this is the
// service without its main.
func TestTheClocksOfTwoReplicasAreApart(t *testing.T) {
	t.Parallel()
	behind := servicetest.Start(t, servicetest.Options{DatabaseURL: postgrestest.New(t)})
	ahead := behind.Replica(t, func() time.Time { return time.Now().Add(30 * time.Second) })
	_, key := behind.Account(t, "a@example.com")
	admin := behind.AdminToken(t, auth.ScopeAuditRead)
	on := func(s *servicetest.Service) *replica {
		return &replica{t: t, addr: strings.TrimPrefix(s.Origin, "http://"), http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	}
	first, second := on(behind), on(ahead)
	for _, pair := range [][2]*replica{{first, second}, {second, first}} {
		here, there := pair[0], pair[1]
		token, _ := here.want(http.StatusOK, "POST", issuePath, key).Token(t)
		there.want(http.StatusOK, "POST", validatePath, token)
		mine, _ := here.want(http.StatusOK, "GET", refreshPath, token).Token(t)
		theirs, _ := there.want(http.StatusOK, "GET", refreshPath, token).Token(t)
		if mine != theirs {
			t.Error("replicas whose clocks are apart refresh one token to two within a window")
		}
		here.mustRevoke(key, token)
		there.want(http.StatusForbidden, "POST", validatePath, theirs)
		there.want(http.StatusForbidden, "GET", refreshPath, token)
	}
	first.want(http.StatusOK, "GET", "/readyz", "")
	second.want(http.StatusOK, "GET", "/readyz", "")
	for _, r := range []*replica{first, second} {
		if a := r.want(http.StatusOK, "GET", "/_api/admin/audit/verify", admin); !strings.Contains(a.body, `"intact":true`) {
			t.Errorf("audit verify = %s", a.body)
		}
	}
}
