package license_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
)

const issuerOfJobs = "https://token.actions.githubusercontent.com"

// stranger is a job that no policy knows.
func (b *bench) stranger() oidc.Identity {
	now := b.clock()
	return oidc.Identity{
		Issuer: issuerOfJobs, ID: "j1", IssuedAt: now, NotBefore: now, ExpiresAt: now.Add(5 * time.Minute),
		RepositoryID: "7", OwnerID: "8", Event: "push", Ref: "refs/heads/dev", Repository: "acme/site", RunID: "42",
	}
}

// trust adds a policy for repository 7 of owner 8.
func (b *bench) trust(account string, change func(*oidc.Policy)) license.TrustPolicy {
	b.t.Helper()
	p := oidc.Policy{Issuer: issuerOfJobs, RepositoryID: "7", OwnerID: "8"}
	change(&p)
	made, err := b.AddPolicy(b.t.Context(), license.TrustPolicy{Policy: p, AccountID: account})
	if err != nil {
		b.t.Fatal(err)
	}
	b.advance(time.Millisecond) // the next one is younger
	return made
}

// refuse shows a job as a request of an address.
func (b *bench) refuse(id oidc.Identity, request string) *license.Refusal {
	b.t.Helper()
	ctx := audit.WithActor(context.WithoutCancel(b.t.Context()), audit.Actor{Address: "192.0.2.7", RequestID: request})
	_, _, err := b.Parts.Jobs.PolicyFor(ctx, id)
	r, ok := errors.AsType[*license.Refusal](err)
	if !ok {
		b.t.Fatalf("PolicyFor = %v, want a refusal", err)
	}
	return r
}

// refusals are the details of the lines of refused jobs, newest first.
func (b *bench) refusals() []map[string]any {
	b.t.Helper()
	lines, err := b.Lines(b.t.Context(), audit.Query{Action: audit.ExchangeRefused, Limit: 5000})
	if err != nil {
		b.t.Fatal(err)
	}
	var all []map[string]any
	for _, l := range lines {
		details := map[string]any{}
		if err := json.Unmarshal([]byte(l.Details), &details); err != nil {
			b.t.Fatal(err)
		}
		all = append(all, details)
	}
	return all
}

func TestARefusalNamesTheClauseOfTheNearestPolicy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, _ := b.account()
	want := func(clause string, policy license.TrustPolicy, reason error) {
		t.Helper()
		r := b.refuse(b.stranger(), "r")
		if r.Clause.Name != clause || r.Policy.ID != policy.ID || !errors.Is(r, reason) || r.Error() != reason.Error() {
			t.Errorf("refused by clause %s of %q: %v; want %s of %q: %v", r.Clause.Name, r.Policy.ID, r, clause, policy.ID, reason)
		}
	}
	want("policy", license.TrustPolicy{}, auth.ErrNoPolicy)
	want("policy issuer", b.trust(a.ID, func(p *oidc.Policy) { p.Issuer = "https://ghes.example" }), auth.ErrNoPolicy)
	want("repository_owner_id", b.trust(a.ID, func(p *oidc.Policy) { p.OwnerID = "9" }), auth.ErrNoPolicy)
	want("event", b.trust(a.ID, func(p *oidc.Policy) { p.Events = []string{"release"} }), auth.ErrNoPolicy)
	two := b.trust(a.ID, func(p *oidc.Policy) { p.Refs, p.Environments = []string{"refs/heads/main"}, []string{"production"} })
	want("ref", two, auth.ErrNoPolicy)
	one := b.trust(a.ID, func(p *oidc.Policy) { p.Refs = []string{"refs/heads/main"} })
	want("ref", one, auth.ErrNoPolicy) // only one thing is wrong with it
	b.trust(a.ID, func(p *oidc.Policy) { p.Refs = []string{"refs/heads/next"} })
	want("ref", one, auth.ErrNoPolicy) // of two that are as near the older one
	met := b.trust(a.ID, func(*oidc.Policy) {})
	b.advance(2 * year)
	want("license", met, account.ErrExpired)
}

func TestARefusalIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, _ := b.account()
	p := b.trust(a.ID, func(p *oidc.Policy) { p.Refs = []string{"refs/heads/main"} })
	id := b.stranger()
	id.Environment, id.JobWorkflowRef, id.Visibility = "staging", "acme/site/.github/workflows/ci.yml@refs/heads/dev", "private"
	if r := b.refuse(id, "r1"); r.Unrecorded != nil {
		t.Fatal(r.Unrecorded)
	}
	lines, err := b.Lines(t.Context(), audit.Query{Repository: "acme/site", Account: a.ID, Action: audit.ExchangeRefused, Limit: 2})
	if err != nil || len(lines) != 1 {
		t.Fatalf("lines = %+v, %v, want one of the repository and the account", lines, err)
	}
	l := lines[0]
	want := audit.Actor{Kind: audit.ActorJob, ID: "repository 7 run 42", Address: "192.0.2.7", RequestID: "r1"}
	if l.Action != audit.ExchangeRefused || l.Actor != want || l.Object != p.ID {
		t.Errorf("line = %+v, want it by %+v on %s", l, want, p.ID)
	}
	details := map[string]any{
		"issuer": issuerOfJobs, "repository": "acme/site", "repository_id": "7", "repository_owner_id": "8", "event": "push",
		"ref": "refs/heads/dev", "environment": "staging", "job_workflow_ref": id.JobWorkflowRef, "visibility": "private",
		"run_id": "42", "clause": "ref", "policy": p.ID, "policy_version": 1.0,
	}
	if diff := cmp.Diff(details, b.refusals()[0]); diff != "" {
		t.Errorf("details (-want +got)\n%s", diff)
	}
	if _, err := b.Verify(t.Context(), audit.Check{}); err != nil {
		t.Error(err)
	}
}

// Untrusted jobs cannot fill the log: a line an hour for a repository and a clause.
func TestRefusalsOfAKindHaveALineAnHour(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.stranger()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			b.advance(-time.Millisecond) // clocks of requests at once are not in order
			id := id
			id.Ref = fmt.Sprint("refs/heads/", i) // other values are no other kind
			b.refuse(id, "r")
		})
	}
	wg.Wait()
	if got := b.refusals(); len(got) != 1 || got[0]["unwritten"] != nil {
		t.Fatalf("lines = %v, want one", got)
	}
	b.advance(time.Hour - time.Second)
	b.refuse(id, "r")
	other := id
	other.RepositoryID = "9"
	b.refuse(other, "r")
	if n := len(b.refusals()); n != 2 {
		t.Errorf("lines = %d, want another for the other repository alone", n)
	}
	b.advance(2 * time.Second)
	b.refuse(id, "r")
	if got := b.refusals(); len(got) != 3 || got[0]["unwritten"] != 20.0 {
		t.Errorf("after an hour: %v, want a line that counts 20 that were not written", got)
	}
	a, _ := b.account()
	b.trust(a.ID, func(p *oidc.Policy) { p.Refs = []string{"refs/heads/main"} })
	b.refuse(id, "r")
	if got := b.refusals(); len(got) != 4 || got[0]["clause"] != "ref" || got[0]["unwritten"] != nil {
		t.Errorf("by another clause: %v, want a line of its own", got[0])
	}
	b.advance(-3 * time.Hour) // the clock was ahead, and is corrected
	b.refuse(id, "r")
	if n := len(b.refusals()); n != 5 {
		t.Errorf("lines after the clock was set back = %d, want 5", n)
	}
}

// However many repositories a stranger has, there is a bound for a day, and it is not that of
// owners whom a policy trusts.
func TestRefusalsHaveABoundForADay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, _ := b.account()
	b.trust(a.ID, func(p *oidc.Policy) { p.Refs = []string{"refs/heads/main"} })
	strangers := func(from, n int) {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				id := b.stranger()
				id.RepositoryID, id.OwnerID = fmt.Sprint(from+i), "666"
				b.refuse(id, "r")
			})
		}
		wg.Wait()
	}
	strangers(1000, 600)
	if n := len(b.refusals()); n != 500 {
		t.Fatalf("lines = %d, want 500", n)
	}
	b.advance(2 * time.Hour)
	strangers(1000, 10)
	if n := len(b.refusals()); n != 500 {
		t.Errorf("lines = %d, want no more in the day", n)
	}
	b.refuse(b.stranger(), "r")
	if got := b.refusals(); len(got) != 501 || got[0]["clause"] != "ref" {
		t.Errorf("lines = %d, the newest %v, want that of the owner whom a policy trusts", len(got), got[0])
	}
	b.advance(22 * time.Hour)
	strangers(5000, 10)
	if n := len(b.refusals()); n != 511 {
		t.Errorf("lines = %d, want 10 more on the next day", n)
	}
	b.change(`WITH RECURSIVE n (i) AS (SELECT 10000 UNION ALL SELECT i + 1 FROM n WHERE i < 10599)
		INSERT INTO policies (id, version, account_id, repository, issuer, repository_id, owner_id, narrowing, created_at)
		SELECT 'pol_' || i, 1, '` + a.ID + `', '', '` + issuerOfJobs + `', '' || i, '666', '{"ref":["refs/heads/main"]}', 0 FROM n`)
	strangers(10000, 600) // they are none now
	if n := len(b.refusals()); n != 1011 {
		t.Errorf("lines = %d, want 500 more of an owner whom policies trust", n)
	}
}

// What a job calls its branch is cut and cleaned, wherever it is recorded.
func TestValuesOfARefusedJobAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.stranger()
	id.Ref = "refs/heads/" + strings.Repeat("é", 5000)
	id.Environment = "a\x1b]0;x\x07\u0085\nb\xffc"
	id.JobWorkflowRef = "acme/site/.github/workflows/pf_at_0123456789abcdefghijklmnop.yml@\u202erefs"
	id.Repository, id.RunID, id.Visibility = strings.Repeat("r", 600), strings.Repeat("1", 600), ""
	r := b.refuse(id, "r")
	got := b.refusals()[0]
	if got["environment"] != "a\ufffd]0;x\ufffd\ufffd\ufffdb\ufffdc" {
		t.Errorf("environment = %q", got["environment"])
	}
	if _, there := got["visibility"]; there {
		t.Error("what the job lacks is there")
	}
	for name, v := range got {
		text, ok := v.(string)
		if !ok || len(text) > 503 || strings.ContainsFunc(text, unicode.IsControl) || strings.Contains(text, "pf_at_0123") {
			t.Errorf("%s = %q", name, v)
		}
	}
	facts := r.Facts()
	if len(facts) != 2*len(got) {
		t.Errorf("facts = %v", facts)
	}
	for _, f := range facts {
		if text := f.(string); strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
			t.Errorf("fact %q cannot be printed", text)
		}
	}
	line, err := b.Lines(t.Context(), audit.Query{Action: audit.ExchangeRefused, Limit: 1})
	if err != nil || len(line[0].Actor.ID) > 600 {
		t.Errorf("actor = %q, %v", line[0].Actor.ID, err)
	}
}

// aRequest has the form of the ids that the service gives.
const aRequest = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func TestARefusedJobIsExplainedByThePoliciesOfToday(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, _ := b.account()
	trusted := []string{issuerOfJobs}
	explain := func(want oidc.Outcome, policies int) license.Explanation {
		t.Helper()
		e, err := b.Parts.Jobs.ExplainRefused(t.Context(), aRequest, trusted)
		if err != nil || e.Outcome != want || len(e.Policies) != policies {
			t.Fatalf("ExplainRefused = %+v, %v; want %s by %d policies", e, err, want, policies)
		}
		return e
	}
	long := "refs/heads/" + strings.Repeat("x", 489) // as long as a policy can name
	id := b.stranger()
	id.Ref = long
	b.refuse(id, aRequest)
	b.advance(time.Hour) // its token has expired, and counts as good
	e := explain(oidc.Failed, 0)
	if j := e.Refused; j == nil || j.RequestID != aRequest || j.Clause != "policy" || j.Identity.Ref != long || j.Identity.RunID != "42" {
		t.Errorf("refused = %+v", e.Refused)
	}
	b.trust(a.ID, func(p *oidc.Policy) { p.Refs = []string{"refs/heads/main"} })
	explain(oidc.Failed, 1)
	b.trust(a.ID, func(p *oidc.Policy) { p.Refs = []string{long} })
	explain(oidc.Passed, 2)
	trusted = []string{"https://ghes.example"}
	explain(oidc.Failed, 2)
	for request, want := range map[string]error{
		"BBCDEFGHIJKLMNOPQRSTUVWXYZ": failure.ErrNotFound, "": failure.ErrInvalid, "abc": failure.ErrInvalid, aRequest + "\n": failure.ErrInvalid,
	} {
		if _, err := b.Parts.Jobs.ExplainRefused(t.Context(), request, nil); !errors.Is(err, want) {
			t.Errorf("ExplainRefused(%q) = %v, want %v", request, err, want)
		}
	}
}

// fullLog is a database that has no room for refusals.
type fullLog struct {
	license.JobStore
	err error
}

func (f *fullLog) AddRefusal(ctx context.Context, act audit.Act) error {
	if f.err != nil {
		return f.err
	}
	return f.JobStore.AddRefusal(ctx, act)
}

// A refusal stays what it is when its line cannot be written, and the next one has the line.
func TestARefusalWhoseLineIsNotWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	full := &fullLog{b.cfg.Stores.Jobs, errors.New("the disk is full")}
	b.cfg.Stores.Jobs = full
	b.Rules = b.replica()
	for range 2 {
		if r := b.refuse(b.stranger(), "r"); !errors.Is(r, auth.ErrNoPolicy) || !errors.Is(r.Unrecorded, full.err) {
			t.Errorf("refusal = %v, unrecorded because %v", r, r.Unrecorded)
		}
	}
	full.err = nil
	if r := b.refuse(b.stranger(), "r"); r.Unrecorded != nil {
		t.Error(r.Unrecorded)
	}
	if got := b.refusals(); len(got) != 1 || got[0]["unwritten"] != 2.0 {
		t.Errorf("lines = %v, want one that counts the 2 before", got)
	}
}

func TestRepositoriesThatUseTheService(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p, a, id := b.trusted()
	id.Repository = "acme/site"
	list := func(q license.RepositoryQuery) []license.Repository {
		t.Helper()
		q.Limit = 10
		found, err := b.Parts.Jobs.Repositories(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if got := list(license.RepositoryQuery{}); len(got) != 0 {
		t.Errorf("repositories = %+v, want none before its first job", got)
	}
	used := b.clock()
	if _, err := b.Exchange(t.Context(), jobOf(id, p.Policy, a)); err != nil {
		t.Fatal(err)
	}
	want := []license.Repository{{
		RepositoryKey: license.RepositoryKey{AccountID: a.ID, RepositoryID: "7", Issuer: id.Issuer},
		OwnerID:       "8", Name: "acme/site", LastUsedAt: used,
	}}
	if diff := cmp.Diff(want, list(license.RepositoryQuery{Account: a.ID})); diff != "" {
		t.Errorf("repositories (-want +got)\n%s", diff)
	}
	b.advance(90 * 24 * time.Hour)
	if got := list(license.RepositoryQuery{UnusedSince: b.clock()}); len(got) != 1 {
		t.Errorf("unused = %+v, want it", got)
	}
	if got := list(license.RepositoryQuery{UnusedSince: used}); len(got) != 0 {
		t.Errorf("unused since its last use = %+v, want none", got)
	}
	if _, err := b.Parts.Jobs.Repositories(t.Context(), license.RepositoryQuery{Account: "user_none"}); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("Repositories(unknown account) = %v, want ErrNotFound", err)
	}
	for cursor, want := range map[string]error{
		"": nil, want[0].RepositoryKey.String(): nil, "x": failure.ErrInvalid, a.ID: failure.ErrInvalid, a.ID + "/7": failure.ErrInvalid,
		a.ID + "/x/" + id.Issuer: failure.ErrInvalid, "user_none/7/" + id.Issuer: failure.ErrInvalid,
	} {
		if key, err := license.ParseRepositoryKey(cursor); !errors.Is(err, want) || err == nil && cursor != "" && key.String() != cursor {
			t.Errorf("ParseRepositoryKey(%q) = %v, %v, want %v", cursor, key, err, want)
		}
	}
}
