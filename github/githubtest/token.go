package githubtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Token is one that the fake GitHub accepts.
type Token struct {
	Value        string
	Permissions  map[string]string // "secrets": "write"
	Repositories []string          // "acme/site"; the private ones that it sees. nil: all

	// Scopes makes it a classic token: "repo" and "admin:org" stand for all permissions on repositories and organizations.
	Scopes []string

	// GitHubToken makes it the GITHUB_TOKEN of a job, or that of a GitHub App: refusals then speak of an integration.
	GitHubToken bool

	Expires  time.Time // zero: never
	Days     int       // its whole lifetime, which policies limit; 0: without end
	NoSignOn []string  // accounts whose SAML single sign-on a classic token was not authorized for

	account string // of the installation; empty for tokens of people
}

// identify finds who asks: the only scheme is "Bearer", with a token or, where an App is wanted, with its JWT.
func (s *Server) identify(req *request, who caller) (answer, bool) {
	if who == byAnyone {
		return answer{}, true
	}
	value, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok || value == "" {
		return badCredentials(), false
	}
	if who == byApp {
		return s.identifyApp(req, value)
	}
	token, ok := s.token(value)
	if expired := !token.Expires.IsZero() && !s.cfg.Now().Before(token.Expires); !ok || expired || who == byInstallation && token.account == "" {
		return badCredentials(), false
	}
	req.token = token
	return answer{}, true
}

func badCredentials() answer { return refuse(http.StatusUnauthorized, "Bad credentials") }

func (s *Server) token(value string) (Token, bool) {
	for _, t := range s.cfg.Tokens {
		if t.Value == value {
			return t, true
		}
	}
	return s.mintedToken(value)
}

func (t Token) sees(repo Repository) bool {
	if repo.Public {
		return true
	}
	if t.Scopes != nil && !slices.Contains(t.Scopes, "repo") || !t.reaches(repo.Owner) {
		return false
	}
	return t.Repositories == nil || slices.ContainsFunc(t.Repositories, repo.is)
}

// reaches tells whether the token is good for an account at all; that of an installation is for one only.
func (t Token) reaches(account string) bool {
	return t.account == "" || strings.EqualFold(t.account, account)
}

// may tells whether the token has a permission at this level or above.
func (t Token) may(permission, level string) bool {
	if t.Scopes != nil {
		return slices.Contains(t.Scopes, scopeFor(permission))
	}
	return reachesLevel(t.Permissions[permission], level)
}

func scopeFor(permission string) string {
	if strings.HasPrefix(permission, "organization_") {
		return "admin:org"
	}
	return "repo"
}

func reachesLevel(has, level string) bool {
	levels := []string{"read", "write", "admin"}
	return slices.Index(levels, has) >= slices.Index(levels, level)
}

func (t Token) forbidden() answer {
	switch {
	case t.GitHubToken:
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	case t.Scopes != nil:
		return refuse(http.StatusForbidden, "You must be an org admin or have the org secrets permission.")
	}
	return refuse(http.StatusForbidden, "Resource not accessible by personal access token")
}
