package secret_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/opaque"
)

// check checks one target and proves that it was done by reading alone.
func check(t *testing.T, w *world, writer *secret.Writer, spelled string) secret.Finding {
	t.Helper()
	findings := writer.Check(t.Context(), []secret.Target{target(t, spelled)}, name)
	if len(findings) != 1 || findings[0].Target.String() != spelled {
		t.Fatalf("Check(%s) = %+v, want one finding", spelled, findings)
	}
	for _, r := range w.github.Requests() {
		if r.Method != "GET" {
			t.Errorf("Check(%s) made a %s %s", spelled, r.Method, r.Path)
		}
	}
	return findings[0]
}

func TestACheckTellsWhatIsThereAndWhatIsProven(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		for token, classic := range map[opaque.Secret]bool{"token-for-every-kind": false, "classic-token": true} {
			w := newWorld(t)
			got := check(t, w, w.writerAs(t, token), k.target)
			proven := classic || strings.HasPrefix(k.target, "codespaces/") // which cannot be read without the right to write
			if want := (secret.Finding{Target: got.Target, Proven: proven, Known: true}); got != want {
				t.Errorf("Check(%s, nothing there) = %+v, want %+v", k.target, got, want)
			}
			var access githubtest.Access
			said := ""
			if k.ofOrganization() {
				access, said = githubtest.Access{Visibility: "selected", Selected: []int64{7, 8}}, "selected (2 repositories)"
			}
			w.github.SetSecret(k.place, name, "old", access)
			got = check(t, w, w.writerAs(t, token), k.target)
			want := secret.Finding{Target: got.Target, Proven: proven, Known: true, Exists: true, UpdatedAt: got.UpdatedAt, Access: said}
			if got != want || !got.UpdatedAt.Equal(w.clock.Now()) {
				t.Errorf("Check(%s) = %+v, want %+v", k.target, got, want)
			}
		}
	}
}

func TestACheckNamesThePermissionThatIsMissing(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		w := newWorld(t)
		got := check(t, w, w.writerAs(t, "token-that-may-nothing"), k.target)
		var fault *secret.Error
		if !errors.As(got.Err, &fault) || !strings.HasPrefix(fault.Error(), "read secret PAGEFLARE_TOKEN of ") || fault.Kind != github.PermissionMissing ||
			!strings.HasPrefix(fault.Needed, k.permission+"=") || fault.Target.PermissionKey() != k.permission || got.Proven || got.Known {
			t.Errorf("Check(%s) = %+v, want an error that names %s", k.target, got, k.permission)
		}
	}
	w := newWorld(t)
	var fault *secret.Error
	if got := check(t, w, w.writerAs(t, "token-of-the-job"), "repository"); !errors.As(got.Err, &fault) || fault.Kind != github.IntegrationForbidden {
		t.Errorf("Check(job's token) = %v, want it recognised", got.Err)
	}
}

func TestACheckFindsWhatWouldStopTheFirstWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if got := check(t, w, w.writerAs(t, "token-for-every-kind"), "organization:other"); got.Err == nil || !strings.Contains(got.Err.Error(), "there is no such secret yet") {
		t.Errorf("Check(another organization) = %v, want the refusal of the first write", got.Err)
	}
}

func TestACheckOfAnAppProvesByItsInstallationAlone(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		w := newAppWorld(t, nil)
		writer := w.appWriter(t)
		got := check(t, w.world, writer, k.target)
		if want := (secret.Finding{Target: got.Target, Proven: true}); got != want {
			t.Errorf("Check(%s) = %+v, want %+v", k.target, got, want)
		}
		w.github.WantRevoked(t, 0)

		w = newAppWorld(t, func(a *githubtest.App) { a.Installations[0].Permissions = every("read") })
		got = check(t, w.world, w.appWriter(t), k.target)
		if got.Err == nil || got.Proven || !strings.Contains(got.Err.Error(), "does not have "+k.permission+"=write") {
			t.Errorf("Check(%s, read only) = %+v, want the missing permission", k.target, got)
		}
	}
}

func TestACheckGoesThroughAllTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	targets, err := secret.ParseTargets("dependabot/repository,repository")
	if err != nil {
		t.Fatal(err)
	}
	got := w.writer.Check(t.Context(), targets, name) // its token is for the second alone
	if len(got) != 2 || got[0].Err == nil || got[1].Err != nil {
		t.Errorf("Check = %+v, want the first to fail and the second not", got)
	}
}

func TestANearerSecretShadowsTheTarget(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		there   []string
		targets string
		want    []string
	}{
		"nothing is nearer":                       {nil, "organization:acme", nil},
		"a repository's before an organization's": {[]string{"repos/acme/site/actions"}, "organization:acme", []string{"organization:acme by repository acme/site"}},
		"one that is written as well":             {[]string{"repos/acme/site/actions"}, "organization:acme,repository", nil},
		"one of another store":                    {[]string{"repos/acme/site/actions"}, "dependabot/organization:acme", nil},
		"one of the same store": {[]string{"repos/acme/site/codespaces"}, "codespaces/organization:acme",
			[]string{"codespaces/organization:acme by repository acme/site (Codespaces)"}},
		"an environment's before a repository's": {[]string{"repos/acme/site/environments/prod"}, "repository",
			[]string{`repository by environment "prod" of acme/site`}},
		"an environment's before the nearest of the targets": {[]string{"repos/acme/site/environments/prod"}, "organization:acme,repository",
			[]string{`repository by environment "prod" of acme/site`}},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, place := range tc.there {
				w.github.SetSecret(place, name, "nearer", githubtest.Access{})
			}
			targets, err := secret.ParseTargets(tc.targets)
			if err != nil {
				t.Fatal(err)
			}
			got := told(w.writerAs(t, "token-for-every-kind").Shadows(t.Context(), targets, targets, name))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Shadows (-want +got):\n%s", diff)
			}
			if got := w.writerAs(t, "token-that-may-nothing").Shadows(t.Context(), targets, targets, name); got != nil {
				t.Errorf("Shadows(no right) = %v, want none", got)
			}
		})
	}
}

// A search that the token has no right to ends with the first refusal, and nothing that goes wrong in it is waited for.
func TestTheSearchForNearerSecretsTriesNothingTwice(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		token opaque.Secret
		fault map[string]githubtest.Fault
		want  []string
	}{
		"a token that may not list environments": {goodToken, nil, []string{"GET /repos/acme/site/environments 403"}},
		"a token that may list and not read them": {"token-that-may-list", nil, []string{
			"GET /repos/acme/site/environments 200", "GET /repos/acme/site/environments/prod/secrets/PAGEFLARE_TOKEN 403",
		}},
		"GitHub has trouble": {"token-for-every-kind", map[string]githubtest.Fault{"GET /environments": {Status: 503}},
			[]string{"GET /repos/acme/site/environments 503"}},
		"GitHub has trouble later": {"token-for-every-kind", map[string]githubtest.Fault{"GET /environments/prod/secrets/PAGEFLARE_TOKEN": {Status: 429}}, []string{
			"GET /repos/acme/site/environments 200", "GET /repos/acme/site/environments/prod/secrets/PAGEFLARE_TOKEN 429",
		}},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for request, fault := range tc.fault {
				w.github.FailNext(request, fault)
			}
			targets := []secret.Target{target(t, "repository")}
			if got := w.writerAs(t, tc.token).Shadows(t.Context(), targets, targets, name); got != nil {
				t.Errorf("Shadows = %v, want none", got)
			}
			if diff := cmp.Diff(tc.want, w.asked()); diff != "" || len(w.clock.slept) > 0 {
				t.Errorf("requests (-want +got):\n%s; waits %v", diff, w.clock.slept)
			}
		})
	}
}

func TestAnAppLooksIntoEnvironmentsWhenItsInstallationMay(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		permissions map[string]string
		want        []string
		tokens      int
	}{
		"it may":                   {map[string]string{"actions": "read", "environments": "read"}, []string{`repository by environment "prod" of acme/site`}, 1},
		"it may not list them":     {map[string]string{"environments": "write"}, nil, 0},
		"it may not read them":     {map[string]string{"actions": "write"}, nil, 0},
		"it does not say what may": {nil, nil, 0},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newAppWorld(t, func(a *githubtest.App) { a.Installations[0].Permissions = tc.permissions })
			w.github.SetSecret("repos/acme/site/environments/prod", name, "nearer", githubtest.Access{})
			writer := w.appWriter(t)
			targets := []secret.Target{target(t, "repository")}
			got := told(writer.Shadows(t.Context(), targets, targets, name))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Shadows (-want +got):\n%s", diff)
			}
			if err := writer.Close(t.Context()); err != nil {
				t.Error(err)
			}
			w.github.WantRevoked(t, tc.tokens)
			for _, r := range w.github.Requests() {
				if r.Status == 403 || r.Status == 422 {
					t.Errorf("%s %s was refused (%d), want no refusal", r.Method, r.Path, r.Status)
				}
			}
		})
	}
}

func told(shadows []secret.Shadow) []string {
	var out []string
	for _, s := range shadows {
		out = append(out, s.Target.String()+" by "+s.By)
	}
	return out
}

func TestAnAppLooksForANearerSecretWithATokenThatMayRead(t *testing.T) {
	t.Parallel()
	w := newAppWorld(t, func(a *githubtest.App) { a.Installations[0].Permissions = map[string]string{"secrets": "read"} })
	w.github.SetSecret("repos/acme/site/actions", name, "nearer", githubtest.Access{})
	writer := w.appWriter(t)
	targets := []secret.Target{target(t, "organization:acme")}
	got := told(writer.Shadows(t.Context(), targets, targets, name))
	if diff := cmp.Diff([]string{"organization:acme by repository acme/site"}, got); diff != "" {
		t.Errorf("Shadows (-want +got):\n%s", diff)
	}
	if err := writer.Close(t.Context()); err != nil {
		t.Error(err)
	}
	w.github.WantRevoked(t, 1)
	if got := w.github.Mints()[0].Permissions["secrets"]; got != "read" {
		t.Errorf("the token has secrets=%s, want read", got)
	}
}

func TestEnvironmentsAreLookedIntoOnRequest(t *testing.T) {
	t.Parallel()
	for spelled, want := range map[string][]string{
		"repository":                             {`repository by environment "prod/eu" of acme/site`},
		"organization:acme":                      {`organization:acme by environment "prod/eu" of acme/site`},
		"repository,environment:PROD/EU":         nil,
		"dependabot/repository":                  nil,
		"environment:prod,codespaces/repository": nil,
	} {
		w := newWorld(t)
		w.github.SetSecret("repos/acme/site/environments/prod/eu", name, "nearer", githubtest.Access{})
		targets, err := secret.ParseTargets(spelled)
		if err != nil {
			t.Fatal(err)
		}
		got := told(w.writerAs(t, "token-for-every-kind").CheckShadows(t.Context(), targets, name))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("CheckShadows(%s) (-want +got):\n%s", spelled, diff)
		}
	}
}

func TestACheckOfAnAppMakesNoTokenToLookForShadows(t *testing.T) {
	t.Parallel()
	w := newAppWorld(t, nil)
	if got := w.appWriter(t).CheckShadows(t.Context(), []secret.Target{target(t, "organization:acme")}, name); got != nil || len(w.asked()) > 0 {
		t.Errorf("CheckShadows = %v after %q, want nothing asked", got, w.asked())
	}
}

func TestACheckReadsWhenTheSecretWasLastWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.write(t); err != nil {
		t.Fatalf("Write: %v", err)
	}
	written := w.clock.Now()
	if err := w.clock.Sleep(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	got := w.writer.Check(t.Context(), []secret.Target{target(t, "repository")}, name)
	if !got[0].Exists || !got[0].UpdatedAt.Equal(written) {
		t.Errorf("Check = %+v, want it written at %v", got[0], written)
	}
}
