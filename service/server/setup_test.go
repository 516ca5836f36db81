package server_test

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/servicetest"
)

// owner is the browser of an operator who makes the GitHub App.
type owner struct {
	*servicetest.Service
	t      *testing.T
	github *githubtest.Server
}

func newOwner(t *testing.T) *owner {
	t.Helper()
	g := githubtest.Start(t, githubtest.Config{})
	return &owner{servicetest.Start(t, servicetest.Options{GitHub: g.URL()}), t, g}
}

// link is the path of a page on which an App of acme is made.
func (o *owner) link() string {
	o.t.Helper()
	link, _, err := o.Parts.App.CreateSetup(o.t.Context(), githubapp.Ask{Organization: "acme"})
	if err != nil {
		o.t.Fatal(err)
	}
	return strings.TrimPrefix(link.Reveal(), o.Origin)
}

func (o *owner) get(path string) answer {
	o.t.Helper()
	return call(o.t, o.Service, "GET", path, "")
}

var (
	setupAction   = regexp.MustCompile(`<form method="post" action="([^"]+)"`)
	setupManifest = regexp.MustCompile(`name="manifest" value="([^"]+)"`)
)

// confirm does at GitHub what the page of a link asks for. It returns the state and the code with which
// GitHub sends the browser back.
func (o *owner) confirm(link string) (state, code string) {
	o.t.Helper()
	page := o.get(link)
	page.wantPage(o.t, http.StatusOK, "for the organization <strong>acme</strong>")
	found := func(e *regexp.Regexp) string {
		m := e.FindStringSubmatch(page.body)
		if m == nil {
			o.t.Fatalf("the page lacks %s:\n%s", e, page.body)
		}
		return html.UnescapeString(m[1])
	}
	action, manifest := found(setupAction), found(setupManifest)
	u, err := url.Parse(action)
	if err != nil {
		o.t.Fatal(err)
	}
	var back struct {
		URL string `json:"redirect_url"`
	}
	if err := json.Unmarshal([]byte(manifest), &back); err != nil || back.URL != o.Origin+githubapp.CallbackPath {
		o.t.Fatalf("GitHub sends the browser to %q, %v", back.URL, err)
	}
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action "+o.github.URL()) {
		o.t.Errorf("the page may not post to GitHub: %s", policy)
	}
	return u.Query().Get("state"), o.github.PostManifest(o.t, action, manifest)
}

// done is where GitHub sends the browser.
func (o *owner) done(state, code string) answer {
	o.t.Helper()
	return o.get(githubapp.CallbackPath + "?" + url.Values{"state": {state}, "code": {code}}.Encode())
}

func TestTheGitHubAppIsMadeOnAPage(t *testing.T) {
	t.Parallel()
	o := newOwner(t)
	first, second, wrong, unknown := o.link(), o.link(), o.link(), o.link()
	state, _ := o.confirm(wrong)
	o.done(state, "no code").wantPage(t, http.StatusBadRequest, "that is not a code of GitHub's")
	state, _ = o.confirm(unknown)
	o.done(state, "unknown").wantPage(t, http.StatusBadRequest, "GitHub does not know that code")
	o.confirm(first) // looking at a link does not use it up
	state, code := o.confirm(first)
	late, unused := o.confirm(second)
	o.done("x", code).wantPage(t, http.StatusForbidden, "this link is not known")
	o.done(state, code).wantPage(t, http.StatusOK, "pageflare-license-acme is the GitHub App of this service now")
	made, err := o.Parts.App.Stored(t.Context())
	if err != nil || made.Owner != "acme" || made.WebhookSecret.Reveal() != o.github.WebhookSecret(made.ID) {
		t.Errorf("stored %s of %s, %v", made.Slug, made.Owner, err)
	}
	o.done(state, code).wantPage(t, http.StatusForbidden, "was used already")
	o.get(first).wantPage(t, http.StatusForbidden, "was used already")
	o.done(late, unused).wantPage(t, http.StatusConflict, "pageflare-license-acme") // there is one now
	if again, err := o.Parts.App.Stored(t.Context()); err != nil || again.ID != made.ID {
		t.Errorf("stored %d, %v, want the App of before", again.ID, err)
	}
}

// TestGuessedSetupLinksAreLimitedByAddress on both pages, and a good one is not held up.
func TestGuessedSetupLinksAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	for _, path := range []string{githubapp.SetupPath + "?link=pf_gs_guess", githubapp.CallbackPath + "?state=guess&code=x"} {
		g := githubtest.Start(t, githubtest.Config{})
		o := &owner{servicetest.Start(t, servicetest.Options{GitHub: g.URL(), BadCredentials: 1, Now: frozen()}), t, g}
		o.get(path).wantPage(t, http.StatusForbidden, "this link is not known")
		over := o.get(path)
		over.wantStatus(t, http.StatusTooManyRequests)
		if over.header.Get("Retry-After") == "" {
			t.Errorf("%s: it is not said when to try again", path)
		}
		o.confirm(o.link())
	}
}
