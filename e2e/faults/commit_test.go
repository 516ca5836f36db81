//go:build e2e

package faults_test

import (
	"net/http"
	"testing"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
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

	// what makes something, by our client: it tries again by itself
	before = in.records(r)
	c, err := client.New(client.Config{BaseURL: "http://" + r.addr + "/_api"})
	must(t, err)
	lost = l.loseCommit(1)
	issued, err := c.Issue(t.Context(), in.apiToken)
	if err != nil || lost() != 1 {
		t.Fatalf("Issue with a lost answer to COMMIT = %v, lost %d", err, lost())
	}
	after := in.records(r)
	if id := idOf(t, issued.Token); len(after) != len(before)+1 || before[id].ID != "" || after[id].ID == "" {
		t.Errorf("%d tokens on record before the issue with a lost answer, %d after it, want the one that it gave", len(before), len(after))
	}
	lost = l.loseCommit(1)
	made, err := c.Admin(in.admin).CreateAccount(t.Context(), api.NewAccount{Email: "b@example.com", Tier: "pro", ValidUntil: "2099-01-01"})
	if err != nil || lost() != 1 || made.APIToken == "" {
		t.Fatalf("CreateAccount with a lost answer to COMMIT = %+v %v, lost %d", made, err, lost())
	}
	r.want(http.StatusOK, "POST", issuePath, made.APIToken)
	in.wantWhole()
}
