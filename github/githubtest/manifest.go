package githubtest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// codeTime is how long the code of a manifest is good.
const codeTime = time.Hour

// madeApp is an App that a manifest made, and the code that gives its credentials, once.
type madeApp struct {
	app    *App
	code   string // empty: it was used
	until  time.Time
	secret string
}

// manifest is what the browser posts, all that GitHub knows of it.
type manifest struct {
	Name               string            `json:"name"`
	URL                string            `json:"url"`
	Description        string            `json:"description"`
	Hook               *manifestHook     `json:"hook_attributes"`
	RedirectURL        string            `json:"redirect_url"`
	CallbackURLs       []string          `json:"callback_urls"`
	SetupURL           string            `json:"setup_url"`
	Public             bool              `json:"public"`
	DefaultEvents      []string          `json:"default_events"`
	DefaultPermissions map[string]string `json:"default_permissions"`
}

type manifestHook struct {
	URL    string `json:"url"`
	Active bool   `json:"active"`
}

var (
	newAppPath = regexp.MustCompile(`\A/(?:organizations/([A-Za-z0-9_-]+)/)?settings/apps/new\z`)
	// events that GitHub sends to every App, and that none can subscribe to
	impliedEvents = []string{"installation", "installation_repositories", "github_app_authorization", "ping"}
	// the permission that each event needs
	neededFor = map[string]string{
		"repository": "metadata", "secret_scanning_alert": "secret_scanning_alerts", "organization": "members",
	}
	// events of other webhooks than those of Apps
	elsewhere = []string{"marketplace_purchase", "sponsorship"}
)

// PostManifest does what a person does at GitHub who is signed in, was sent there with a manifest and says yes: it makes the
// App, and gives the code with which GitHub sends the browser back. action is where the form posts to.
func (s *Server) PostManifest(tb TB, action, text string) (code string) {
	tb.Helper()
	u, err := url.Parse(action)
	if err != nil || u.Scheme+"://"+u.Host != "http://"+s.addr {
		tb.Fatalf("fake github: the form posts to %s, which is another server", action)
	}
	at := newAppPath.FindStringSubmatch(u.Path)
	if at == nil {
		tb.Fatalf("fake github: there is no page %s to make an App", u.Path)
	}
	if u.Query().Get("state") == "" {
		tb.Errorf("fake github: the form has no state: the browser of anybody could come back in the place of this one")
	}
	var m manifest
	if err := decodeStrictly([]byte(text), &m); err != nil {
		tb.Fatalf("fake github: manifest: %v", err)
	}
	if err := m.check(); err != nil {
		tb.Fatalf("fake github: manifest: %v", err)
	}
	owner := at[1]
	if owner == "" {
		owner = "octocat"
	}
	return s.makeApp(m, owner)
}

func (m manifest) check() error {
	switch {
	case m.Name == "" || len(m.Name) > 34:
		return fmt.Errorf("name %q: want 1 to 34 characters", m.Name)
	case m.URL == "" || m.Hook == nil || m.Hook.URL == "" || m.RedirectURL == "":
		return fmt.Errorf("url, hook_attributes.url and redirect_url are required")
	}
	for _, e := range m.DefaultEvents {
		if slices.Contains(impliedEvents, e) {
			return fmt.Errorf("no App subscribes to %s: each gets it", e)
		}
		if slices.Contains(elsewhere, e) {
			return fmt.Errorf("no App subscribes to %s: its webhook is another one", e)
		}
		if needs := neededFor[e]; needs == "" || m.DefaultPermissions[needs] == "" {
			return fmt.Errorf("event %s needs the permission %q", e, needs)
		}
	}
	return nil
}

func (s *Server) makeApp(m manifest, owner string) (code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := int64(900 + len(s.madeApps))
	made := &madeApp{code: strings.ToLower(rand.Text()), until: s.cfg.Now().Add(codeTime), secret: rand.Text(), app: &App{
		ID: id, ClientID: fmt.Sprintf("Iv1.%016x", id), Slug: strings.ReplaceAll(strings.ToLower(m.Name), " ", "-"), Name: m.Name,
		Owner: owner, Key: &AppKey().PublicKey, Permissions: m.DefaultPermissions, Events: m.DefaultEvents, HookURL: m.Hook.URL,
	}}
	s.madeApps = append(s.madeApps, made)
	return made.code
}

// Install installs an App that a manifest made.
func (s *Server) Install(app int64, i Installation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.madeApps {
		if m.app.ID == app {
			grown := *m.app // what others hold stays as it is
			grown.Installations = append(slices.Clone(grown.Installations), i)
			m.app = &grown
		}
	}
}

// WebhookSecret is what the webhooks of an App that a manifest made are signed with.
func (s *Server) WebhookSecret(app int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.madeApps {
		if m.app.ID == app {
			return m.secret
		}
	}
	return ""
}

// convertManifest answers with the credentials, to anybody who has the code, once:
//
//	{"id":900,"slug":"acme-app","client_id":"Iv1.…","name":"Acme App","owner":{"login":"acme"},"html_url":"…/apps/acme-app",
//	 "client_secret":"…","webhook_secret":"…","pem":"-----BEGIN RSA PRIVATE KEY-----…","permissions":{…},"events":[…]}
func (s *Server) convertManifest(req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(req.body) > 0 {
		return invalid("the request takes no body")
	}
	for _, m := range s.madeApps {
		if m.code == "" || m.code != req.values["code"] || s.cfg.Now().After(m.until) {
			continue
		}
		m.code = ""
		body := s.aboutApp(m.app)
		body["pem"], body["webhook_secret"], body["client_secret"] = PEM(AppKey()), m.secret, rand.Text()
		return answerJSON(http.StatusCreated, body)
	}
	return notFound()
}

// aboutApp is what GitHub says of an App.
func (s *Server) aboutApp(app *App) map[string]any {
	return map[string]any{
		"id": app.ID, "slug": app.Slug, "client_id": app.ClientID, "name": app.Name,
		"html_url": "http://" + s.addr + "/apps/" + app.Slug, "owner": owner{Login: app.Owner},
		"permissions": app.Permissions, "events": app.Events, "installations_count": len(app.Installations),
	}
}

// getApp answers with the App that asks.
func (s *Server) getApp(req *request) answer { return answerJSON(http.StatusOK, s.aboutApp(req.app)) }

// hookConfig answers
//
//	{"content_type":"json","insecure_ssl":"0","secret":"********","url":"https://license.example/_api/webhooks/github"}
func (s *Server) hookConfig(req *request) answer {
	if req.app.HookURL == "" {
		return answerJSON(http.StatusOK, map[string]any{})
	}
	return answerJSON(http.StatusOK, map[string]any{
		"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": req.app.HookURL,
	})
}

// listInstallations answers with a list of what describe answers.
func (s *Server) listInstallations(req *request) answer {
	shown, header, err := s.page(req, len(req.app.Installations))
	if err != nil {
		return invalid(err.Error())
	}
	all := []json.RawMessage{}
	for _, i := range req.app.Installations[shown.from:shown.to] {
		all = append(all, s.describeInstallation(i))
	}
	return answerJSON(http.StatusOK, all).with(header)
}

// oneInstallation answers with an installation of the App that asks.
func (s *Server) oneInstallation(req *request) answer {
	i, ok := req.app.installation(req.values["installation"])
	if !ok {
		return notFound()
	}
	return answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body: s.describeInstallation(i)}
}

// findMadeApp is findApp among those that manifests made.
func (s *Server) findMadeApp(issuer string) (*App, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.madeApps {
		if issuer == strconv.Quote(strconv.FormatInt(m.app.ID, 10)) || issuer == strconv.Quote(m.app.ClientID) {
			return m.app, true
		}
	}
	return nil, false
}
