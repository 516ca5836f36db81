package githubtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is one thing that can be asked: how, where, who may ask, and what right a token needs for it.
type route struct {
	method     string
	path       string
	who        caller
	permission string // "" for any token that sees the place
	level      string
	paged      bool // takes page and per_page; no other route takes a query
	handle     func(*Server, *request) answer
}

// caller is the kind of credential that a route takes.
type caller int

const (
	byToken        caller = iota // any token
	byApp                        // the JWT that an App signs
	byInstallation               // the token of an installation
	byAnyone                     // nobody is asked
)

// routes lists every route with its guard; the first that fits counts.
func routes() []route {
	all := []route{
		{"GET", "/repos/{owner}/{repo}", byToken, "", "", false, (*Server).repository},
		{"GET", "/repos/{owner}/{repo}/environments", byToken, "actions", "read", true, (*Server).listEnvironments},

		{"GET", "/repos/{owner}/{repo}/installation", byApp, "", "", false, (*Server).repositoryInstallation},
		{"GET", "/orgs/{org}/installation", byApp, "", "", false, (*Server).organizationInstallation},
		{"GET", "/repos/{owner}/{repo}/secret-scanning/alerts/{number}", byToken, "secret_scanning_alerts", "read", false, (*Server).getAlert},
		{"PATCH", "/repos/{owner}/{repo}/secret-scanning/alerts/{number}", byToken, "secret_scanning_alerts", "write", false, (*Server).updateAlert},
		{"GET", "/meta/public_keys/secret_scanning", byAnyone, "", "", false, (*Server).alertKeysList},
		{"POST", "/app-manifests/{code}/conversions", byAnyone, "", "", false, (*Server).convertManifest},
		{"GET", "/app", byApp, "", "", false, (*Server).getApp},
		{"GET", "/app/hook/config", byApp, "", "", false, (*Server).hookConfig},
		{"GET", "/app/installations", byApp, "", "", true, (*Server).listInstallations},
		{"GET", "/app/installations/{installation}", byApp, "", "", false, (*Server).oneInstallation},
		{"POST", "/app/installations/{installation}/access_tokens", byApp, "", "", false, (*Server).mintToken},
		{"DELETE", "/installation/token", byInstallation, "", "", false, (*Server).revokeToken},
	}
	all = slices.Concat(all, billingRoutes(),
		secretsAt("/repos/{owner}/{repo}/actions/secrets", "secrets", "read"),
		secretsAt("/repos/{owner}/{repo}/environments/{environment}/secrets", "environments", "read"),
		secretsAt("/repos/{owner}/{repo}/dependabot/secrets", "dependabot_secrets", "read"),
		secretsAt("/repos/{owner}/{repo}/codespaces/secrets", "codespaces_secrets", "write"),
	)
	for _, r := range slices.Clone(all) { // where redirects from former names lead
		if rest, ok := strings.CutPrefix(r.path, "/repos/{owner}/{repo}"); ok {
			r.path = "/repositories/{id}" + rest
			all = append(all, r)
		}
	}
	return slices.Concat(all,
		secretsAt("/orgs/{org}/actions/secrets", "organization_secrets", "read"),
		secretsAt("/orgs/{org}/dependabot/secrets", "organization_dependabot_secrets", "read"),
		secretsAt("/orgs/{org}/codespaces/secrets", "organization_codespaces_secrets", "write"),
	)
}

// secretsAt lists the routes of one kind of store; toRead is the level that reading needs.
func secretsAt(path, permission, toRead string) []route {
	return []route{
		{"GET", path + "/public-key", byToken, permission, toRead, false, (*Server).publicKey},
		{"GET", path + "/{name}", byToken, permission, toRead, false, (*Server).getSecret},
		{"PUT", path + "/{name}", byToken, permission, "write", false, (*Server).putSecret},
		{"GET", path + "/{name}/repositories", byToken, permission, toRead, true, (*Server).selectedRepositories},
	}
}

// answer takes a request through the checks in GitHub's order: its form, who asks, what is asked, whether the token sees it,
// and whether it may.
func (s *Server) answer(req *request) answer {
	s.world.RLock()
	defer s.world.RUnlock()
	if a, ok := malformed(req); !ok {
		return a
	}
	found, known := findRoute(req)
	if a, ok := s.identify(req, found.who); !ok {
		return a
	}
	if !known {
		s.fault("unknown route: %s %s", req.Method, req.URL.RequestURI())
		return notFound()
	}
	if a, ok := s.moved(req); ok {
		return a
	}
	if !s.locate(req, found.path) {
		return notFound()
	}
	return s.guarded(found, req)
}

// malformed checks what every request to the API must have, whatever it asks for.
func malformed(req *request) (answer, bool) {
	switch {
	case req.UserAgent() == "":
		return refuse(http.StatusForbidden, "Request forbidden by administrative rules: no User-Agent header"), false
	case !strings.Contains(req.Header.Get("Accept"), "application/vnd.github"):
		return refuse(http.StatusUnsupportedMediaType, "Accept must name application/vnd.github+json"), false
	case req.Header.Get("X-GitHub-Api-Version") == "":
		return refuse(http.StatusBadRequest, "X-GitHub-Api-Version must be sent"), false
	case len(req.body) > 0 && !strings.HasPrefix(req.Header.Get("Content-Type"), "application/json"):
		return refuse(http.StatusUnsupportedMediaType, "Content-Type must be application/json"), false
	}
	return answer{}, true
}

// findRoute matches segment by segment on the escaped path, so that only a client that escapes can name odd things. A query
// where none is taken can only come from an unescaped "?".
func findRoute(req *request) (route, bool) {
	if !req.inBase {
		return route{}, false
	}
	for _, r := range routes() {
		values, ok := match(r.path, req.path)
		if !ok || r.method != req.Method || !r.takesQuery(req.URL) {
			continue
		}
		req.values = values
		return r, true
	}
	return route{}, false
}

func (r route) takesQuery(u *url.URL) bool {
	if r.path == hookDeliveriesPath {
		return takesCursor(u.Query())
	}
	if !r.paged {
		return u.RawQuery == "" && !u.ForceQuery
	}
	for name := range u.Query() {
		if name != "page" && name != "per_page" {
			return false
		}
	}
	return true
}

func match(pattern, path string) (map[string]string, bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	values := make(map[string]string)
	for i := range want {
		name, variable := strings.CutPrefix(want[i], "{")
		if !variable {
			if want[i] != got[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(got[i])
		if err != nil || value == "" {
			return nil, false
		}
		values[strings.TrimSuffix(name, "}")] = value
	}
	return values, true
}

func (s *Server) guarded(r route, req *request) answer {
	var a answer
	forbidden, policy := s.forbidden(req)
	switch {
	case s.suspended(req.token.account) && req.Method != http.MethodDelete:
		a = refuse(http.StatusForbidden, isSuspended)
	case policy:
		a = forbidden
	case r.permission == "":
		a = r.handle(s, req)
	case req.token.may(r.permission, r.level) && req.Method != http.MethodGet && req.place.repo.Archived:
		a = refuse(http.StatusForbidden, "Repository was archived so is read-only.")
	case req.token.may(r.permission, r.level):
		a = r.handle(s, req)
	default:
		a = req.token.forbidden()
	}
	if r.permission != "" {
		a.header.Set("X-Accepted-GitHub-Permissions", r.permission+"="+r.level)
	}
	if req.token.Scopes != nil {
		a.header.Set("X-OAuth-Scopes", strings.Join(req.token.Scopes, ", "))
	}
	return a
}
