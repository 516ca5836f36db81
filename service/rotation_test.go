package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
)

// rotationBox is a box whose GitHub App is installed in acme.
func rotationBox(t *testing.T) (b *box, g *githubtest.Server, account string) {
	t.Helper()
	b, g = githubBox(t, githubtest.Config{
		Repositories: []githubtest.Repository{
			{ID: 7, Owner: "acme", OwnerID: 9, Name: "site", Environments: []string{"prod"}}, {ID: 8, Owner: "acme", OwnerID: 9, Name: "docs"},
		},
		Apps: []githubtest.App{{ID: 1, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: 1, Account: "acme", Permissions: map[string]string{"secrets": "write", "environments": "write"}},
		}}},
	})
	b.write("app.pem", githubtest.PEM(githubtest.AppKey()))
	b.env["LICENSE_GITHUB_APP_ID"], b.env["LICENSE_GITHUB_APP_KEY_FILE"] = "1", "app.pem"
	var page struct {
		Items []struct{ ID string }
	}
	must(t, json.Unmarshal([]byte(b.ok("account", "list", "--json")), &page))
	return b, g, page.Items[0].ID
}

// wantFailed runs the program, which must end with a status and say this on standard error.
func (b *box) wantFailed(exit int, says []string, args ...string) result {
	b.t.Helper()
	r := b.run(args...)
	if r.exit != exit {
		b.t.Errorf("%s = exit %d, want %d; it says:\n%s", strings.Join(args, " "), r.exit, exit, r.err)
	}
	for _, text := range says {
		if !strings.Contains(r.err, text) {
			b.t.Errorf("%s does not say %q:\n%s", strings.Join(args, " "), text, r.err)
		}
	}
	return r
}

func wantTexts(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(oneSpaced(got), text) {
			t.Errorf("lacks %q:\n%s", text, got)
		}
	}
}

func TestRotationByCommand(t *testing.T) {
	t.Parallel()
	b, g, account := rotationBox(t)
	b.wantFailed(exitUsage, []string{"never makes one"}, "rotation", "add", "--account", account, "--repository", "acme/site", "--target", "environment:none")
	b.wantFailed(exitUsage, []string{`target "repo" is not known`, "want OWNER/NAME", "starts with GITHUB_"},
		"rotation", "add", "--account", account, "--repository", "acme", "--target", "repo", "--secret-name", "GITHUB_X")
	b.wantFailed(exitUsage, []string{"which secrets?"}, "rotation", "add", "--account", account)
	wantTexts(t, b.ok("rotation", "add", "--account", account, "--repository", "acme/site", "--dry-run"), "repository acme/site", "repository id 7", "id -")
	wantTexts(t, b.ok("rotation", "list"), "ID REPOSITORY TARGET SECRET STATE LAST WRITTEN NEXT WHY")
	var made struct {
		ID      string
		Targets []struct{ Target, State string }
	}
	must(t, json.Unmarshal([]byte(b.ok("rotation", "add", "--account", account, "--repository", "acme/site", "--target", "repository",
		"--target", "environment:prod", "--json")), &made))
	if len(made.Targets) != 2 || made.Targets[0].State != "due" || !strings.HasPrefix(made.ID, "rot_") {
		t.Errorf("added %+v", made)
	}
	wantTexts(t, b.ok("rotation", "list"), "acme/site repository PAGEFLARE_TOKEN due - now -")
	wantTexts(t, b.ok("rotation", "run", "--dry-run"), "acme/site repository would be written", "acme/site environment:prod would be written")
	if n := len(g.Puts()); n != 0 {
		t.Errorf("a dry run made %d writes", n)
	}
	wantTexts(t, b.ok("rotation", "run"), "acme/site repository written", "acme/site environment:prod written")
	for _, place := range []string{"repos/acme/site/actions", "repos/acme/site/environments/prod"} {
		token, _, _ := g.SecretAt(place, "PAGEFLARE_TOKEN")
		if shown := b.ok("token", "show", token); !strings.Contains(oneSpaced(shown), "status live") {
			t.Errorf("the token at %s is:\n%s", place, shown)
		}
	}
	wantTexts(t, b.ok("rotation", "run"), "nothing is due")
	wantTexts(t, b.ok("rotation", "list", "--repository", "acme/site"), "acme/site environment:prod PAGEFLARE_TOKEN fresh 2")
	for _, m := range g.Mints() {
		if !m.Revoked {
			t.Errorf("a token of GitHub's for %v was not ended", m.Repositories)
		}
	}
	g.Change(func(c *githubtest.Config) {
		c.Repositories = append([]githubtest.Repository(nil), c.Repositories...)
		c.Repositories[0].Environments = nil
	})
	r := b.wantFailed(exitFailure, []string{"1 of 2 secrets could not be written"}, "rotation", "run", made.ID)
	wantTexts(t, r.out, "acme/site repository written", "acme/site environment:prod failed", "the service never makes one")
	wantTexts(t, b.run("doctor").out, "WARN rotation 1 of 2 secrets at GitHub cannot be written")
	wantTexts(t, b.ok("rotation", "list"), "environment:prod PAGEFLARE_TOKEN failing 2", "make the environment in the settings of the repository")
	b.write("list.csv", "repository,target\nacme/docs,repository\nacme/none,\nacme/site,repository|environment:prod\n")
	r = b.wantFailed(exitFailure, []string{"--from-file: line 3: ", "--from-file: line 4: "}, "rotation", "add", "--account", account, "--from-file", "list.csv")
	wantTexts(t, r.out, "acme/docs repository PAGEFLARE_TOKEN due")
	b.wantFailed(exitUsage, []string{"rotation rot_0000000000000000: not found"}, "rotation", "run", "rot_0000000000000000")
	removed := b.run("rotation", "remove", made.ID, "--with-tokens")
	wantTexts(t, removed.out, "status removed", "families revoked 4")
	wantTexts(t, removed.err, "the secrets at GitHub are as they were")
	wantTexts(t, b.ok("audit", "verify"), "intact")
}

// A server writes what was added by the command line, at its start and beside it.
func TestAServerWritesSecrets(t *testing.T) {
	t.Parallel()
	b, g, account := rotationBox(t)
	b.ok("rotation", "add", "--account", account, "--repository", "acme/site")
	written := make(chan struct{})
	g.FailNext("PUT /repos/acme/site/actions/secrets/PAGEFLARE_TOKEN", githubtest.Fault{OnArrive: func() { close(written) }})
	r := b.serve()
	<-written
	exit, log, err := r.stop(syscall.SIGTERM)
	if exit != exitOK || err != nil {
		t.Errorf("exit = %d, %v, want 0; log:\n%s", exit, err, log)
	}
	wantTexts(t, b.ok("rotation", "list"), "acme/site repository PAGEFLARE_TOKEN fresh 2")
	if token, _, _ := g.SecretAt("repos/acme/site/actions", "PAGEFLARE_TOKEN"); token == "" || strings.Contains(log, token) {
		t.Error("there is no secret, or its token is in the log")
	}
}
