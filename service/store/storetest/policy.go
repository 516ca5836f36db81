package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
)

var trustPolicies = suite{
	"policies are found by repository until removed":                  policies,
	"a policy for a whole owner comes after those for the repository": ownerPolicies,
	"policies are added all or none":                                  policyBatch,
	"the same policy is one, also when several add it":                samePolicy,
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
		made, err := addPolicy(t, s, p)
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
		got, err := s.PoliciesFor(t.Context(), repository, "1")
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
	got, err := s.PoliciesFor(t.Context(), "7", "1")
	must(t, err)
	same(t, []license.TrustPolicy{second, foreign}, got)
	again := newPolicy(5, a.ID, "7")
	again.Events = []string{"push"}
	same(t, 3, add(again).Version)
	_, err = addPolicy(t, s, newPolicy(6, "user_none", "7"))
	wantErr(t, "AddPolicies(no account)", err, failure.ErrNotFound)
	_, err = s.ChangeAccount(t.Context(), b.ID, func(a *account.Account) error {
		a.Status, a.Email = account.Deleted, ""
		return nil
	}, did(at))
	must(t, err)
	_, err = addPolicy(t, s, newPolicy(6, b.ID, "9"))
	wantErr(t, "AddPolicies(a deleted account)", err, account.ErrDeleted)
}

// addPolicy adds a single policy.
func addPolicy(t *testing.T, s Store, p license.TrustPolicy) (license.TrustPolicy, error) {
	t.Helper()
	made, err := s.AddPolicies(t.Context(), []license.TrustPolicy{p}, []audit.Act{did(at)})
	if err != nil {
		return p, err
	}
	return made[0], nil
}

func ownerPolicies(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	add := func(n int, account, repository, owner string) license.TrustPolicy {
		t.Helper()
		p := newPolicy(n, account, repository)
		p.OwnerID = owner
		made, err := addPolicy(t, s, p)
		must(t, err)
		return made
	}
	whole := add(1, a.ID, oidc.AnyRepository, "1")
	foreign := add(2, a.ID, oidc.AnyRepository, "2")
	second := add(3, b.ID, oidc.AnyRepository, "1")
	own := add(4, b.ID, "7", "1")
	same(t, []int{1, 1, 1, 1}, []int{whole.Version, foreign.Version, second.Version, own.Version})
	for _, of := range []struct {
		repository, owner string
		want              []license.TrustPolicy
	}{
		{"7", "1", []license.TrustPolicy{own, whole, second}},
		{"8", "1", []license.TrustPolicy{whole, second}},
		{"7", "2", []license.TrustPolicy{own, foreign}}, // of the owner that it had: a policy says no itself
		{"8", "3", nil}, {"8", "", nil}, {"", "1", []license.TrustPolicy{whole, second}},
	} {
		got, err := s.PoliciesFor(t.Context(), of.repository, of.owner)
		must(t, err)
		same(t, of.want, got)
	}
	_, err := s.RemovePolicy(t.Context(), whole.ID, did(at), nil)
	must(t, err)
	got, err := s.PoliciesFor(t.Context(), "8", "1")
	must(t, err)
	same(t, []license.TrustPolicy{second}, got)
	same(t, 2, add(5, a.ID, oidc.AnyRepository, "1").Version)
}

func policyBatch(t *testing.T, s Store) {
	a := create(t, s, 1)
	list := []license.TrustPolicy{newPolicy(1, a.ID, "7"), newPolicy(2, a.ID, "8"), newPolicy(3, "user_none", "9")}
	acts := []audit.Act{did(at), did(at), did(at)}
	_, err := s.AddPolicies(t.Context(), list, acts)
	wantErr(t, "AddPolicies(no account)", err, failure.ErrNotFound)
	if faults, ok := errors.AsType[license.PolicyFaults](err); !ok || len(faults) != 1 || faults[0].Index != 2 {
		t.Errorf("AddPolicies(no account) = %v, want a fault of the third", err)
	}
	got, err := s.Policies(t.Context(), license.PolicyQuery{Limit: 9})
	must(t, err)
	same(t, 0, len(got)+lines(t, s))

	made, err := s.AddPolicies(t.Context(), list[:2], acts[:2])
	must(t, err)
	got, err = s.Policies(t.Context(), license.PolicyQuery{Limit: 9})
	must(t, err)
	same(t, made, got)
	same(t, 2, lines(t, s))
}

func samePolicy(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	const each = 4
	var wg sync.WaitGroup
	made := make([][]license.TrustPolicy, each)
	errs := make([]error, each)
	for i := range each {
		wg.Go(func() {
			list := []license.TrustPolicy{
				newPolicy(10*i, a.ID, "7"), newPolicy(10*i+1, a.ID, oidc.AnyRepository),
				newPolicy(10*i+2, a.ID, "7"), newPolicy(10*i+3, b.ID, "7"),
			}
			list[2].Repository = "acme/renamed" // a name is for people
			made[i], errs[i] = s.AddPolicies(t.Context(), list,
				[]audit.Act{did(at), did(at), did(at), did(at)})
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	for _, m := range made {
		same(t, made[0], m)
	}
	same(t, made[0][0].ID, made[0][2].ID)
	got, err := s.Policies(t.Context(), license.PolicyQuery{Limit: 99})
	must(t, err)
	same(t, 3, len(got))
	same(t, 3, lines(t, s))
}

// lines is how many lines the audit log has.
func lines(t *testing.T, s Store) int {
	t.Helper()
	all, err := s.AuditLines(t.Context(), audit.Query{Limit: 99})
	must(t, err)
	return len(all)
}
