package remedy_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

func TestAClockThatStaysWrongIsCorrectedOnceOnly(t *testing.T) {
	t.Parallel()
	w := newWorldWithApp(t, nil)
	w.github.FailNext("GET /repos/acme/site/installation", githubtest.Fault{
		Status: 401, Times: -1, Body: `{"message":"'Expiration time' claim ('exp') is too far in the future"}`,
	})
	err := w.writeByApp(t, "repository")
	if err == nil || !strings.Contains(err.Error(), "check the clock of this runner") || len(w.asked()) != 2 {
		t.Errorf("Write = %v after %d requests, want an error after 2", err, len(w.asked()))
	}
}

func TestWhatStopsAnAppSaysItsRemedy(t *testing.T) {
	t.Parallel()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	only := func(permissions map[string]string) func(*githubtest.App) {
		return func(a *githubtest.App) { a.Installations[0].Permissions = permissions }
	}
	for about, tc := range map[string]struct {
		spoil  func(*githubtest.App)
		target string
		status int
		needed string
		want   []string
		calls  int
	}{
		"not installed anywhere": {func(a *githubtest.App) { a.Installations = nil }, "repository", 404, "",
			[]string{"the GitHub App 12345 is not installed in repository acme/site (404)", "install it there and let it reach this repository, or check app-id"}, 1},
		"installed for another repository": {func(a *githubtest.App) { a.Installations[0].Repositories = []string{"acme/open"} }, "environment:prod", 404, "",
			[]string{"is not installed in repository acme/site"}, 1},
		"not installed in the organization": {func(a *githubtest.App) { a.Installations = a.Installations[:1] }, "dependabot/organization:other", 404, "",
			[]string{"is not installed in organization other (404)", "let an owner of the organization install it"}, 1},
		"the key of another App": {func(a *githubtest.App) { a.Key = &other.PublicKey }, "repository", 401, "",
			[]string{"GitHub does not know the key of the GitHub App 12345 (401)", "app-private-key is of another App or was deleted, or app-id is wrong"}, 1},
		"an id of no App": {func(a *githubtest.App) { a.ID = 4 }, "repository", 404, "",
			[]string{"Integration not found", "check app-id"}, 1},
		"a suspended installation": {func(a *githubtest.App) { a.Installations[0].Suspended = true }, "repository", 403, "",
			[]string{"is suspended", "in the settings under GitHub Apps"}, 1},
		"a permission that was not granted": {only(map[string]string{"secrets": "write"}), "dependabot/repository", 0, "dependabot_secrets=write",
			[]string{"does not have dependabot_secrets=write", `give the App the repository permission "Dependabot secrets: read and write"`, "accept the change"}, 1},
		"a permission to read": {only(map[string]string{"environments": "read"}), "environment:prod", 0, "environments=write",
			[]string{"does not have environments=write"}, 1},
		"permissions that the answer leaves out": {only(nil), "organization:acme", 422, "organization_secrets=write",
			[]string{"does not have organization_secrets=write", `organization permission "Secrets: read and write"`}, 2},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorldWithApp(t, tc.spoil)
			err := w.writeByApp(t, tc.target)
			var got *secret.Error
			if !errors.As(err, &got) || got.Status != tc.status || got.Needed != tc.needed {
				t.Fatalf("Write = %+v, want an *Error with status %d that needs %q", err, tc.status, tc.needed)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Write = %v, want %q", err, want)
				}
			}
			if got := len(w.asked()); got != tc.calls {
				t.Errorf("%d requests %v, want %d: none is repeated", got, w.asked(), tc.calls)
			}
			w.github.WantRevoked(t, 0)
		})
	}
}

// What is not known to be the cause is not named as the cause: GitHub's own words are there for
// that.
func TestRefusalsOfAnAppKeepGitHubsWords(t *testing.T) {
	t.Parallel()
	const lookup, mint = "GET /repos/acme/site/installation", "POST /app/installations/99/access_tokens"
	wrong := []string{"is suspended", "does not have secrets=write", "suspended or blocked"}
	for about, tc := range map[string]struct {
		request string
		status  int
		message string
		needed  string
		want    []string
		wrong   []string
	}{
		"addresses": {lookup, 403, "Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list enabled", "",
			[]string{"GitHub refused the GitHub App 12345 (403): Although you appear", "add the address of this runner to its IP allow list"}, wrong},
		"addresses, later": {mint, 403, "the `acme` organization has an IP allow list enabled", "", []string{"IP allow list enabled; let an owner"}, wrong},
		"a suspension": {mint, 403, "This installation has been suspended", "",
			[]string{"the installation of the GitHub App 12345 is suspended (403): This installation has been suspended; let an owner of the account allow it again"}, nil},
		"a permission": {mint, 403, "Resource not accessible by integration", "administration=read",
			[]string{"(403): Resource not accessible by integration; the App needs administration=read: give it that"}, wrong},
		"another reason": {mint, 403, "Forbidden by a rule\nof the enterprise", "",
			[]string{"GitHub refused the GitHub App 12345 (403): Forbidden by a rule of the enterprise; let an owner of the repository acme/site see"}, wrong},
		"a repository out of reach": {mint, 422, "There is at least one repository that does not exist or is not accessible to the parent installation.", "",
			[]string{"(422): There is at least one repository", "let the installation of the App reach acme/site"}, wrong},
		"a permission that was not granted": {mint, 422, "The permissions requested are not granted to this installation.", "",
			[]string{"does not have secrets=write (422): The permissions requested are not granted to this installation.; give the App the"}, nil},
		"another fault": {mint, 422, strings.Repeat("long ", 100), "", []string{"(422): long long", "…; compare the App's permissions"}, wrong},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorldWithApp(t, nil)
			fault := githubtest.Fault{Status: tc.status, Body: `{"message":` + strconv.Quote(tc.message) + `}`}
			if tc.needed != "" {
				fault.Header = header("X-Accepted-GitHub-Permissions", tc.needed)
			}
			w.github.FailNext(tc.request, fault)
			err := w.writeByApp(t, "repository")
			var got *secret.Error
			if !errors.As(err, &got) || got.Status != tc.status || tc.needed != "" && got.Needed != tc.needed {
				t.Fatalf("Write = %+v, want an *Error with status %d that needs %q", err, tc.status, tc.needed)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Write = %v, want %q", err, want)
				}
			}
			for _, cause := range tc.wrong {
				if strings.Contains(err.Error(), cause) {
					t.Errorf("Write = %v, want no %q", err, cause)
				}
			}
		})
	}
}

func TestRefusalsOfAnAppsTokenSpeakOfTheApp(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		401: "the token that was made for the GitHub App is no longer good",
		403: `the GitHub App needs secrets=write: give it the repository permission "Secrets: read and write"`,
		404: "let the installation of the GitHub App reach it",
	} {
		w := newWorldWithApp(t, nil)
		fault := githubtest.Fault{Status: status}
		if status == 403 {
			fault.Body = `{"message":"Resource not accessible by integration"}`
		}
		w.github.FailNext("GET /public-key", fault)
		err := w.writeByApp(t, "repository")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "GITHUB_TOKEN") {
			t.Errorf("Write(%d) = %v, want %q", status, err, want)
		}
	}
}
