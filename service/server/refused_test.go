package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
)

// requestLine is what the log says of a request.
func (k *keyless) requestLine(id string) map[string]any {
	k.t.Helper()
	lines := bufio.NewScanner(strings.NewReader(k.log.String()))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := map[string]any{}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			k.t.Fatal(err)
		}
		if line["msg"] == "request" && line["request_id"] == id {
			return line
		}
	}
	k.t.Fatalf("the log has no request %s", id)
	return nil
}

// The operator sees what the job was and why it was refused; the caller sees no more than before.
func TestARefusedJobIsExplainable(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	a := &admin{t, k.Service, k.AdminToken(t, auth.Scopes...)}
	p := k.policy(func(p *oidc.Policy) { p.Refs = []string{"refs/heads/main"} })
	got := k.exchange(k.identity(map[string]any{"ref": "refs/heads/dev", "environment": "staging"}))
	got.want(t, http.StatusForbidden, `{"code":"policy_denied","error":"Forbidden","message":"`+auth.ErrNoPolicy.Error()+`"}`)
	id := got.header.Get("X-Request-Id")

	facts := map[string]any{}
	line := k.requestLine(id)
	for _, name := range []string{"code", "issuer", "repository", "repository_id", "repository_owner_id", "event", "ref", "environment", "job_workflow_ref", "clause", "policy"} {
		facts[name] = line[name]
	}
	if diff := cmp.Diff(map[string]any{
		"code": "policy_denied", "issuer": k.jobs.URL(), "repository": "acme/site", "repository_id": "1296269", "repository_owner_id": "1", "event": "push",
		"ref": "refs/heads/dev", "environment": "staging", "job_workflow_ref": "acme/site/.github/workflows/site.yml@refs/heads/main",
		"clause": "ref", "policy": p.ID,
	}, facts); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
	lines := into[api.AuditPage](t, a.do("GET", "audit?action=exchange.refuse&repository=acme/site", "")).Items
	if len(lines) != 1 || lines[0].RequestID != id || lines[0].Address == "" || lines[0].Actor.Kind != "github-job" || lines[0].Account != k.account.ID {
		t.Errorf("audit = %+v, want one line of request %s", lines, id)
	}

	explain := func(id string) answer { return a.do("POST", "policies/explain", `{"request":"`+id+`"}`) }
	k.now = k.now.Add(time.Hour)
	out := into[api.Explanation](t, explain(id))
	if out.Allowed || out.Outcome != "refused" || len(out.Policies) != 1 || out.Job == nil || out.Job.Ref != "refs/heads/dev" || out.Job.Clause != "ref" || out.Job.RequestID != id {
		t.Errorf("explained = %+v", out)
	}
	k.policy(func(p *oidc.Policy) { p.Environments = []string{"staging"} })
	if out := into[api.Explanation](t, explain(id)); !out.Allowed || len(out.Policies) != 2 {
		t.Errorf("explained by today's policies = %+v, want it allowed", out)
	}
	if got := explain("ABCDEFGHIJKLMNOPQRSTUVWXYZ"); !strings.Contains(got.body, "request_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t.Errorf("a request that is not there = %s, want it said where to look", got.body)
	} else {
		got.wantCode(t, http.StatusNotFound, api.CodeNotFound)
	}
	explain("x").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	a.do("POST", "policies/explain", `{"request":"`+id+`","token":"x"}`).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
}

// An identity that is not proven says nothing true, so nothing of it is recorded, and its sender
// learns nothing.
func TestAnIdentityThatIsNotProvenIsNotRecorded(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	for _, claims := range []map[string]any{{"aud": "https://example.com"}, {"ref": "refs/heads/\nx"}, {"exp": k.now.Add(-time.Hour).Unix()}} {
		got := k.exchange(k.identity(claims))
		got.wantUnauthorized(t)
		if got.header.Get("WWW-Authenticate") == "" || got.header.Get("X-Request-Id") == "" {
			t.Errorf("headers = %v", got.header)
		}
		if line := k.requestLine(got.header.Get("X-Request-Id")); line["repository_id"] != nil || line["clause"] != nil {
			t.Errorf("log = %v", line)
		}
	}
	if lines, err := k.Lines(t.Context(), audit.Query{Action: audit.ExchangeRefused, Limit: 9}); err != nil || len(lines) != 0 {
		t.Errorf("audit = %+v, %v, want nothing", lines, err)
	}
}

// What an untrusted job calls a branch gives no orders to anyone who reads the log, and cannot look
// like a token.
func TestTheLogOfARefusedJobIsBounded(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	got := k.exchange(k.identity(map[string]any{
		"ref": "refs/heads/\u202e" + strings.Repeat("x", 5000), "environment": "pf_at_0123456789abcdefghij",
	}))
	line := k.requestLine(got.header.Get("X-Request-Id"))
	ref, _ := line["ref"].(string)
	if len(ref) > 510 || !strings.HasPrefix(ref, "refs/heads/\ufffdxxx") || line["clause"] != "policy" || strings.Contains(fmt.Sprint(line["environment"]), "0123") {
		t.Errorf("log = %v", line)
	}
	for range 5 {
		k.exchange(k.identity(nil)).wantCode(t, http.StatusForbidden, api.CodePolicyDenied)
	}
	if lines, err := k.Lines(t.Context(), audit.Query{Action: audit.ExchangeRefused, Limit: 9}); err != nil || len(lines) != 1 {
		t.Errorf("audit = %d lines, %v, want 1", len(lines), err)
	}
}

// A job that is over the limit of its address is still named in the log.
func TestARefusedJobOverTheLimitIsLogged(t *testing.T) {
	t.Parallel()
	k := newKeylessWith(t, servicetest.Options{BadCredentials: 1})
	k.exchange(k.identity(nil)).wantCode(t, http.StatusForbidden, api.CodePolicyDenied)
	got := k.exchange(k.identity(nil))
	got.wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
	if line := k.requestLine(got.header.Get("X-Request-Id")); line["repository_id"] != "1296269" || line["clause"] != "policy" {
		t.Errorf("log = %v", line)
	}
}

// A refusal whose line cannot be written is a refusal all the same, and the log says why there is
// none.
func TestARefusalWithoutItsLineIsLogged(t *testing.T) {
	t.Parallel()
	k := newKeylessWith(t, servicetest.Options{Between: func(s *parts.Stores) { s.Jobs = noRoom{s.Jobs} }})
	got := k.exchange(k.identity(nil))
	got.wantCode(t, http.StatusForbidden, api.CodePolicyDenied)
	if log := k.log.String(); !strings.Contains(log, `"msg":"refused job not in the audit log"`) || !strings.Contains(log, "no room is left") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}

func TestRepositoriesOfTheAdminAPI(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	a := &admin{t, k.Service, k.AdminToken(t, auth.ScopePoliciesRead)}
	for _, id := range []string{"1296269", "7"} {
		k.policy(func(p *oidc.Policy) { p.RepositoryID = id })
		k.exchange(k.identity(map[string]any{"repository_id": id})).token(t)
	}
	first := into[api.RepositoryPage](t, a.do("GET", "repositories?limit=1&account="+k.account.ID, ""))
	want := api.Repository{
		Account: k.account.ID, Repository: "acme/site", Issuer: k.jobs.URL(), RepositoryID: "1296269", RepositoryOwnerID: "1",
		LastUsedAt: k.now.UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	if diff := cmp.Diff([]api.Repository{want}, first.Items); diff != "" || first.NextCursor == "" {
		t.Errorf("first page, next %q (-want +got)\n%s", first.NextCursor, diff)
	}
	second := into[api.RepositoryPage](t, a.do("GET", "repositories?limit=1&cursor="+first.NextCursor, ""))
	if len(second.Items) != 1 || second.Items[0].RepositoryID != "7" || second.NextCursor != "" {
		t.Errorf("second page = %+v", second)
	}
	if got := into[api.RepositoryPage](t, a.do("GET", "repositories?unused_since=2020-01-01", "")); len(got.Items) != 0 {
		t.Errorf("unused since long ago = %+v", got.Items)
	}
	a.do("GET", "repositories?account=user_0000000000000000", "").wantCode(t, http.StatusNotFound, api.CodeNotFound)
	a.do("GET", "repositories?cursor=x", "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	a.do("GET", "repositories?unused_since=x", "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
}

// noRoom is a database that has no room for refusals.
type noRoom struct{ license.JobStore }

func (noRoom) AddRefusal(context.Context, audit.Act) error { return errors.New("no room is left") }
