package secret

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-github/v60/github"
)

// kind is one kind of place that keeps secrets.
type kind struct {
	spelled    string // in the input secret-targets
	scope      scope
	permission permission
	open       func(*session, Target) store
}

// kinds lists every kind of target: how people spell it, what a token needs for it, and where its API calls are.
//
// https://docs.github.com/en/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens
func kinds() []kind {
	return []kind{
		{"repository", ofRepository, permission{"secrets", "Secrets", "read"}, actionsOfRepository},
		{"environment", ofEnvironment, permission{"environments", "Environments", "read"}, actionsOfEnvironment},
		{"organization", ofOrganization, permission{"organization_secrets", "Secrets", "read"}, actionsOfOrganization},

		{"dependabot/repository", ofRepository, permission{"dependabot_secrets", "Dependabot secrets", "read"}, dependabotOfRepository},
		{"dependabot/organization", ofOrganization,
			permission{"organization_dependabot_secrets", "Organization dependabot secrets", "read"}, dependabotOfOrganization},

		{"codespaces/repository", ofRepository, permission{"codespaces_secrets", "Codespaces secrets", "write"}, codespacesOfRepository},
		{"codespaces/organization", ofOrganization,
			permission{"organization_codespaces_secrets", "Organization codespaces secrets", "write"}, codespacesOfOrganization},
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

// permission names one right of a fine-grained token, or of a GitHub App, in the API's words and in those of the web page.
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

// title names the permission as the web page does: `repository permission "Secrets: read and write"`.
func (k kind) title() string {
	owner := "repository"
	if k.scope == ofOrganization {
		owner = "organization"
	}
	return fmt.Sprintf("%s permission %q", owner, k.permission.page+": read and write")
}

// classic is the scope that a classic token needs.
func (k kind) classic() string {
	if k.scope == ofOrganization {
		return "admin:org"
	}
	return "repo"
}

// place names the target for messages: "repository acme/site", `environment "prod" of acme/site`, "organization acme (Dependabot)".
func (t Target) place(repo Repo) string {
	text := map[scope]string{
		ofEnvironment:  fmt.Sprintf("environment %q of %s", t.name, repo),
		ofOrganization: "organization " + t.name,
	}[t.of().scope]
	if text == "" {
		text = "repository " + repo.String()
	}
	if store := t.extraStore(); store != "" {
		text += " (" + store + ")"
	}
	return text
}

// extraStore is "Dependabot" or "Codespaces"; empty for Actions secrets, which every server has.
func (t Target) extraStore() string {
	store, _, ok := strings.Cut(t.kind, "/")
	if !ok {
		return ""
	}
	return strings.ToUpper(store[:1]) + store[1:]
}

// unseen says what it may mean that GitHub knows nothing of the place, and what to do about it.
func (t Target) unseen(repo Repo, byApp bool) string {
	owner, reach := repo.String(), `let the fine-grained token reach this repository, or give a classic token the scope "repo"`
	if t.of().scope == ofOrganization {
		owner, reach = "organization "+t.name, "make the fine-grained token with the organization as its resource owner, or give a classic "+
			`token the scope "admin:org"`
	}
	if byApp {
		reach = "let the installation of the GitHub App reach it"
	}
	if t.of().scope == ofEnvironment {
		owner, reach = t.place(repo), "create the environment in the settings of the repository; if it is there, "+reach
	}
	return fmt.Sprintf("%s does not exist or the token cannot see it: %s", owner, reach)
}

// store is the API of one target.
type store interface {
	publicKey(context.Context) (*github.PublicKey, *github.Response, error)
	read(ctx context.Context, name string) (*github.Secret, *github.Response, error)
	put(context.Context, *github.EncryptedSecret) (*github.Response, error)
}

// organization is a store whose secrets only some repositories may read.
type organization interface {
	store
	selected(ctx context.Context, name string, page *github.ListOptions) (*github.SelectedReposList, *github.Response, error)
}

// session is what a store works with.
type session struct {
	api  *github.Client
	repo Repo
	id   int64 // of the repository; 0: not known yet
}

// repositoryID asks GitHub only when the runner did not say it.
func (s *session) repositoryID(ctx context.Context) (int64, error) {
	if s.id == 0 {
		repo, _, err := s.api.Repositories.Get(ctx, s.repo.Owner, s.repo.Name)
		if err != nil {
			return 0, err
		}
		s.id = repo.GetID()
	}
	return s.id, nil
}
