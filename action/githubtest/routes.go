package githubtest

import (
	"net/http"
	"net/url"
	"strings"
)

// route is one thing that can be asked: how, where, and what right a token needs for it.
type route struct {
	method     string
	path       string
	permission string // "" for any token that sees the repository
	level      string
	handle     func(*Server, Repository, *request) answer
}

// routes lists every route with its guard; the first that fits counts.
func routes() []route {
	return []route{
		{"GET", "/repos/{owner}/{repo}", "", "", (*Server).repository},
		{"GET", "/repos/{owner}/{repo}/actions/secrets/public-key", "secrets", "read", (*Server).publicKey},
		{"GET", "/repos/{owner}/{repo}/actions/secrets/{name}", "secrets", "read", (*Server).getSecret},
		{"PUT", "/repos/{owner}/{repo}/actions/secrets/{name}", "secrets", "write", (*Server).putSecret},
	}
}

// answer takes a request through the checks in GitHub's order: its form, who asks, what is asked, whether the token sees it,
// and whether it may.
func (s *Server) answer(req *request) answer {
	if a, ok := malformed(req); !ok {
		return a
	}
	token, ok := s.identify(req)
	if !ok {
		return refuse(http.StatusUnauthorized, "Bad credentials")
	}
	req.token = token
	found, ok := findRoute(req)
	if !ok {
		s.fault("unknown route: %s %s", req.Method, req.URL.RequestURI())
		return notFound()
	}
	repo, ok := s.visible(token, req.values["owner"], req.values["repo"])
	if !ok {
		return notFound()
	}
	return s.guarded(found, repo, req)
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

// findRoute matches segment by segment on the escaped path, so that only a client that escapes can name odd things. None of
// the routes takes a query: one can only come from an unescaped "?".
func findRoute(req *request) (route, bool) {
	if !req.inBase || req.URL.RawQuery != "" || req.URL.ForceQuery {
		return route{}, false
	}
	for _, r := range routes() {
		if values, ok := match(r.path, req.path); ok && r.method == req.Method {
			req.values = values
			return r, true
		}
	}
	return route{}, false
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

func (s *Server) guarded(r route, repo Repository, req *request) answer {
	if r.permission == "" {
		return r.handle(s, repo, req)
	}
	a := req.token.forbidden()
	if req.token.may(r.permission, r.level) {
		a = r.handle(s, repo, req)
	}
	a.header.Set("X-Accepted-GitHub-Permissions", r.permission+"="+r.level)
	return a
}
