package secret

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// kind is one kind of place that keeps secrets.
type kind struct {
	spelled    string // as people spell it
	scope      scope
	permission permission
	open       func(*session, Target) store
}

// kinds lists every kind of target: how people spell it, what a token needs for it, and where its
// API calls are.
//
// https://docs.github.com/en/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens
func kinds() []kind {
	return []kind{
		{"repository", ofRepository, permission{"secrets", "Secrets", "read"}, ofRepositoryIn("actions")},
		{"environment", ofEnvironment, permission{"environments", "Environments", "read"}, inEnvironment},
		{"organization", ofOrganization, permission{"organization_secrets", "Secrets", "read"}, ofOrganizationIn("actions")},

		{"dependabot/repository", ofRepository, permission{"dependabot_secrets", "Dependabot secrets", "read"}, ofRepositoryIn("dependabot")},
		{"dependabot/organization", ofOrganization,
			permission{"organization_dependabot_secrets", "Organization dependabot secrets", "read"}, ofOrganizationIn("dependabot")},

		{"codespaces/repository", ofRepository, permission{"codespaces_secrets", "Codespaces secrets", "write"}, ofRepositoryIn("codespaces")},
		{"codespaces/organization", ofOrganization,
			permission{"organization_codespaces_secrets", "Organization codespaces secrets", "write"}, ofOrganizationIn("codespaces")},
	}
}

// of gives the kind of a target; of the zero Target it is the zero kind.
func (t Target) of() kind {
	for _, k := range kinds() {
		if k.spelled == t.kind {
			return k
		}
	}
	return kind{}
}

// permission names one right of a fine-grained token, or of a GitHub App, in the API's words and in
// those of the web page.
type permission struct {
	key    string // "secrets", as in X-Accepted-GitHub-Permissions
	page   string // "Secrets"
	toRead string // the level that reading needs; writing always needs "write"
}

// scope is who owns a store.
type scope int

const (
	ofRepository scope = iota + 1
	ofEnvironment
	ofOrganization
)

// String gives the word for messages.
func (s scope) String() string {
	return map[scope]string{ofRepository: "repository", ofEnvironment: "environment", ofOrganization: "organization"}[s]
}

func (s scope) example() string {
	if s == ofEnvironment {
		return "production"
	}
	return "acme"
}

// Permission names what a token needs to write there as the web page does:
//
//	repository permission "Secrets: read and write"
func (t Target) Permission() string {
	k, owner := t.of(), "repository"
	if t.InOrganization() {
		owner = "organization"
	}
	return fmt.Sprintf("%s permission %q", owner, k.permission.page+": read and write")
}

// PermissionKey names the same permission as the API does: "secrets".
func (t Target) PermissionKey() string { return t.of().permission.key }

// ClassicScope is the scope that a classic token needs.
func (t Target) ClassicScope() string {
	if t.InOrganization() {
		return "admin:org"
	}
	return "repo"
}

// Owner is what keeps the secrets: "repository", "environment" or "organization".
func (t Target) Owner() string { return t.of().scope.String() }

// InOrganization says whether an organization keeps the secrets.
func (t Target) InOrganization() bool { return t.of().scope == ofOrganization }

// Organization is the login of the organization that keeps the secrets; empty when none does.
func (t Target) Organization() string {
	if t.InOrganization() {
		return t.name
	}
	return ""
}

// InEnvironment says whether an environment keeps the secrets.
func (t Target) InEnvironment() bool { return t.of().scope == ofEnvironment }

// place names the target for messages: "repository acme/site", `environment "prod" of acme/site`,
// "organization acme (Dependabot)".
func (t Target) place(repo github.Repo) string {
	text := map[scope]string{
		ofEnvironment:  fmt.Sprintf("environment %q of %s", t.name, repo),
		ofOrganization: "organization " + t.name,
	}[t.of().scope]
	if text == "" {
		text = "repository " + repo.String()
	}
	if store := t.Store(); store != "" {
		text += " (" + store + ")"
	}
	return text
}

// Store is "Dependabot" or "Codespaces"; empty for Actions secrets, which every server has.
func (t Target) Store() string {
	store, _, ok := strings.Cut(t.kind, "/")
	if !ok {
		return ""
	}
	return strings.ToUpper(store[:1]) + store[1:]
}

// session is what a store works with.
type session struct {
	api  *github.Client
	repo github.Repo
	id   int64 // of the repository; 0: not known yet
}

// repositoryID asks GitHub only when the runner did not say it.
func (s *session) repositoryID(ctx context.Context) (int64, error) {
	if s.id == 0 {
		repo := new(gh.Repository)
		_, err := s.api.Call(ctx, http.MethodGet, "repos/"+s.repo.String(), nil, repo)
		if err != nil {
			return 0, err
		}
		s.id = repo.GetID()
	}
	return s.id, nil
}
