package secret_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

func organizations() []kind {
	var out []kind
	for _, k := range kinds() {
		if k.ofOrganization() {
			out = append(out, k)
		}
	}
	return out
}

// crowd is a GitHub whose organization has n repositories.
func crowd(t *testing.T, n int) (*world, []int64) {
	t.Helper()
	cfg := githubConfig(newClock())
	var ids []int64
	for i := range n {
		id := int64(9_000_000_000 + i) // beyond 32 bits
		ids = append(ids, id)
		cfg.Repositories = append(cfg.Repositories, githubtest.Repository{ID: id, Owner: "acme", Name: fmt.Sprintf("r%d", i)})
	}
	w := &world{clock: newClock(), github: githubtest.Start(t, cfg)}
	w.writer = w.writerAs(t, "token-for-every-kind")
	return w, ids
}

func TestWhoMayReadAnOrganizationsSecretStaysAsItIs(t *testing.T) {
	t.Parallel()
	w, ids := crowd(t, 250)
	for about, access := range map[string]githubtest.Access{
		"all repositories":     {Visibility: "all"},
		"private repositories": {Visibility: "private"},
		"no repository":        {Visibility: "selected"},
		"one repository":       {Visibility: "selected", Selected: ids[:1]},
		"a full page":          {Visibility: "selected", Selected: ids[:100]},
		"a page and one":       {Visibility: "selected", Selected: ids[:101]},
		"250 repositories":     {Visibility: "selected", Selected: ids},
	} {
		for _, k := range organizations() {
			w.github.SetSecret(k.place, name, "old", access)
			got, err := w.writer.Write(t.Context(), target(t, k.target), name, value)
			if err != nil || got != secret.Updated {
				t.Fatalf("Write(%s, %s) = %v, %v, want updated", k.target, about, got, err)
			}
			if diff := cmp.Diff(access, w.github.AccessAt(k.place, name)); diff != "" {
				t.Errorf("access to %s, %s (-want +got):\n%s", k.target, about, diff)
			}
			if got, _, _ := w.github.SecretAt(k.place, name); got != value {
				t.Errorf("%s holds %q, want the new value", k.place, got)
			}
		}
	}
}

func TestAListIsReadInAsFewPagesAsItTakes(t *testing.T) {
	t.Parallel()
	w, ids := crowd(t, 250)
	w.github.SetSecret("orgs/acme/actions", name, "old", githubtest.Access{Visibility: "selected", Selected: ids})
	if _, err := w.writer.Write(t.Context(), target(t, "organization:acme"), name, value); err != nil {
		t.Fatalf("Write = %v", err)
	}
	want := []string{
		"GET public-key", "GET PAGEFLARE_TOKEN", "GET repositories", "GET repositories", "GET repositories", "PUT PAGEFLARE_TOKEN",
	}
	if diff := cmp.Diff(want, w.lastParts()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestAListThatIsNotSeenWholeStopsTheWrite(t *testing.T) {
	t.Parallel()
	for _, k := range organizations() {
		cfg := githubConfig(newClock())
		cfg.Repositories = append(cfg.Repositories, githubtest.Repository{ID: 9, Owner: "acme", Name: "hidden"})
		cfg.Tokens = []githubtest.Token{{Value: "near-sighted", Permissions: every("write"), Repositories: []string{"acme/site"}}}
		w := &world{clock: newClock(), github: githubtest.Start(t, cfg)}
		access := githubtest.Access{Visibility: "selected", Selected: []int64{7, 9}}
		w.github.SetSecret(k.place, name, "old", access)
		_, err := w.writerAs(t, "near-sighted").Write(t.Context(), target(t, k.target), name, value)
		if err == nil || !strings.Contains(err.Error(), "GitHub shows 1 of the 2 repositories") {
			t.Errorf("Write(%s) = %v, want it refused", k.target, err)
		}
		if got, _, _ := w.github.SecretAt(k.place, name); got != "old" || !cmp.Equal(access, w.github.AccessAt(k.place, name)) {
			t.Errorf("%s was changed: %q, %v", k.place, got, w.github.AccessAt(k.place, name))
		}
	}
}

func TestAListThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	t.Parallel()
	w, ids := crowd(t, 120)
	access := githubtest.Access{Visibility: "selected", Selected: ids}
	w.github.SetSecret("orgs/acme/actions", name, "old", access)
	w.github.FailNext("GET /repositories", githubtest.Fault{Status: http.StatusOK, Body: `{"total_count":2,"repositories":[{"id":1}]}`})
	if _, err := w.writer.Write(t.Context(), target(t, "organization:acme"), name, value); err != nil {
		t.Fatalf("Write = %v", err)
	}
	if diff := cmp.Diff(access, w.github.AccessAt("orgs/acme/actions", name)); diff != "" {
		t.Errorf("access (-want +got):\n%s", diff)
	}
}

func TestAnswersThatDoNotSayWhoMayReadStopTheWrite(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct{ request, body, want string }{
		"no visibility": {"GET /" + name, `{"name":"PAGEFLARE_TOKEN"}`, "does not say who may read the secret"},
		"no count":      {"GET /repositories", `{"repositories":[{"id":7}]}`, "does not say how many repositories"},
	} {
		w, ids := crowd(t, 1)
		access := githubtest.Access{Visibility: "selected", Selected: ids}
		w.github.SetSecret("orgs/acme/actions", name, "old", access)
		w.github.FailNext(tc.request, githubtest.Fault{Status: 200, Body: tc.body})
		_, err := w.writer.Write(t.Context(), target(t, "organization:acme"), name, value)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Write(%s) = %v, want %q", about, err, tc.want)
		}
		if got, _, _ := w.github.SecretAt("orgs/acme/actions", name); got != "old" {
			t.Errorf("%s: the secret was written all the same", about)
		}
	}
}

func TestAPageThatFailsStopsTheWrite(t *testing.T) {
	t.Parallel()
	w, ids := crowd(t, 250)
	access := githubtest.Access{Visibility: "selected", Selected: ids}
	w.github.SetSecret("orgs/acme/actions", name, "old", access)
	seen := 0
	w.github.FailNext("GET /repositories", githubtest.Fault{Times: 2, OnArrive: func() { seen++ }})
	w.github.FailNext("GET /repositories", githubtest.Fault{Status: 404})
	if _, err := w.writer.Write(t.Context(), target(t, "organization:acme"), name, value); err == nil || seen != 2 {
		t.Fatalf("Write(the third page fails) = %v after %d pages, want an error", err, seen)
	}
	if diff := cmp.Diff(access, w.github.AccessAt("orgs/acme/actions", name)); diff != "" {
		t.Errorf("access (-want +got):\n%s", diff)
	}
}

func TestTheFirstSecretOfAnOrganizationIsForThisRepositoryAlone(t *testing.T) {
	t.Parallel()
	for _, k := range organizations() {
		for _, id := range []int64{0, 7} {
			w := newWorld(t)
			cfg := writerConfig(w.config(t, "token-for-every-kind"))
			cfg.RepoID = id
			writer, err := secret.NewWriter(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := writer.Write(t.Context(), target(t, k.target), name, value); err != nil || got != secret.Created {
				t.Fatalf("Write(%s) = %v, %v, want created", k.target, got, err)
			}
			want := githubtest.Access{Visibility: "selected", Selected: []int64{7}}
			if diff := cmp.Diff(want, w.github.AccessAt(k.place, name)); diff != "" {
				t.Errorf("access to %s with id %d (-want +got):\n%s", k.target, id, diff)
			}
		}
	}
}

func TestTheFirstSecretOfAnotherOrganizationIsNotGuessed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writer = w.writerAs(t, "token-for-every-kind")
	_, err := w.writer.Write(t.Context(), target(t, "organization:other"), name, value)
	if err == nil || !strings.Contains(err.Error(), "write secret PAGEFLARE_TOKEN to organization other: there is no such secret yet") {
		t.Errorf("Write = %v, want it refused", err)
	}
	w.github.SetSecret("orgs/other/actions", name, "old", githubtest.Access{Visibility: "private"})
	if got, err := w.writer.Write(t.Context(), target(t, "organization:other"), name, value); err != nil || got != secret.Updated {
		t.Errorf("Write(one that is there) = %v, %v, want updated", got, err)
	}
}
