package storetest

import (
	"testing"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/githubapp"
)

var githubApps = suite{
	"there is one GitHub App, which is replaced on purpose alone": oneApp,
	"a link to make the GitHub App is used once":                  setups,
}

func newApp(n int64) githubapp.SealedApp {
	return githubapp.SealedApp{
		App: githubapp.App{
			ID: n, ClientID: "Iv1.0123456789abcdef", Slug: "pageflare", Name: "Pageflare", HTMLURL: "https://github.example/apps/pageflare",
			Owner: "acme", CreatedAt: at,
		},
		SealedKey: []byte{0, 1, 255}, SealedWebhook: []byte{2},
	}
}

func oneApp(t *testing.T, s Store) {
	_, err := s.GitHubApp(t.Context())
	wantErr(t, "GitHubApp(none)", err, failure.ErrNotFound)
	made := did(at)
	made.Action = "made"
	must(t, s.PutGitHubApp(t.Context(), newApp(7), false, made))
	same(t, made.Action, lastLine(t, s).Action)
	wantErr(t, "PutGitHubApp(a second one)", s.PutGitHubApp(t.Context(), newApp(8), false, did(at)), failure.ErrConflict)
	got, err := s.GitHubApp(t.Context())
	must(t, err)
	same(t, newApp(7), got)
	same(t, made.Action, lastLine(t, s).Action) // what was refused left no line
	must(t, s.PutGitHubApp(t.Context(), newApp(8), true, did(at)))
	got, err = s.GitHubApp(t.Context())
	must(t, err)
	same(t, newApp(8), got)
}

func setups(t *testing.T, s Store) {
	link := func(n string, ends time.Time) githubapp.Setup {
		return githubapp.Setup{
			Hash: "hash" + n, State: "state" + n, ExpiresAt: ends,
			Ask: githubapp.Ask{Organization: "acme", Stores: []string{"dependabot"}, Name: "Name", Replace: true},
		}
	}
	old, fresh := link("1", at.Add(githubapp.SetupTTL)), link("2", at.Add(2*githubapp.SetupTTL+time.Second))
	must(t, s.AddSetup(t.Context(), old, did(at)))
	must(t, s.AddSetup(t.Context(), fresh, did(at)))
	_, err := s.SetupOf(t.Context(), old.Hash)
	wantErr(t, "SetupOf(expired)", err, failure.ErrNotFound)
	for _, by := range []string{fresh.Hash, fresh.State} {
		got, err := s.SetupOf(t.Context(), by)
		must(t, err)
		same(t, fresh, got)
	}
	must(t, s.UseSetup(t.Context(), fresh.Hash))
	wantErr(t, "UseSetup(used)", s.UseSetup(t.Context(), fresh.Hash), failure.ErrNotFound)
	_, err = s.SetupOf(t.Context(), fresh.State)
	wantErr(t, "SetupOf(used)", err, failure.ErrNotFound)
}
