package githubtest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
)

// wide is a GitHub with every kind of store, and a token for all of them.
func wide() githubtest.Config {
	cfg := config()
	cfg.Repositories[0].Environments = []string{"prod/eu"}
	cfg.Organizations = []string{"acme"}
	permissions := map[string]string{"actions": "read"}
	for permission := range stores() {
		permissions[permission] = "write"
	}
	cfg.Tokens = append(cfg.Tokens,
		githubtest.Token{Value: "all", Permissions: permissions},
		githubtest.Token{Value: "classic", Scopes: []string{"repo", "admin:org"}},
		githubtest.Token{Value: "classic-org", Scopes: []string{"admin:org"}},
		githubtest.Token{Value: "near-sighted", Permissions: permissions, Repositories: []string{"acme/other"}},
	)
	return cfg
}

// stores gives the path of each kind by its permission.
func stores() map[string]string {
	return map[string]string{
		"secrets": "/repos/acme/site/actions/secrets", "environments": "/repos/acme/site/environments/prod%2Feu/secrets",
		"dependabot_secrets": "/repos/acme/site/dependabot/secrets", "codespaces_secrets": "/repos/acme/site/codespaces/secrets",
		"organization_secrets": "/orgs/acme/actions/secrets", "organization_dependabot_secrets": "/orgs/acme/dependabot/secrets",
		"organization_codespaces_secrets": "/orgs/acme/codespaces/secrets",
	}
}

// keyAt asks for the public key of a store.
func keyAt(t *testing.T, s *githubtest.Server, path string) (string, *[32]byte) {
	t.Helper()
	r := call{method: "GET", path: path + "/public-key", token: "all"}.do(t, s)
	var answer struct {
		KeyID string `json:"key_id"`
		Key   []byte `json:"key"`
	}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil || len(answer.Key) != 32 {
		t.Fatalf("public key at %s = %s, %v", path, r.body, err)
	}
	return answer.KeyID, (*[32]byte)(answer.Key)
}

func TestEachStoreHasAKeyAndAPermissionOfItsOwn(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, wide())
	seen := map[string]string{}
	for permission, path := range stores() {
		id, public := keyAt(t, s, path)
		if before, ok := seen[id+string(public[:])]; ok {
			t.Errorf("%s and %s have the same key", path, before)
		}
		seen[id+string(public[:])] = path
		toRead := "read"
		if strings.Contains(permission, "codespaces") {
			toRead = "write"
		}
		for method, level := range map[string]string{"GET": toRead, "PUT": "write"} {
			got := call{method: method, path: path + "/X", token: "nobody", body: "{}"}.do(t, s)
			if header := got.header.Get("X-Accepted-GitHub-Permissions"); got.status != 403 || header != permission+"="+level {
				t.Errorf("%s %s = %d needs %q, want 403 and %s=%s", method, path, got.status, header, permission, level)
			}
		}
	}
}

func TestAnEnvironmentHasTwoPathsUnlessOneIsMissing(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		noOld, noNew bool
		want         [2]int
	}{"both": {false, false, [2]int{200, 200}}, "old": {false, true, [2]int{200, 404}}, "new": {true, false, [2]int{404, 200}}} {
		cfg := wide()
		cfg.NoOldEnvironmentPaths, cfg.NoNewEnvironmentPaths = tc.noOld, tc.noNew
		s := githubtest.Start(t, cfg)
		got := [2]int{
			call{method: "GET", path: "/repositories/7/environments/PROD%2Feu/secrets/public-key", token: "all"}.do(t, s).status,
			call{method: "GET", path: "/repos/acme/site/environments/prod%2Feu/secrets/public-key", token: "all"}.do(t, s).status,
		}
		if got != tc.want {
			t.Errorf("statuses with %s = %v, want %v", about, got, tc.want)
		}
	}
	s := githubtest.Start(t, wide())
	for _, path := range []string{"/repos/acme/site/environments/prod/secrets/public-key", "/repositories/8/environments/prod%2Feu/secrets/public-key",
		"/repositories/9/environments/prod%2Feu/secrets/public-key"} {
		if got := (call{method: "GET", path: path, token: "all"}).do(t, s); got.status != 404 {
			t.Errorf("GET %s = %d, want 404", path, got.status)
		}
	}
	got := call{method: "GET", path: "/repos/acme/site/environments", token: "all"}.do(t, s)
	if want := `{"total_count":1,"environments":[{"name":"prod/eu"}]}`; got.body != want {
		t.Errorf("GET environments = %s, want %s", got.body, want)
	}
}

func TestWhoMayReadIsRequiredAndStrictInOrganizations(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, wide())
	for permission, path := range stores() {
		if !strings.HasPrefix(permission, "organization_") {
			continue
		}
		id, public := keyAt(t, s, path)
		sealed := seal(t, public, "v")
		ids, others := `[7,8]`, `["7","8"]`
		if strings.Contains(path, "dependabot") {
			ids, others = others, ids
		}
		for more, want := range map[string]int{
			``: 422, `,"visibility":"some"`: 422, `,"visibility":"all","selected_repository_ids":` + ids: 422,
			`,"visibility":"selected","selected_repository_ids":` + others: 422,
			`,"visibility":"selected","selected_repository_ids":[1]`:       422,
			`,"visibility":"selected","selected_repository_ids":["x"]`:     422,
			`,"visibility":"all"`: 0, `,"visibility":"private"`: 0, `,"visibility":"selected"`: 0,
			`,"visibility":"selected","selected_repository_ids":` + ids: 0,
		} {
			body := fmt.Sprintf(`{"key_id":%q,"encrypted_value":%q%s}`, id, sealed, more)
			got := call{method: "PUT", path: path + "/X", token: "all", body: body}.do(t, s).status
			if want == 0 && got != 201 && got != 204 || want != 0 && got != want {
				t.Errorf("PUT %s with %s = %d, want %d", path, more, got, want)
			}
		}
	}
}

func TestAWriteWithoutAListTakesAccessAway(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, wide())
	s.SetSecret("orgs/acme/actions", "X", "old", githubtest.Access{Visibility: "selected", Selected: []int64{7, 8}})
	path := "/orgs/acme/actions/secrets"
	id, public := keyAt(t, s, path)
	body := fmt.Sprintf(`{"key_id":%q,"encrypted_value":%q,"visibility":"selected"}`, id, seal(t, public, "v"))
	if got := (call{method: "PUT", path: path + "/X", token: "all", body: body}).do(t, s); got.status != 204 {
		t.Fatalf("PUT = %d, want 204", got.status)
	}
	if diff := cmp.Diff(githubtest.Access{Visibility: "selected"}, s.AccessAt("orgs/acme/actions", "X")); diff != "" {
		t.Errorf("access (-want +got):\n%s", diff)
	}
}

func TestSelectedRepositoriesComeInPages(t *testing.T) {
	t.Parallel()
	cfg := wide()
	var ids []int64
	for i := range 250 {
		cfg.Repositories = append(cfg.Repositories, githubtest.Repository{ID: int64(100 + i), Owner: "acme", Name: fmt.Sprintf("r%d", i)})
		ids = append(ids, int64(100+i))
	}
	s := githubtest.Start(t, cfg)
	s.SetSecret("orgs/acme/actions", "X", "v", githubtest.Access{Visibility: "selected", Selected: ids})
	path := "/orgs/acme/actions/secrets/X/repositories"
	for query, want := range map[string]struct {
		shown int
		next  bool
	}{
		"": {30, true}, "?per_page=100": {100, true}, "?per_page=500": {100, true}, "?per_page=100&page=3": {50, false}, "?page=99": {0, false},
	} {
		got := call{method: "GET", path: path + query, token: "all"}.do(t, s)
		var list struct {
			TotalCount   int `json:"total_count"`
			Repositories []struct {
				ID int64 `json:"id"`
			} `json:"repositories"`
		}
		if err := json.Unmarshal([]byte(got.body), &list); err != nil || list.TotalCount != 250 || len(list.Repositories) != want.shown {
			t.Errorf("GET %s = %d of %d, %v, want %d", query, len(list.Repositories), list.TotalCount, err, want.shown)
		}
		if next := strings.Contains(got.header.Get("Link"), `rel="next"`); next != want.next {
			t.Errorf("GET %s: next = %v, want %v", query, next, want.next)
		}
	}
	if got := (call{method: "GET", path: path + "?page=0", token: "all"}).do(t, s); got.status != 422 {
		t.Errorf("GET page 0 = %d, want 422", got.status)
	}
	if got := (call{method: "GET", path: path, token: "near-sighted"}).do(t, s); !strings.Contains(got.body, `{"total_count":250,"repositories":[]}`) {
		t.Errorf("GET by a token that sees none = %s, want them counted only", got.body)
	}
	s.SetSecret("orgs/acme/actions", "X", "v", githubtest.Access{Visibility: "all"})
	if got := (call{method: "GET", path: path, token: "all"}).do(t, s); got.status != 409 {
		t.Errorf("GET for all = %d, want 409", got.status)
	}
}

func TestScopesOfClassicTokensAreTold(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, wide())
	for token, want := range map[string][2]int{"classic": {200, 200}, "classic-org": {404, 200}} {
		repo := call{method: "GET", path: secrets + "public-key", token: token}.do(t, s)
		org := call{method: "GET", path: "/orgs/acme/actions/secrets/public-key", token: token}.do(t, s)
		if got := [2]int{repo.status, org.status}; got != want || !strings.Contains(org.header.Get("X-OAuth-Scopes"), "admin:org") {
			t.Errorf("%s = %v, scopes %q, want %v", token, got, org.header.Get("X-OAuth-Scopes"), want)
		}
	}
}

func TestSetSecretSealsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, wide())
	s.SetSecret("orgs/Acme/dependabot", "x", "v", githubtest.Access{Visibility: "private"})
	if got, _, ok := s.SecretAt("orgs/acme/dependabot", "X"); got != "v" || !ok {
		t.Errorf("SecretAt = %q, %v, want v", got, ok)
	}
}
