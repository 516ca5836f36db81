package secret

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"
)

// A Finding is what reading alone tells about one target.
type Finding struct {
	Target Target
	Err    error // an *Error: the secret could not be written; the rest is then zero

	// Proven says that the secret may be written. It is false where GitHub proves less: of a fine-grained token only that it
	// may read, as its answers to reading name no other right.
	Proven bool

	Known     bool      // Exists is known; with a GitHub App it is not, since that would take a token
	Exists    bool      // there is such a secret
	UpdatedAt time.Time // when it was last written
	Access    string    // who may read it in an organization: "all", "selected (3 repositories)"
}

// Check finds out what a write to each target would meet, by GET requests alone.
func (w *Writer) Check(ctx context.Context, targets []Target, name string) []Finding {
	findings := make([]Finding, len(targets))
	for i, t := range targets {
		f, err := w.check(ctx, t, name)
		if err != nil {
			f = Finding{Err: w.explain("read", t, name, err)}
		}
		f.Target = t
		findings[i] = f
	}
	return findings
}

func (w *Writer) check(ctx context.Context, t Target, name string) (Finding, error) {
	if app, ok := w.credential.(*installed); ok {
		at, err := app.find(ctx, t)
		if err == nil {
			err = app.granted(at, t, "write")
		}
		return Finding{Proven: true}, err
	}
	st, s, err := w.open(ctx, t, "read")
	if err != nil {
		return Finding{}, err
	}
	_, resp, err := publicKey(ctx, st)
	if err != nil {
		return Finding{}, err
	}
	f := Finding{Proven: proven(t, resp), Known: true}
	found, _, err := st.read(ctx, name)
	if statusOf(err) == http.StatusNotFound {
		return f, w.checkFirst(ctx, s, t)
	}
	if err != nil {
		return Finding{}, err
	}
	f.Exists, f.UpdatedAt = true, found.UpdatedAt.Time
	if o, ok := st.(organization); ok {
		who, err := readAccess(ctx, o, found)
		f.Access = who.String()
		return f, err
	}
	return f, nil
}

// proven tells what the answer to a read proves of writing: a classic token's scopes are named in it, and some stores let
// nobody read who may not write.
func proven(t Target, resp *github.Response) bool {
	if t.of().permission.toRead == "write" {
		return true
	}
	for scope := range strings.SplitSeq(resp.Header.Get("X-OAuth-Scopes"), ",") {
		if strings.TrimSpace(scope) == t.of().classic() {
			return true
		}
	}
	return false
}

// checkFirst tells whether the first write to a target could be made.
func (w *Writer) checkFirst(ctx context.Context, s *session, t Target) error {
	if t.of().scope != ofOrganization {
		return nil
	}
	_, err := firstAccess(ctx, s, t)
	return err
}

// A Shadow is a secret of the same name that is nearer than a target, so that jobs see its value and not the target's.
// https://docs.github.com/en/actions/concepts/security/secrets#naming-your-secrets
type Shadow struct {
	Target Target
	By     string // `environment "prod" of acme/site`
}

// Shadows looks for secrets that are nearer than a target and are no target themselves: a secret of the repository is nearer
// than one of an organization. That takes one call for each target that is an organization, and none for others: which
// environment a job runs in is not known, so secrets of environments are left to EnvironmentShadows. What cannot be read is
// taken for not there.
func (w *Writer) Shadows(ctx context.Context, targets []Target, name string) []Shadow {
	var out []Shadow
	for _, t := range targets {
		if t.of().scope != ofOrganization {
			continue
		}
		nearer := Target{kind: strings.TrimSuffix(t.kind, "organization") + "repository"}
		if !slices.Contains(targets, nearer) && w.holds(ctx, nearer, name) {
			out = append(out, Shadow{t, nearer.place(w.repo)})
		}
	}
	return out
}

// environmentsLooked bounds how many environments EnvironmentShadows looks into.
const environmentsLooked = 20

// EnvironmentShadows looks for secrets of environments that are nearer than the repository's or an organization's Actions
// secret. It takes a call for each environment, of at most 20, and a token that may list and read them; with a GitHub App
// nothing is looked for, since that would take a token.
func (w *Writer) EnvironmentShadows(ctx context.Context, targets []Target, name string) []Shadow {
	i := slices.IndexFunc(targets, func(t Target) bool { return t.kind == "repository" || t.kind == "organization" })
	if i < 0 || w.byApp {
		return nil
	}
	var out []Shadow
	for _, nearer := range w.environments(ctx, targets[i]) {
		if !slices.ContainsFunc(targets, nearer.is) && w.holds(ctx, nearer, name) {
			out = append(out, Shadow{targets[i], nearer.place(w.repo)})
		}
	}
	return out
}

func (w *Writer) environments(ctx context.Context, t Target) []Target {
	_, s, err := w.open(ctx, t, "read")
	if err != nil {
		return nil
	}
	page := &github.EnvironmentListOptions{ListOptions: github.ListOptions{PerPage: environmentsLooked}}
	list, _, err := s.api.Repositories.ListEnvironments(ctx, w.repo.Owner, w.repo.Name, page)
	if err != nil {
		return nil
	}
	var out []Target
	for _, e := range list.Environments {
		out = append(out, Target{"environment", e.GetName()})
	}
	return out
}

// is compares as GitHub does: names match in any case.
func (t Target) is(other Target) bool { return strings.EqualFold(t.String(), other.String()) }

// holds tells whether there is a secret of this name, as far as can be seen.
func (w *Writer) holds(ctx context.Context, t Target, name string) bool {
	st, _, err := w.open(ctx, t, t.of().permission.toRead)
	if err != nil {
		return false
	}
	_, _, err = st.read(ctx, name)
	return err == nil
}
