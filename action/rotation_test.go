package main

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/servicetest"
)

// rotated gives the job a service that keeps the secret of its repository fresh.
func (j *job) rotated(t *testing.T) {
	t.Helper()
	j.github = githubtest.Start(t, githubtest.Config{
		Repositories: []githubtest.Repository{{ID: 1296269, Owner: "acme", OwnerID: 583231, Name: "site"}},
		Tokens:       []githubtest.Token{{Value: writerPAT, Permissions: map[string]string{"secrets": "write", "metadata": "read"}}},
		Apps: []githubtest.App{{ID: 1, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: 1, Account: "acme", Permissions: map[string]string{"secrets": "write", "metadata": "read"}},
		}}},
	})
	j.service = servicetest.Start(t, servicetest.Options{GitHub: j.github.URL(), App: servicetest.GivenApp("1", githubtest.PEM(githubtest.AppKey()))})
	a, _ := j.service.Account(t, "rotated@example.com")
	j.account = a.ID
	j.env["GITHUB_API_URL"], j.env["INPUT_API-URL"] = j.github.URL(), j.service.URL
	j.service.KeepFresh(t, j.account, repoName)
}

// asked is what the Action asked GitHub and the License API for, since before.
func (j *job) asked(before int) (out []string) {
	for _, r := range j.github.Requests()[before:] {
		out = append(out, r.Method+" "+r.Path)
	}
	return out
}

// A workflow that runs long after the service wrote its secret finds a fresh token: nothing is
// refreshed and nothing written.
func TestASecretThatTheServiceKeepsFreshIsNotTouched(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.rotated(t)
	j.service.WriteSecrets(t)
	stored := j.stored()
	if stored == "" {
		t.Fatal("the service wrote no secret")
	}
	j.env["PAGEFLARE_TOKEN"] = stored
	before := len(j.github.Requests())
	r := j.run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "fresh", "refreshed": "false", "secret-updated": "false"})
	j.wantWhole(true)
	if asked := j.asked(before); len(asked) != 0 {
		t.Errorf("the Action asked GitHub: %v", asked)
	}
	if j.stored() != stored || tokenCount(j) != 1 {
		t.Error("the Action wrote the secret, or got another token")
	}
}

// A job that was given its secrets before the service wrote a fresh one has an old token in hand: it
// refreshes that for itself, and leaves the newer secret alone.
func TestASecretThatTheServiceWroteMeanwhileIsLeftAlone(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.rotated(t)
	j.licensed(2 * dayLong)
	event := j.write("event.json", "{}")
	begun := time.Now().Add(-3 * time.Second)
	must(t, os.Chtimes(event, begun, begun))
	j.env["GITHUB_EVENT_PATH"] = event
	j.service.WriteSecrets(t)
	stored, before := j.stored(), len(j.github.Requests())
	r := j.run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "refreshed", "refreshed": "true"})
	if asked := j.asked(before); slices.ContainsFunc(asked, func(s string) bool { return s[:4] == "PUT " }) {
		t.Errorf("the Action wrote the secret: %v", asked)
	}
	if j.stored() != stored {
		t.Error("the secret is not that of the service any more")
	}
}
