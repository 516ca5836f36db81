package githubapp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/origin"
)

// HookPath is where GitHub sends the webhooks of the App.
const HookPath = "/_api/webhooks/github"

// maxName is the longest name of an App.
const maxName = 34

// Events are what the App subscribes to, so far as a manifest can. GitHub sends installation and
// installation_repositories to every App, and refuses a manifest that names them. It refuses
// organization too without the permission members, which nothing else here takes; that event, and
// installation_target, are subscribed to by hand. marketplace_purchase and sponsorship are sent by
// webhooks of the Marketplace listing and of the sponsored account alone.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads
func Events() []string { return []string{"repository", "secret_scanning_alert"} }

// storePermissions are what secrets of other kinds than those of Actions take: those of a
// repository, and those of an organization.
var storePermissions = map[string][2]string{
	"dependabot": {"dependabot_secrets", "organization_dependabot_secrets"},
	"codespaces": {"codespaces_secrets", "organization_codespaces_secrets"},
}

// Permissions are the least that the service can do its work with: it writes secrets of
// repositories, environments and organizations, lists environments (actions), and reads and
// resolves alerts of leaked tokens. An App of a person is installed in no organization, and asks
// for nothing there.
func Permissions(ask Ask) map[string]string {
	out := map[string]string{
		"metadata": "read", "actions": "read", "secrets": "write", "environments": "write",
		"secret_scanning_alerts": "write",
	}
	if ask.Organization != "" {
		out["organization_secrets"] = "write"
	}
	for _, s := range ask.Stores {
		names := storePermissions[s]
		out[names[0]] = "write"
		if ask.Organization != "" {
			out[names[1]] = "write"
		}
	}
	return out
}

// Form is what a page posts to GitHub: the field manifest, to Action.
type Form struct {
	Action       string // an address of GitHub, with the state
	Origin       string // of Action
	Manifest     string // JSON
	Organization string // empty: a person's
}

// manifest is
//
//	{"name":"pageflare-license acme","url":"https://license.example","hook_attributes":{"url":"…/_api/webhooks/github","active":true},
//	 "redirect_url":"…","public":false,"default_permissions":{"secrets":"write",…},"default_events":["repository",…]}
type manifest struct {
	Name        string            `json:"name"`
	URL         string            `json:"url"`
	Description string            `json:"description"`
	Hook        hook              `json:"hook_attributes"`
	RedirectURL string            `json:"redirect_url"`
	Public      bool              `json:"public"`
	Permissions map[string]string `json:"default_permissions"`
	Events      []string          `json:"default_events"`
}

type hook struct {
	URL    string `json:"url"`
	Active bool   `json:"active"`
}

// Form is the form that makes an App. GitHub sends the browser back to the redirect address with
// the state and a code.
func (r *Registry) Form(ask Ask, redirect, state string) (Form, error) {
	if err := ask.check(); err != nil {
		return Form{}, err
	}
	web, err := WebURL(r.cfg.GitHub.APIURL)
	if err != nil {
		return Form{}, err
	}
	text, err := json.Marshal(manifest{
		Name: nameOf(ask), URL: r.cfg.PublicURL, RedirectURL: redirect,
		Hook:        hook{r.cfg.PublicURL + HookPath, true},
		Description: "Keeps the secret PAGEFLARE_TOKEN fresh, and ends Pageflare tokens that leak.",
		Permissions: Permissions(ask), Events: Events(),
	})
	if err != nil {
		return Form{}, err
	}
	action := web + "/settings/apps/new"
	if ask.Organization != "" {
		action = web + "/organizations/" + ask.Organization + "/settings/apps/new"
	}
	return Form{
		Action: action + "?state=" + url.QueryEscape(state), Origin: web, Manifest: string(text),
		Organization: ask.Organization,
	}, nil
}

// nameOf is the name that the form suggests; names are unique in all of GitHub, and its page lets a
// person change it.
func nameOf(ask Ask) string {
	if ask.Name != "" {
		return ask.Name
	}
	name := strings.TrimSpace("pageflare-license " + ask.Organization)
	if len(name) > maxName {
		name = strings.TrimRight(name[:maxName], " -_")
	}
	return name
}

// WebURL is where people reach the GitHub whose API is at an address:
//
//	https://api.github.com       https://github.com
//	https://api.acme.ghe.com     https://acme.ghe.com      (data residency)
//	https://ghe.example/api/v3   https://ghe.example       (GitHub Enterprise Server)
func WebURL(apiURL string) (string, error) {
	u, err := url.Parse(apiURL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("LICENSE_GITHUB_API_URL: %.200q is not an address of GitHub's API", apiURL)
	}
	host := u.Host
	if hosted(u) {
		host = strings.TrimPrefix(host, "api.")
	}
	return u.Scheme + "://" + host, nil
}

// hosted tells github.com and ghe.com from a server of one's own.
func hosted(api *url.URL) bool {
	host := api.Hostname()
	return host == "api.github.com" || strings.HasPrefix(host, "api.") && strings.HasSuffix(host, ".ghe.com")
}

// checkHookURL refuses a public URL to which GitHub would send nothing: a service that nobody can
// reach would wait in vain for its webhooks. A GitHub of one's own may be in the same network.
func checkHookURL(publicURL, apiURL string) error {
	refuse := func(why string) error {
		return failure.Invalid("LICENSE_PUBLIC_URL " + why +
			": set it to the https address by which GitHub reaches this service, such as https://license.example.com")
	}
	api, err := url.Parse(apiURL)
	if err != nil {
		return err
	}
	u, err := url.Parse(publicURL)
	switch {
	case err != nil || u.Hostname() == "":
		return refuse("is not set")
	case !hosted(api) && origin.Loopback(api.Hostname()) && origin.Loopback(u.Hostname()):
		return nil // a GitHub on this very machine
	case u.Scheme != "https":
		return refuse(fmt.Sprintf("is %s, and GitHub must not send webhooks in the open", publicURL))
	case hosted(api) && !public(u.Hostname()):
		return refuse(fmt.Sprintf("is %s, which GitHub cannot reach", publicURL))
	}
	return nil
}

// public says whether a host can be one that everybody reaches. What a name resolves to elsewhere,
// nobody can tell here.
func public(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsGlobalUnicast() && !ip.IsPrivate()
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	for _, suffix := range []string{".localhost", ".local", ".internal", ".lan", ".test", ".home.arpa"} {
		if strings.HasSuffix(name, suffix) {
			return false
		}
	}
	return strings.Contains(name, ".")
}
