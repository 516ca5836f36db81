package license_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/servicetest"
)

// trust is a policy for a repository of owner 8.
func trust(account, repository string, change ...func(*license.TrustPolicy)) license.TrustPolicy {
	p := license.TrustPolicy{AccountID: account, Policy: oidc.Policy{
		Issuer: "https://token.actions.githubusercontent.com", RepositoryID: repository, OwnerID: "8",
	}}
	for _, f := range change {
		f(&p)
	}
	return p
}

func onMain(p *license.TrustPolicy) { p.Refs = []string{"refs/heads/main"} }

// A policy for the very repository comes before one for its owner, an older one before a newer one,
// one whose license is good before one whose is not; and policies add up.
func TestWhichPolicyLetsAJobIn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first, second := b.anotherAccount("one@example.com"), b.anotherAccount("two@example.com")
	add := func(p license.TrustPolicy) string {
		t.Helper()
		made, err := b.AddPolicy(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		b.advance(time.Second)
		return made.ID
	}
	older := add(trust(first, oidc.AnyRepository))
	newer := add(trust(second, oidc.AnyRepository))
	own := add(trust(second, "7", onMain))
	job := func(change ...func(*oidc.Identity)) oidc.Identity {
		id := oidc.Identity{
			Issuer: "https://token.actions.githubusercontent.com", RepositoryID: "7", OwnerID: "8", Event: "push", Ref: "refs/heads/main",
		}
		for _, f := range change {
			f(&id)
		}
		return id
	}
	want := func(what string, id oidc.Identity, policy string, refusal error) {
		t.Helper()
		got, _, err := b.PolicyFor(t.Context(), id)
		if got.ID != policy || !errors.Is(err, refusal) {
			t.Errorf("PolicyFor(%s) = %q, %v, want %q, %v", what, got.ID, err, policy, refusal)
		}
	}
	dev := func(i *oidc.Identity) { i.Ref = "refs/heads/dev" }
	other := func(i *oidc.Identity) { i.RepositoryID = "9" }
	want("the repository", job(), own, nil)
	want("another branch of it", job(dev), older, nil)
	want("another repository", job(other), older, nil)
	want("a repository that left the owner", job(func(i *oidc.Identity) { i.OwnerID = "80" }), "", auth.ErrNoPolicy)
	want("an owner of that number at another GitHub", job(other, func(i *oidc.Identity) { i.Issuer = "https://token.actions.example.ghe.com" }), "", auth.ErrNoPolicy)

	if _, err := b.SuspendAccount(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	want("another repository, and the older account is suspended", job(other), newer, nil)
	if _, err := b.SuspendAccount(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	want("the repository, and both accounts are suspended", job(), "", account.ErrInactive)
}

// anotherAccount is the id of a new account.
func (b *bench) anotherAccount(email string) string {
	b.t.Helper()
	a, _, err := b.CreateAccount(b.t.Context(), account.NewAccount{Email: email, Tier: account.Pro, ValidUntil: b.clock().AddDate(1, 0, 0)})
	if err != nil {
		b.t.Fatal(err)
	}
	return a.ID
}

func TestPoliciesAreAddedAllOrNone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.anotherAccount("one@example.com")
	named := func(name string) func(*license.TrustPolicy) {
		return func(p *license.TrustPolicy) { p.Repository = name }
	}
	many := make([]license.TrustPolicy, license.MaxPolicies+1)
	for i := range many {
		many[i] = trust(a, fmt.Sprint(i+1))
	}
	wrong := make([]license.TrustPolicy, 30)
	for name, test := range map[string]struct {
		list []license.TrustPolicy
		is   error
		want []string
	}{
		"none":     {nil, failure.ErrInvalid, []string{"no policy is given"}},
		"too many": {many, failure.ErrInvalid, []string{"1001 policies are more than 1000"}},
		"two are wrong": {[]license.TrustPolicy{trust(a, "x"), trust(a, "1"), trust(a, "2", func(p *license.TrustPolicy) { p.Refs, p.Events = []string{"main"}, []string{"pushh"} })}, failure.ErrInvalid,
			[]string{"items[0]: repository id \"x\"", "\nitems[2]: ref \"main\"", "\nitems[2]: event \"pushh\""}},
		"no account":                    {[]license.TrustPolicy{trust(a, "1"), trust("user_none", "2"), trust("user_none", "3")}, failure.ErrNotFound, []string{"items[1]: account user_none: not found"}},
		"an id that was left out":       {[]license.TrustPolicy{trust(a, "")}, failure.ErrInvalid, []string{"items[0]: repository id \"\""}},
		"no ids but a name":             {[]license.TrustPolicy{{AccountID: a, Repository: "acme/site", Policy: oidc.Policy{Issuer: "https://token.actions.githubusercontent.com"}}}, failure.ErrInvalid, []string{"items[0]: repository id \"\""}},
		"one name and the whole owner":  {[]license.TrustPolicy{trust(a, oidc.AnyRepository, named("acme/site"))}, failure.ErrInvalid, []string{"do not go together"}},
		"every name and one repository": {[]license.TrustPolicy{trust(a, "7", named("acme/*"))}, failure.ErrInvalid, []string{"do not go together"}},
		"a pattern":                     {[]license.TrustPolicy{trust(a, oidc.AnyRepository, named("acme/s*"))}, failure.ErrInvalid, []string{"is not OWNER/NAME"}},
		"many faults":                   {wrong, failure.ErrInvalid, []string{"items[19]: ", "and 10 policies more have errors"}},
	} {
		_, err := b.AddPolicies(t.Context(), test.list)
		if !errors.Is(err, test.is) {
			t.Errorf("AddPolicies(%s) = %v, want %v", name, err, test.is)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("AddPolicies(%s) = %v, without %q", name, err, want)
			}
		}
	}
	if got, err := b.Policies(t.Context(), license.PolicyQuery{Limit: 9}); len(got) > 0 || err != nil {
		t.Fatalf("policies = %v, %v, want none", got, err)
	}
	made, err := b.AddPolicies(t.Context(), many[:license.MaxPolicies])
	if err != nil || len(made) != license.MaxPolicies || made[999].RepositoryID != "1000" {
		t.Errorf("AddPolicies(%d) = %d, %v", license.MaxPolicies, len(made), err)
	}
}

// Two who add the same at the same moment, on different servers, make one policy and one line.
func TestTheSamePolicyIsAddedOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.anotherAccount("one@example.com")
	servers := []servicetest.Rules{b.replica(), b.replica()}
	made := make([]license.TrustPolicy, 8)
	errs := make([]error, len(made))
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			made[i], errs[i] = servers[i%len(servers)].AddPolicy(context.WithoutCancel(t.Context()), trust(a, "7", onMain))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, m := range made {
		if m.ID != made[0].ID {
			t.Errorf("two policies: %s and %s", made[0].ID, m.ID)
		}
	}
	lines, err := b.Lines(t.Context(), audit.Query{Action: audit.PolicyAdded, Limit: 99})
	if err != nil || len(lines) != 1 {
		t.Errorf("lines of the audit log = %d, %v, want 1", len(lines), err)
	}
}

func TestFindRepositories(t *testing.T) {
	t.Parallel()
	named := func(name string) license.TrustPolicy {
		return license.TrustPolicy{Repository: name, Policy: oidc.Policy{Issuer: "https://token.actions.githubusercontent.com"}}
	}
	down := errors.New("down")
	var asked []string
	find := func(_ context.Context, name string) (string, string, error) {
		asked = append(asked, name)
		switch name {
		case "acme/*":
			return oidc.AnyRepository, "8", nil
		case "acme/none":
			return "", "", failure.Invalid("no such repository")
		case "acme/down":
			return "", "", down
		}
		return "7", "8", nil
	}
	half := trust("", "7")
	half.Repository, half.OwnerID = "acme/half", ""
	byID := trust("", "10")
	for name, test := range map[string]struct {
		list []license.TrustPolicy
		ask  string
		want string
		is   error
	}{
		"each name once":                         {[]license.TrustPolicy{named("acme/site"), named("acme/*"), named("Acme/Site"), trust("", "9"), byID}, "acme/site acme/*", "", nil},
		"every name that cannot be seen":         {[]license.TrustPolicy{named("acme/none"), named("acme/site"), named("acme/none")}, "acme/none acme/site", "items[0]: no such repository\nitems[2]: no such repository", failure.ErrInvalid},
		"nothing after what hits them all":       {[]license.TrustPolicy{named("acme/site"), named("acme/down"), named("acme/blog")}, "acme/site acme/down", "items[1]: down", down},
		"nobody when half of the ids is missing": {[]license.TrustPolicy{named("acme/site"), half}, "", `items[1]: repository owner id "" is not a number such as 583231`, failure.ErrInvalid},
		"nobody when a condition is wrong":       {[]license.TrustPolicy{named("acme/site"), trust("", "9", func(p *license.TrustPolicy) { p.Refs = []string{"main"} })}, "", `items[1]: ref "main" is not a whole ref such as refs/heads/main`, failure.ErrInvalid},
	} {
		asked = nil
		err := license.FindRepositories(t.Context(), test.list, find)
		if got := strings.Join(asked, " "); got != test.ask {
			t.Errorf("%s: asked for %s, want %s", name, got, test.ask)
		}
		if test.is == nil {
			if ids := []string{test.list[0].RepositoryID, test.list[1].RepositoryID, test.list[2].OwnerID, test.list[3].RepositoryID, test.list[4].RepositoryID}; err != nil || strings.Join(ids, " ") != "7 * 8 9 10" {
				t.Errorf("%s: %v, %v", name, ids, err)
			}
			continue
		}
		if !errors.Is(err, test.is) || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}
