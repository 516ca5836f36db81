package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
)

var trustPolicies = suite{
	"policies are found by repository until removed": policies,
}

func newPolicy(n int, account, repository string) license.TrustPolicy {
	return license.TrustPolicy{
		AccountID: account, Repository: "acme/site", CreatedAt: at.Add(time.Duration(n) * time.Second),
		Policy: oidc.Policy{ID: fmt.Sprintf("pol_%d", n), Issuer: "https://issuer.example", RepositoryID: repository, OwnerID: "1"},
	}
}

func policies(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	add := func(p license.TrustPolicy) license.TrustPolicy {
		t.Helper()
		made, err := s.AddPolicy(t.Context(), p, did(at))
		must(t, err)
		return made
	}
	narrow := newPolicy(3, a.ID, "7")
	narrow.Refs, narrow.Environments, narrow.Events = []string{"refs/heads/main"}, []string{"a, b",
		"c"}, []string{"push"}
	narrow.JobWorkflowRefs, narrow.Visibilities = []string{"x"}, []string{"private"}
	narrow = add(narrow)
	second, other, foreign := add(newPolicy(1, a.ID,
		"7")), add(newPolicy(2, a.ID, "8")), add(newPolicy(4, b.ID, "7"))
	same(t, []int{1, 2, 1, 1},
		[]int{narrow.Version, second.Version, other.Version, foreign.Version})
	for repository, want := range map[string][]license.TrustPolicy{
		"7": {second, narrow, foreign}, "8": {other}, "9": nil,
	} {
		got, err := s.PoliciesFor(t.Context(), repository)
		must(t, err)
		same(t, want, got)
	}
	page, err := s.Policies(t.Context(), license.PolicyQuery{Account: a.ID, Limit: 2})
	must(t, err)
	same(t, []license.TrustPolicy{second, other}, page)
	page, err = s.Policies(t.Context(), license.PolicyQuery{After: other.ID, Limit: 9})
	must(t, err)
	same(t, []license.TrustPolicy{narrow, foreign}, page)
	for repository, want := range map[string][]license.TrustPolicy{
		"8": {other}, "7": {second, narrow, foreign}, "ACME/site": {second, other, narrow, foreign}, "acme/sit": nil,
	} {
		got, err := s.Policies(t.Context(), license.PolicyQuery{Repository: repository, Limit: 9})
		must(t, err)
		same(t, want, got)
	}
	r := newToken(a.ID, tokenID(1, 1, 1))
	r.IssuedBy = narrow.ID
	must(t, s.RecordToken(t.Context(), r, did(at)))
	for _, again := range []struct {
		issued *audit.Act
		want   int64
	}{{nil, 0}, {nil, 0}, {new(did(at)),
		1}, {new(did(at)), 0}} { // the tokens can be an afterthought
		families, err := s.RemovePolicy(t.Context(), narrow.ID, did(at), again.issued)
		must(t, err)
		same(t, again.want, families)
	}
	same(t, a.ID, lastLine(t, s).Account)
	got, err := s.PoliciesFor(t.Context(), "7")
	must(t, err)
	same(t, []license.TrustPolicy{second, foreign}, got)
	same(t, 3, add(newPolicy(5, a.ID, "7")).Version)
	_, err = s.AddPolicy(t.Context(), newPolicy(6, "user_none", "7"), did(at))
	wantErr(t, "AddPolicy(no account)", err, failure.ErrNotFound)
}
