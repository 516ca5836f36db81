package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/servicetest"
)

// newRotating is a service beside a fake GitHub, where its App may write the secrets of acme.
func newRotating(t *testing.T) (*admin, *githubtest.Server) {
	t.Helper()
	g := githubtest.Start(t, githubtest.Config{
		Organizations: []string{"acme"}, Repositories: []githubtest.Repository{{ID: 7, Owner: "acme", OwnerID: 9, Name: "site"}},
		Apps: []githubtest.App{{ID: 1, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: 1, Account: "acme", Permissions: map[string]string{"secrets": "write", "metadata": "read"}},
		}}},
	})
	s := servicetest.Start(t, servicetest.Options{GitHub: g.URL(), App: servicetest.GivenApp("1", githubtest.PEM(githubtest.AppKey()))})
	return &admin{t, s, s.AdminToken(t, auth.Scopes...)}, g
}

func TestARotationLivesThroughTheAdminAPI(t *testing.T) {
	t.Parallel()
	a, g := newRotating(t)
	one, _ := a.Account(t, "one@example.com")
	two, _ := a.Account(t, "two@example.com")
	body := func(account, more string) string {
		return `{"account":"` + account + `","repository":"Acme/Site"` + more + `}`
	}
	if dry := into[api.Rotation](t, a.do("POST", "rotations", body(one.ID, `,"dry_run":true`))); dry.ID != "" || dry.RepositoryID != "7" || a.Acts(t, audit.RotationAdded) != 0 {
		t.Errorf("a dry run = %+v, want it looked up and not stored", dry)
	}
	made := into[api.Rotation](t, a.do("POST", "rotations", body(one.ID, "")))
	if !strings.HasPrefix(made.ID, "rot_") || made.Account != one.ID || made.Repository != "acme/site" || made.RepositoryID != "7" || made.OwnerID != "9" ||
		made.SecretName != "PAGEFLARE_TOKEN" || len(made.Targets) != 1 || made.Targets[0].Target != "repository" || made.Targets[0].Jti != "" {
		t.Errorf("made %+v", made)
	}
	if again := into[api.Rotation](t, a.do("POST", "rotations", body(one.ID, ""))); again.ID != made.ID {
		t.Errorf("added again it is %s, want %s", again.ID, made.ID)
	}
	taken := a.do("POST", "rotations", body(two.ID, ""))
	taken.wantCode(t, http.StatusConflict, api.CodeConflict)
	if !strings.Contains(taken.body, "rotation remove "+made.ID) {
		t.Errorf("a secret that is taken = %s, want what to do", taken.body)
	}

	path := "rotations/" + made.ID
	a.WriteSecrets(t)
	written := into[api.Rotation](t, a.do("GET", path, ""))
	if got := written.Targets[0]; got.State != "fresh" || got.Jti == "" || got.ExpiresAt == nil || got.WrittenAt == nil || got.NextAt == nil {
		t.Errorf("written, it is shown as %+v", written)
	}
	hurried := into[api.Rotation](t, a.do("POST", path+"/run", ""))
	if got := hurried.Targets[0]; hurried.ID != made.ID || got.NextAt != nil || got.Jti != written.Targets[0].Jti || len(g.Puts()) != 1 {
		t.Errorf("hurried = %+v after %d writes, want it due and not written yet", hurried, len(g.Puts()))
	}
	a.WriteSecrets(t)
	rewritten := into[api.Rotation](t, a.do("GET", path, "")).Targets[0]
	if rewritten.Jti == written.Targets[0].Jti || len(g.Puts()) != 2 {
		t.Errorf("after the hurry the secret has %s, by %d writes, want another token", rewritten.Jti, len(g.Puts()))
	}
	if page := into[api.RotationPage](t, a.do("GET", "rotations?account="+one.ID+"&repository=acme/site", "")); len(page.Items) != 1 || page.Items[0].ID != made.ID {
		t.Errorf("the rotations of the account = %+v", page)
	}

	a.do("DELETE", path+"?with_tokens=1", "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	want := api.RemovedRotation{ID: made.ID, Status: "removed", FamiliesRevoked: 2}
	if got := into[api.RemovedRotation](t, a.do("DELETE", path+"?with_tokens=true", "")); got != want {
		t.Errorf("removed %+v, want %+v", got, want)
	}
	want.FamiliesRevoked = 0
	if got := into[api.RemovedRotation](t, a.do("DELETE", path, "")); got != want {
		t.Errorf("removed twice = %+v, want %+v", got, want)
	}
	if token, _, ok := g.SecretAt("repos/acme/site/actions", "PAGEFLARE_TOKEN"); !ok {
		t.Error("the secret is gone, and it had to stay")
	} else {
		call(t, a.Service, "POST", "/_api/license/issue", "", bearer(token)...).wantCode(t, http.StatusForbidden, api.CodeTokenRevoked)
	}
	if page := into[api.RotationPage](t, a.do("GET", "rotations", "")); len(page.Items) != 0 {
		t.Errorf("after its end there are %+v", page.Items)
	}
	into[api.Rotation](t, a.do("POST", "rotations", body(two.ID, ""))) // the secret is free
}
