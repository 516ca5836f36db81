package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	adminapi "github.com/pageflare/ci/service/server/admin"
	"github.com/pageflare/ci/service/servicetest"
)

// organizations knows the organization acme, of the owner 1, and its repository acme/site.
func organizations(_ context.Context, name string) (repositoryID, ownerID string, err error) {
	switch name {
	case "acme/*":
		return "*", "1", nil
	case "acme/site":
		return "1296269", "1", nil
	case "acme/slow":
		return "", "", adminapi.ErrNoAnswer
	case "acme/limit":
		return "", "", adminapi.ErrAnonymousLimit
	}
	return "", "", failure.Invalid("no such repository as " + name)
}

// A policy for an organization allows the jobs of its repositories, whichever they are, and those
// of nobody else: not of who has its name today, not of what it gave away, not of a fork.
func TestAnOrganizationIsTrusted(t *testing.T) {
	t.Parallel()
	k := newKeylessWith(t, servicetest.Options{Repository: organizations, BadCredentials: 1000})
	a := &admin{t, k.Service, k.AdminToken(t, auth.ScopePoliciesWrite)}
	made := into[api.Policy](t, a.do("POST", "policies", `{"account":"`+k.account.ID+`","organization":"acme"}`))
	if made.Repository != "acme/*" || made.RepositoryID != "*" || made.RepositoryOwnerID != "1" {
		t.Errorf("made = %+v", made)
	}
	for name, job := range map[string]struct {
		claims map[string]any
		in     bool
	}{
		"a repository":                           {nil, true},
		"one that is made later":                 {map[string]any{"repository_id": "77", "repository": "acme/later"}, true},
		"one with a new name":                    {map[string]any{"repository_owner": "acme-inc", "repository": "acme-inc/site"}, true},
		"one that was given to another owner":    {map[string]any{"repository_owner_id": "2"}, false},
		"an owner that took over the name":       {map[string]any{"repository_owner_id": "2", "repository_id": "77", "repository": "acme/site", "sub": "repo:acme/site:ref:refs/heads/main"}, false},
		"a push to a fork":                       {map[string]any{"repository_owner_id": "3", "repository_id": "78", "repository": "fork/site"}, false},
		"what strangers cause":                   {map[string]any{"event_name": "pull_request_target"}, false},
		"an id of the owner with zeros":          {map[string]any{"repository_owner_id": "01"}, false},
		"a repository called as all of them":     {map[string]any{"repository_id": "*"}, false},
		"no owner":                               {map[string]any{"repository_owner_id": ""}, false},
		"no repository":                          {map[string]any{"repository_id": nil}, false},
		"an owner called as all of them":         {map[string]any{"repository_owner_id": "*", "repository_id": "*"}, false},
		"the repository with the owner's number": {map[string]any{"repository_id": "1", "repository_owner_id": "2"}, false},
	} {
		got := k.exchange(k.identity(job.claims))
		if in := got.status == http.StatusOK; in != job.in {
			t.Errorf("a job of %s = %d %s, want it allowed: %t", name, got.status, got.body, job.in)
		}
	}
}

// Leaving something out never widens a policy.
func TestAWholeOwnerIsTrustedOnlyByName(t *testing.T) {
	t.Parallel()
	k := newKeylessWith(t, servicetest.Options{Repository: organizations})
	a := &admin{t, k.Service, k.AdminToken(t, auth.Scopes...)}
	post := func(members string) answer {
		return a.do("POST", "policies", `{"account":"`+k.account.ID+`",`+members+`}`)
	}
	for _, refused := range []string{
		`"repository_owner_id":"1"`, `"repository_id":"","repository_owner_id":"1"`, `"repository":"acme/site","repository_owner_id":"1"`,
		`"repository":"acme/*","repository_owner_id":"1"`, `"repository_id":"*"`, `"repository_id":"*","repository_owner_id":"*"`,
		`"repository":"acme/site","repository_id":"*","repository_owner_id":"1"`, `"organization":"acme","repository":"acme/site"`,
		`"organization":"acme","repository_id":"7"`, `"organization":"acme/site"`, `"organization":"*"`, `"organization":"acme*"`, `"organization":"none"`,
		`"organization":""`, `"organization":"../acme"`,
	} {
		post(refused).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	}
	if page := into[api.PolicyPage](t, a.do("GET", "policies", "")); len(page.Items) != 0 {
		t.Fatalf("policies = %+v, want none", page.Items)
	}
	first := into[api.Policy](t, post(`"organization":"acme"`))
	for _, same := range []string{`"repository":"acme/*"`, `"repository_id":"*","repository_owner_id":"1"`, `"organization":"acme","repository_owner_id":"1"`} {
		if made := into[api.Policy](t, post(same)); made.ID != first.ID {
			t.Errorf("%s made %+v, want the same as %s", same, made, first.ID)
		}
	}
	if page := into[api.PolicyPage](t, a.do("GET", "policies?repository=ACME/*", "")); len(page.Items) != 1 {
		t.Errorf("policies of acme/* = %+v, want the one", page.Items)
	}
}

func TestPoliciesInOneRequest(t *testing.T) {
	t.Parallel()
	k := newKeylessWith(t, servicetest.Options{Repository: organizations})
	k.MayFail() // acme/slow
	a := &admin{t, k.Service, k.AdminToken(t, auth.Scopes...)}
	item := func(members string) string { return `{"account":"` + k.account.ID + `",` + members + `}` }
	byID := func(n int) string { return item(fmt.Sprintf(`"repository_id":"%d","repository_owner_id":"1"`, n)) }
	post := func(items ...string) answer {
		return a.do("POST", "policies/batch", `{"items":[`+strings.Join(items, ",")+`]}`)
	}
	many := make([]string, 1001)
	for i := range many {
		many[i] = byID(i + 1)
	}
	for _, test := range []struct {
		items  []string
		status int
		code   api.Code
		want   []string
	}{
		{nil, 400, api.CodeInvalidRequest, []string{"no policy is given"}},
		{many, 400, api.CodeInvalidRequest, []string{"1001 policies are more than 1000"}},
		{[]string{byID(1), item(`"repository":"acme/none"`), item(`"repository":"acme/site","ref":["main"]`)}, 400, api.CodeInvalidRequest, []string{`items[2]: ref \"main\" is not a whole ref`}},
		{[]string{byID(1), item(`"repository":"acme/none"`)}, 400, api.CodeInvalidRequest, []string{"items[1]: no such repository as acme/none; or give repository_id"}},
		{[]string{byID(1), item(`"repository_id":"x","issuer":"https://typo.example"`)}, 400, api.CodeInvalidRequest, []string{`items[1]: issuer \"https://typo.example\" is not trusted here`}},
		{[]string{byID(1), `{"account":"user_0000000000000000","repository_id":"2","repository_owner_id":"1"}`}, 404, api.CodeNotFound, []string{"items[1]: account user_0000000000000000: not found"}},
		{[]string{byID(1), `{"account":"x","repository_id":"2","repository_owner_id":"1"}`}, 404, api.CodeNotFound, []string{"items[1]: account: not found"}},
		{[]string{byID(1), item(`"repository":"acme/slow"`)}, 503, api.CodeUnavailable, []string{"GitHub does not answer"}},
		{[]string{byID(1), item(`"repository":"acme/limit"`)}, 503, api.CodeUnavailable, []string{"set GITHUB_TOKEN for the service"}},
	} {
		got := post(test.items...)
		got.wantCode(t, test.status, test.code)
		for _, want := range test.want {
			if !strings.Contains(got.body, want) {
				t.Errorf("the answer is %s, without %s", got.body, want)
			}
		}
	}
	lines, err := k.Lines(t.Context(), audit.Query{Action: audit.PolicyAdded, Limit: 9})
	if page := into[api.PolicyPage](t, a.do("GET", "policies", "")); len(page.Items)+len(lines) != 0 || err != nil {
		t.Fatalf("policies = %+v, lines = %+v, %v, want none", page.Items, lines, err)
	}

	// several at once, with one another and with themselves
	answers := make([]api.AddedPolicies, 4)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			answers[i] = into[api.AddedPolicies](t, post(item(`"repository":"acme/site"`), item(`"organization":"acme"`), byID(1296269), byID(7)))
		})
	}
	wg.Wait()
	for _, got := range answers {
		if len(got.Items) != 4 || got.Items[0].ID != answers[0].Items[0].ID || got.Items[2].ID != got.Items[0].ID || got.Items[1].RepositoryID != "*" || got.Items[3].RepositoryID != "7" {
			t.Errorf("added = %+v", got.Items)
		}
	}
	if page := into[api.PolicyPage](t, a.do("GET", "policies", "")); len(page.Items) != 3 {
		t.Errorf("policies = %+v, want 3", page.Items)
	}
	if got := into[api.AddedPolicies](t, post(many[:1000]...)); len(got.Items) != 1000 || got.Items[6].ID != answers[0].Items[3].ID {
		t.Errorf("added = %d policies, want 1000, of them one that is there", len(got.Items))
	}
}
