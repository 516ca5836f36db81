package githubtest

import (
	"net/http"
	"slices"
	"strings"
)

// A Token is one that the fake GitHub accepts.
type Token struct {
	Value        string
	Permissions  map[string]string // "secrets": "write"
	Repositories []string          // "acme/site"; the private ones that it sees. nil: all

	// GitHubToken makes it the GITHUB_TOKEN of a job, or that of a GitHub App: refusals then speak of an integration.
	GitHubToken bool
}

// identify finds the token of a request; the only scheme is "Bearer".
func (s *Server) identify(req *request) (Token, bool) {
	value, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return Token{}, false
	}
	i := slices.IndexFunc(s.cfg.Tokens, func(t Token) bool { return t.Value == value })
	if i < 0 {
		return Token{}, false
	}
	return s.cfg.Tokens[i], true
}

func (t Token) sees(repo Repository) bool {
	return repo.Public || t.Repositories == nil || slices.ContainsFunc(t.Repositories, repo.is)
}

// may tells whether the token has a permission at this level or above.
func (t Token) may(permission, level string) bool {
	levels := []string{"read", "write", "admin"}
	return slices.Index(levels, t.Permissions[permission]) >= slices.Index(levels, level)
}

func (t Token) forbidden() answer {
	if t.GitHubToken {
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	return refuse(http.StatusForbidden, "Resource not accessible by personal access token")
}
