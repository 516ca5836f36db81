package githubtest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// place is what the path of a request names.
type place struct {
	repo  Repository
	org   string // empty for a repository
	store string // "actions", "dependabot" or "codespaces"; empty for what is no secret
	key   string // of Server.stores
}

// locate finds what the path names. It is false when that is not there, or when the caller may not see it: GitHub answers
// both alike.
func (s *Server) locate(req *request, pattern string) bool {
	v := req.values
	switch {
	case v["org"] != "":
		req.place.org = v["org"]
		req.place.key = "orgs/" + v["org"]
		known := slices.ContainsFunc(s.cfg.Organizations, func(org string) bool { return strings.EqualFold(org, v["org"]) })
		if !known || !req.token.reaches(v["org"]) {
			return false
		}
	case v["owner"] != "":
		repo, ok := s.find(v["owner"] + "/" + v["repo"])
		if !ok || s.cfg.NoNewEnvironmentPaths && v["environment"] != "" || !req.sees(repo) {
			return false
		}
		req.place.repo, req.place.key = repo, "repos/"+repo.fullName()
	case v["id"] != "":
		repo, ok := s.findID(v["id"])
		if !ok || s.cfg.NoOldEnvironmentPaths && v["environment"] != "" || !req.sees(repo) {
			return false
		}
		req.place.repo, req.place.key = repo, "repos/"+repo.fullName()
	}
	return req.place.enter(pattern, v["environment"]) && !(s.cfg.NoDependabot && req.place.store == "dependabot")
}

// moved answers a request that names a repository by a former name, if the caller sees the
// repository:
//
//	301 Location: /repositories/7/actions/secrets/public-key
//
// or 307 for all but GET, so that the method stays.
// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects
func (s *Server) moved(req *request) (answer, bool) {
	named := req.values["owner"] + "/" + req.values["repo"]
	if _, taken := s.find(named); taken {
		return answer{}, false
	}
	for _, repo := range s.cfg.Repositories {
		if !slices.ContainsFunc(repo.FormerNames, func(name string) bool { return strings.EqualFold(name, named) }) || !req.sees(repo) {
			continue
		}
		rest := strings.SplitN(req.path, "/", 5)[4:] // of /repos/{owner}/{repo}/…
		to := s.URL() + "/" + strings.Join(append([]string{"repositories", strconv.FormatInt(repo.ID, 10)}, rest...), "/")
		if req.URL.RawQuery != "" {
			to += "?" + req.URL.RawQuery
		}
		a := refuse(http.StatusTemporaryRedirect, "Temporary Redirect")
		if req.Method == http.MethodGet {
			a = refuse(http.StatusMovedPermanently, "Moved Permanently")
		}
		return a.with(http.Header{"Location": {to}}), true
	}
	return answer{}, false
}

// enter completes the place with its store.
func (p *place) enter(pattern, environment string) bool {
	if !strings.Contains(pattern, "/secrets/") {
		return true
	}
	if environment != "" {
		p.store = "actions"
		p.key = strings.ToLower(p.key + "/environments/" + environment)
		return slices.ContainsFunc(p.repo.Environments, func(name string) bool { return strings.EqualFold(name, environment) })
	}
	before, _, _ := strings.Cut(pattern, "/secrets/")
	p.store = before[strings.LastIndex(before, "/")+1:]
	p.key = strings.ToLower(p.key + "/" + p.store)
	return true
}

func (req *request) sees(repo Repository) bool { return req.app != nil || req.token.sees(repo) }

func (s *Server) find(fullName string) (Repository, bool) {
	for _, repo := range s.cfg.Repositories {
		if repo.is(fullName) {
			return repo, true
		}
	}
	return Repository{}, false
}

func (s *Server) findID(id string) (Repository, bool) {
	for _, repo := range s.cfg.Repositories {
		if strconv.FormatInt(repo.ID, 10) == id {
			return repo, true
		}
	}
	return Repository{}, false
}

func (r Repository) fullName() string { return r.Owner + "/" + r.Name }

func (r Repository) is(fullName string) bool { return strings.EqualFold(r.fullName(), fullName) }
