package main

import (
	"bufio"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/servicetest"
)

// githubBox is a box with an account in its database, beside a fake GitHub.
func githubBox(t *testing.T, cfg githubtest.Config) (*box, *githubtest.Server) {
	t.Helper()
	g := githubtest.Start(t, cfg)
	b := newBox(t)
	b.env["LICENSE_GITHUB_API_URL"], b.env["LICENSE_PUBLIC_URL"] = g.URL(), "http://127.0.0.1:8080"
	b.ok("account", "create", "--email", "dev@example.com", "--tier", "pro", "--valid-until", "2099-01-01")
	return b, g
}

var (
	formAction   = regexp.MustCompile(`<form method="post" action="([^"]+)"`)
	formManifest = regexp.MustCompile(`name="manifest" value="([^"]+)"`)
)

// continueToGitHub opens the page of a link, and does at GitHub what a person does. It returns where
// GitHub sends the browser.
func continueToGitHub(t *testing.T, g *githubtest.Server, page string) string {
	t.Helper()
	text := open(t, page, http.StatusOK)
	action, manifest := html.UnescapeString(formAction.FindStringSubmatch(text)[1]), html.UnescapeString(formManifest.FindStringSubmatch(text)[1])
	code := g.PostManifest(t, action, manifest)
	var m struct {
		RedirectURL string `json:"redirect_url"`
	}
	must(t, json.Unmarshal([]byte(manifest), &m))
	u, err := url.Parse(action)
	must(t, err)
	return m.RedirectURL + "?" + url.Values{"code": {code}, "state": {u.Query().Get("state")}}.Encode()
}

// open gets a page.
func open(t *testing.T, address string, status int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	must(t, err)
	got, text := servicetest.Send(t, req)
	if got != status {
		t.Fatalf("%s = %d, want %d\n%s", address, got, status, text)
	}
	return text
}

func TestTheGitHubAppIsMadeFromATerminal(t *testing.T) {
	t.Parallel()
	b, g := githubBox(t, githubtest.Config{})
	cmd := b.command("github-app", "create", "--organization", "acme", "--json")
	said, err := cmd.StderrPipe()
	must(t, err)
	var out strings.Builder
	cmd.Stdout = &out
	must(t, cmd.Start())
	lines := bufio.NewScanner(said)
	page := ""
	for page == "" && lines.Scan() {
		page = strings.TrimSpace(lines.Text())
		if !strings.HasPrefix(page, "http://127.0.0.1:") {
			page = ""
		}
	}
	u, err := url.Parse(page)
	must(t, err)
	open(t, u.Scheme+"://"+u.Host+"/start/pf_gs_guess", http.StatusNotFound)
	back := continueToGitHub(t, g, page)
	open(t, strings.Replace(back, "state=", "state=x", 1), http.StatusBadRequest) // anybody can send that, and nothing comes of it
	if text := open(t, back, http.StatusOK); !strings.Contains(text, "/apps/pageflare-license-acme/installations/new") {
		t.Errorf("the page does not say where to install it:\n%s", text)
	}
	rest, err := io.ReadAll(said)
	must(t, err)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("create = %v: %s", err, rest)
	}
	var made struct{ ID int64 }
	must(t, json.Unmarshal([]byte(out.String()), &made))

	if text := b.ok("github-app", "show"); !strings.Contains(text, "installed nowhere") || !strings.Contains(text, "database") {
		t.Errorf("show:\n%s", text)
	}
	r := b.run("doctor")
	if r.exit != exitFailure || !strings.Contains(r.out, "installed nowhere") {
		t.Errorf("doctor = %d\n%s", r.exit, r.out)
	}
	g.Install(made.ID, githubtest.Installation{ID: 5, Account: "acme", Permissions: githubapp.Permissions(githubapp.Ask{Organization: "acme"})})
	if text := b.ok("github-app", "show", "--json"); !strings.Contains(text, `"problems": []`) || strings.Contains(text, g.WebhookSecret(made.ID)) || strings.Contains(text, "PRIVATE") {
		t.Errorf("show --json:\n%s", text)
	}
	if r := b.run("doctor"); !strings.Contains(r.out, "is as it should be, and is installed in 1 account") {
		t.Errorf("doctor\n%s", r.out)
	}
	b.env["LICENSE_PUBLIC_URL"] = "http://127.0.0.1:8081"
	if r := b.run("doctor"); !strings.Contains(r.out, "its webhook goes to http://127.0.0.1:8080/_api/webhooks/github, and not to http://127.0.0.1:8081/_api/webhooks/github") {
		t.Errorf("doctor\n%s", r.out)
	}
	b.run("github-app", "create", "--organization", "acme").wantFaults(t, "GitHub App pageflare-license-acme (acme): exists already")
}

func TestTheGitHubAppIsMadeOnAPageOfTheService(t *testing.T) {
	t.Parallel()
	b, g := githubBox(t, githubtest.Config{})
	s := b.serve()
	b.env["LICENSE_PUBLIC_URL"] = "http://" + s.addr
	s.kill()
	s = b.serve("--listen", s.addr)
	link := b.ok("github-app", "create", "--web")
	back := continueToGitHub(t, g, link)
	open(t, "http://"+s.addr+"/github/setup", http.StatusForbidden)
	open(t, "http://"+s.addr+"/github/setup?link=pf_gs_guess", http.StatusForbidden)
	open(t, strings.Replace(back, "state=", "state=x", 1), http.StatusForbidden)
	if text := open(t, back, http.StatusOK); !strings.Contains(text, "pageflare-license is the GitHub App of this service now") {
		t.Errorf("the page:\n%s", text)
	}
	open(t, back, http.StatusForbidden)
	if text := b.ok("github-app", "show"); !strings.Contains(text, "octocat") {
		t.Errorf("show:\n%s", text)
	}
}

func TestTheCodeOfAManifestCanBeGivenByHand(t *testing.T) {
	t.Parallel()
	b, g := githubBox(t, githubtest.Config{})
	s := b.serve()
	b.env["LICENSE_PUBLIC_URL"] = "http://" + s.addr
	s.kill()
	b.serve("--listen", s.addr)
	back, err := url.Parse(continueToGitHub(t, g, b.ok("github-app", "create", "--web")))
	must(t, err)
	if text := b.ok("github-app", "create", "--code", back.Query().Get("code")); !strings.Contains(text, "pageflare-license") {
		t.Errorf("create --code:\n%s", text)
	}
}

func TestWhatTheGitHubAppNeedsIsSaid(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.ok("account", "create", "--email", "dev@example.com", "--tier", "pro", "--valid-until", "2099-01-01")
	b.run("github-app", "create").wantFaults(t, "LICENSE_PUBLIC_URL is http://127.0.0.1:8080, and GitHub must not send webhooks in the open")
	b.run("github-app", "create", "--web", "--code", "x").wantFaults(t, "--web: ")
	b.run("github-app", "create", "--port", "70000").wantFaults(t, "--port: ")
	b.run("github-app", "show").wantFaults(t, "GitHub App: not found: run `pageflare-license github-app create`")
	b.env["LICENSE_GITHUB_APP_ID"], b.env["LICENSE_GITHUB_APP_KEY_FILE"] = "4711", b.path("app.pem")
	b.run("github-app", "show").wantFaults(t, "LICENSE_GITHUB_APP_KEY_FILE: "+b.path("app.pem")+" cannot be read: no such file")
	b.write("app.pem", "not a key")
	b.run("github-app", "show").wantFaults(t, "LICENSE_GITHUB_APP_KEY_FILE: "+b.path("app.pem")+": not a private key of a GitHub App")
	must(t, os.Remove(b.path("app.pem")))
	b.write("app.pem", githubtest.PEM(githubtest.AppKey()))
	b.env["LICENSE_GITHUB_API_URL"] = "http://127.0.0.1:1"
	b.run("github-app", "create").wantFaults(t, "LICENSE_GITHUB_APP_ID names an App, which takes precedence")
}
