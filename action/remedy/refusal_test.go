package remedy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/opaque"
)

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	const repoPermission = `repository permission "Secrets: read and write"`
	for about, tc := range map[string]struct {
		token  opaque.Secret
		status int
		needed string
		want   string
	}{
		"a token that GitHub does not know": {
			"token-of-nobody", 401, "",
			"GitHub refused (401): Bad credentials; github-token is invalid or expired: make a new one and store it again",
		},
		"a token without the permission": {
			"token-that-may-nothing", 403, "secrets=read",
			"GitHub refused (403): Resource not accessible by personal access token; the token needs secrets=write: " +
				"give the fine-grained token the " + repoPermission,
		},
		"a token that may only read": {
			"token-that-may-read", 403, "secrets=write",
			"GitHub refused (403): Resource not accessible by personal access token; the token needs secrets=write: " +
				"give the fine-grained token the " + repoPermission,
		},
		"the job's own token": {
			"token-of-the-job", 403, "secrets=read",
			"GitHub refused (403): Resource not accessible by integration; the job's own GITHUB_TOKEN can never write secrets, " +
				"and the token of a GitHub App needs secrets=write: give github-token a fine-grained token with the " + repoPermission +
				", or set app-id and app-private-key of a GitHub App that has it",
		},
		"a token that cannot see the repository": {
			"token-of-others", 404, "",
			"GitHub refused (404): Not Found; acme/site does not exist or the token cannot see it: let the fine-grained token " +
				`reach this repository, or give a classic token the scope "repo"`,
		},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			err := w.write(t, tc.token, "repository")
			var got *secret.Error
			if !errors.As(err, &got) {
				t.Fatalf("Write = %v, want an *Error", err)
			}
			if got.Status != tc.status || got.Needed != tc.needed || got.Name != name || got.Place() != "repository acme/site" {
				t.Errorf("Write = %+v, want status %d, needed %q", *got, tc.status, tc.needed)
			}
			if want := "write secret PAGEFLARE_TOKEN to repository acme/site: " + tc.want; err.Error() != want {
				t.Errorf("Write =\n%v, want\n%s", err, want)
			}
		})
	}
}

func TestAPermissionThatWeDidNotExpectIsNamedAsGitHubNamesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("PUT /"+name, githubtest.Fault{
		Status: 403, Header: header("X-Accepted-GitHub-Permissions", "organization_secrets=write"),
	})
	err := w.write(t, goodToken, "repository")
	if err == nil || !strings.Contains(err.Error(), "the token needs organization_secrets=write") {
		t.Errorf("Write = %v, want GitHub's own name of the permission", err)
	}
}

func TestRefusalsKeepGitHubsDetails(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		fault githubtest.Fault
		want  []string
	}{
		"422 with codes": {
			githubtest.Fault{Status: 422, Body: `{"message":"Validation Failed","errors":[{"resource":"Secret","field":"name","code":"invalid"},` +
				`{"field":"key_id","code":"missing_field"},{"code":"custom","message":"too many"},{}]}`},
			[]string{"GitHub refused (422): Validation Failed (Secret.name: invalid) (key_id: missing_field) too many; see that secret-name is right"},
		},
		"422 with nothing": {githubtest.Fault{Status: 422}, []string{"GitHub refused (422): Validation Failed; see that secret-name is right", "hold 100 secrets"}},
		"403 with the permission in a header": {
			githubtest.Fault{Status: 403, Header: header("X-Accepted-GitHub-Permissions", "secrets=write"), Body: `{"message":"Must have admin rights to Repository."}`},
			[]string{"GitHub refused (403): Must have admin rights to Repository.; the token needs secrets=write: see that the token's owner may administer"},
		},
		"403 by address": {
			githubtest.Fault{Status: 403, Body: `{"message":"Although you appear to have the correct authorization credentials, the acme organization has an IP allow list ` +
				`enabled, and your IP address is not permitted to access this resource."}`},
			[]string{"has an IP allow list enabled", "add the address of this runner to its IP allow list"},
		},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.github.FailNext("PUT /"+name, tc.fault)
			err := w.write(t, goodToken, "repository")
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Write = %v, want %q", err, want)
				}
			}
		})
	}
}

func TestEachKindNamesThePermissionThatIsMissing(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		for _, token := range []opaque.Secret{"token-that-may-nothing", "token-that-may-read-all"} {
			w := newWorld(t)
			err := w.write(t, token, k.target)
			var got *secret.Error
			if !errors.As(err, &got) || got.Status != 403 || !strings.HasPrefix(got.Needed, k.permission+"=") {
				t.Fatalf("Write(%s) as %s = %v, want a 403 that needs %s", k.target, token.Reveal(), err, k.permission)
			}
			want := fmt.Sprintf("the token needs %s=write: give the fine-grained token the %s", k.permission, k.title)
			if !strings.HasSuffix(err.Error(), want) {
				t.Errorf("Write(%s) as %s = %v, want %q at its end", k.target, token.Reveal(), err, want)
			}
		}
		err := newWorld(t).write(t, "token-of-the-job", k.target)
		for _, want := range []string{"the job's own GITHUB_TOKEN can never write secrets", k.title, "app-id and app-private-key"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Write(%s) with the job's token = %v, want %q", k.target, err, want)
			}
		}
	}
}

func TestAPlaceThatCannotBeSeenSaysWhatItMayBe(t *testing.T) {
	t.Parallel()
	for spelled, tc := range map[string]struct {
		token opaque.Secret
		want  string
	}{
		"repository":                   {"token-of-others", "acme/site does not exist or the token cannot see it: let the fine-grained token reach"},
		"dependabot/repository":        {"token-of-others", "acme/site does not exist or the token cannot see it: let the fine-grained token reach"},
		"environment:prod":             {"token-of-others", "if it is there, let the fine-grained token reach"},
		"environment:nowhere":          {"token-for-every-kind", `environment "nowhere" of acme/site does not exist or the token cannot see it: create the environment`},
		"organization:nobody":          {"token-for-every-kind", "organization nobody does not exist or the token cannot see it: make the fine-grained token with the organization"},
		"codespaces/organization:none": {"token-for-every-kind", `the scope "admin:org"`},
		"organization:acme":            {"classic-token-without-scopes", `see that the token's owner may administer the organization, that a classic token has the scope "admin:org"`},
	} {
		w := newWorld(t)
		err := w.write(t, tc.token, spelled)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Write(%s) = %v, want %q", spelled, err, tc.want)
		}
	}
}
