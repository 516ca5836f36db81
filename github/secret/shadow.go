package secret

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// A Shadow is a secret of the same name that takes precedence over a target, so that jobs see its value
// and not the target's.
// https://docs.github.com/en/actions/concepts/security/secrets#naming-your-secrets
type Shadow struct {
	Target      Target
	By          string // "repository acme/site", `environment "prod" of acme/site`
	Environment string // of the nearer one, which only the jobs in it see; empty when all jobs of the repository do
}

// shadowTime is how long the search for shadows may take.
const shadowTime = 10 * time.Second

// Shadows looks for secrets that are nearer than one of the written and are not named by targets
// themselves: a secret of the repository is nearer than one of an organization, and among Actions
// secrets one of an environment is nearer than both. Which environment the job runs in is not known
// in a container, so all are looked into, 20 at most.
//
// It is good to know and no more: calls are made once, within ten seconds together, and what cannot
// be read is taken for not there. A token must be able to list environments ("Actions: read") and
// to read their secrets ("Environments: read"); where it turns out that it is not, that is one call
// in vain. With a GitHub App nothing is asked for in vain, since its installation tells.
func (w *Writer) Shadows(ctx context.Context, written, targets []Target, name string) []Shadow {
	ctx, cancel := context.WithTimeout(github.Once(ctx), shadowTime)
	defer cancel()
	var out []Shadow
	for _, t := range written {
		if t.of().scope != ofOrganization {
			continue
		}
		nearer := Target{kind: strings.TrimSuffix(t.kind, "organization") + "repository"}
		if !slices.Contains(targets, nearer) && w.holds(ctx, nearer, name) {
			out = append(out, Shadow{Target: t, By: nearer.place(w.repo)})
		}
	}
	for _, kind := range []string{"repository", "organization"} { // of two, the first is what the jobs in other environments see
		i := slices.IndexFunc(written, func(t Target) bool { return t.kind == kind })
		if i >= 0 {
			return append(out, w.environmentShadows(ctx, written[i], targets, name)...)
		}
	}
	return out
}

// CheckShadows is Shadows for a check, which only reads: with a GitHub App, which would have to
// make tokens, it looks for nothing.
func (w *Writer) CheckShadows(ctx context.Context, targets []Target, name string) []Shadow {
	if w.byApp {
		return nil
	}
	return w.Shadows(ctx, targets, targets, name)
}

// holds tells whether there is a secret of this name, as far as can be seen.
func (w *Writer) holds(ctx context.Context, t Target, name string) bool {
	st, _, err := w.open(ctx, t, t.of().permission.toRead)
	if err != nil {
		return false
	}
	_, _, err = st.read(ctx, name)
	return err == nil
}

// environmentsLooked bounds how many environments are looked into.
const environmentsLooked = 20

func (w *Writer) environmentShadows(ctx context.Context, t Target, targets []Target, name string) []Shadow {
	api, err := w.credential.reader(ctx, "actions", "environments")
	if err != nil {
		return nil
	}
	list := new(gh.EnvResponse)
	path := fmt.Sprintf("repos/%s/environments?per_page=%d", w.repo, environmentsLooked)
	_, err = api.Call(ctx, http.MethodGet, path, nil, list)
	if err != nil {
		return nil
	}
	s := &session{api: api, repo: w.repo, id: w.repoID}
	var out []Shadow
	for _, e := range list.Environments {
		nearer := Target{"environment", e.GetName()}
		if slices.ContainsFunc(targets, nearer.is) {
			continue
		}
		_, _, err := nearer.of().open(s, nearer).read(ctx, name)
		switch {
		case err == nil:
			out = append(out, Shadow{t, nearer.place(w.repo), e.GetName()})
		case github.StatusOf(err) != http.StatusNotFound:
			return out // what stops one look stops the next as well
		}
	}
	return out
}

// is compares as GitHub does: names match in any case.
func (t Target) is(other Target) bool { return strings.EqualFold(t.String(), other.String()) }
