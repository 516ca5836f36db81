//go:build e2e

package faults_test

import (
	"net/http"
	"testing"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// The connection ends after PostgreSQL has committed and before it says so: the service cannot know,
// says that, and the retry gives what the first request did.
func TestALostAnswerToCommitIsRetriedWithoutDoingItTwice(t *testing.T) {
	t.Parallel()
	in := install(t, postgrestest.New(t))
	l := newLink(t, in.database)
	r := in.serveOn(l.url)
	parent, _ := r.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)

	lost := l.loseCommit(1)
	r.want(http.StatusServiceUnavailable, "GET", refreshPath, parent)
	if lost() != 1 {
		t.Fatal("no answer to COMMIT was lost")
	}
	before := in.records(r)
	token, id := r.want(http.StatusOK, "GET", refreshPath, parent).Token(t)
	if again, _ := r.want(http.StatusOK, "GET", refreshPath, parent).Token(t); again != token {
		t.Error("two refreshes after the lost answer gave two tokens")
	}
	if before[id].ID == "" || len(in.records(r)) != len(before) {
		t.Errorf("tokens on record before the retry = %v, after it %v, and it gave %s: want the same", before, in.records(r), id)
	}
	r.wantSaid("level=WARN", "msg=unavailable", "commit:")

	lost = l.loseCommit(1)
	if a, err := r.revoke(t.Context(), in.apiToken, token); err != nil || a.status != http.StatusServiceUnavailable || lost() != 1 {
		t.Fatalf("revoke with a lost answer to COMMIT = %d %s %v, lost %d", a.status, a.body, err, lost())
	}
	r.mustRevoke(in.apiToken, token)
	r.want(http.StatusForbidden, "GET", refreshPath, token)
	in.wantWhole()
}
