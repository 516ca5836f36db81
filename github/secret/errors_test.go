package secret_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	const repoPermission = `repository permission "Secrets: read and write"`
	for about, tc := range map[string]struct {
		token  secret.Token
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
			w.writer = w.writerAs(t, tc.token)
			_, err := w.write(t)
			var got *secret.Error
			if !errors.As(err, &got) {
				t.Fatalf("Write = %v, want an *Error", err)
			}
			if got.Status != tc.status || got.Needed != tc.needed || got.Name != name || got.Target != "repository acme/site" {
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
	_, err := w.write(t)
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
			_, err := w.write(t)
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Write = %v, want %q", err, want)
				}
			}
		})
	}
}

// Every way to fail, one after the other: no error may tell the token or the value, nor span lines.
func TestNoErrorTellsTheTokenOrTheValue(t *testing.T) {
	t.Parallel()
	echo := `{"message":"bad request: Authorization: Bearer ` + goodToken + `\n\u001b[31mred ` + strings.Repeat("x", 5000) +
		`","errors":["also ` + goodToken + `"]}`
	faults := map[string]githubtest.Fault{
		"a broken connection": {CloseConnection: true, Times: -1},
		"an answer cut off":   {Status: 201, Body: echo, Truncate: true, Times: -1},
		"an echo in HTML":     {Status: 418, Body: "<html>" + goodToken},
		"a limit for long":    {Status: 429, Header: header("Retry-After", "30"), Body: echo, Times: -1},
	}
	for _, status := range []int{300, 400, 401, 403, 404, 422, 429, 500, 503} {
		faults[fmt.Sprintf("an echo with %d", status)] = githubtest.Fault{Status: status, Body: echo, Times: -1}
	}
	for about, fault := range faults {
		for _, request := range []string{"GET /public-key", "PUT /" + name} {
			t.Run(about+" on "+request, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.github.FailNext(request, fault)
				_, err := w.write(t)
				if err == nil {
					t.Fatal("Write = nil, want an error")
				}
				for e := err; e != nil; e = errors.Unwrap(e) {
					hunt(t, e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e))
				}
				if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 1000 {
					t.Errorf("Write = %q, want one plain line", err)
				}
			})
		}
	}
}

func hunt(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(text, goodToken) || strings.Contains(text, value) {
			t.Errorf("the error tells a secret: %s", text)
		}
	}
}

func TestPrintedClientsAndWritersHideTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config(t, goodToken)
	hunt(t, fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), fmt.Sprintf("%v %+v %#v", w.writer, w.writer, w.writer))
}
