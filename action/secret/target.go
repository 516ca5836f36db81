package secret

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-github/v60/github"
)

// A Target is one kind of place that keeps secrets; ParseTargets makes them. Each kind is a small type that knows its API
// calls, what a token needs for them, and how people call it.
type Target interface {
	// String gives the target as the input secret-targets spells it.
	String() string

	// place names the target for messages: "repository acme/site".
	place(Repo) string
	// permission is what a token needs to write here.
	permission() permission
	publicKey(context.Context, *github.Client, Repo) (*github.PublicKey, *github.Response, error)
	read(ctx context.Context, api *github.Client, repo Repo, name string) (*github.Secret, *github.Response, error)
	put(context.Context, *github.Client, Repo, *github.EncryptedSecret) (*github.Response, error)
}

// permission names one right of a fine-grained token, or of a GitHub App, in the API's words and in those of the web page.
type permission struct {
	key   string // "secrets", as in X-Accepted-GitHub-Permissions
	title string // "repository permission \"Secrets: read and write\""
}

// accepted lists the spellings of today's targets, for messages.
const accepted = `"repository"`

// ParseTargets reads a list of targets that are separated by commas or line breaks. Blank entries are skipped, so a list may
// end with a comma. The faults of all entries come back together; a target named twice is a fault, because one of the two
// is most likely a slip.
func ParseTargets(list string) ([]Target, error) {
	var targets []Target
	var faults []error
	seen := make(map[Target]bool)
	for _, entry := range entries(list) {
		target, err := parseTarget(entry)
		switch {
		case err != nil:
			faults = append(faults, err)
		case seen[target]:
			faults = append(faults, fmt.Errorf("target %q is listed twice: remove one", entry))
		default:
			seen[target] = true
			targets = append(targets, target)
		}
	}
	if len(targets)+len(faults) == 0 {
		return nil, fmt.Errorf("no target: name at least one; accepted: %s", accepted)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return targets, nil
}

func entries(list string) []string {
	var out []string
	for _, entry := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if entry = strings.TrimSpace(entry); entry != "" {
			out = append(out, entry)
		}
	}
	return out
}

func parseTarget(entry string) (Target, error) {
	if entry == (RepositoryTarget{}).String() {
		return RepositoryTarget{}, nil
	}
	return nil, fmt.Errorf("target %q is not known: accepted: %s", entry, accepted)
}

// RepositoryTarget is the Actions store of the repository itself.
type RepositoryTarget struct{}

var _ Target = RepositoryTarget{}

// String gives "repository".
func (RepositoryTarget) String() string { return "repository" }

func (RepositoryTarget) place(repo Repo) string { return "repository " + repo.String() }

func (RepositoryTarget) permission() permission {
	return permission{key: "secrets", title: `repository permission "Secrets: read and write"`}
}

func (RepositoryTarget) publicKey(ctx context.Context, api *github.Client, repo Repo) (
	*github.PublicKey, *github.Response, error,
) {
	return api.Actions.GetRepoPublicKey(ctx, repo.Owner, repo.Name)
}

func (RepositoryTarget) read(ctx context.Context, api *github.Client, repo Repo, name string) (
	*github.Secret, *github.Response, error,
) {
	return api.Actions.GetRepoSecret(ctx, repo.Owner, repo.Name, name)
}

func (RepositoryTarget) put(ctx context.Context, api *github.Client, repo Repo, sealed *github.EncryptedSecret) (
	*github.Response, error,
) {
	return api.Actions.CreateOrUpdateRepoSecret(ctx, repo.Owner, repo.Name, sealed)
}
