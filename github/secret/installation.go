package secret

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v60/github"
)

// credential gives clients that may do what a target needs. Targets may be worked on side by side.
type credential interface {
	// client gives one that may read or write the secrets of a target: level is "read" or "write".
	client(ctx context.Context, t Target, level string) (*github.Client, error)
	// reader gives one that may read what these permissions of the repository are for, or may turn out not to.
	reader(ctx context.Context, permissions ...string) (*github.Client, error)
	// revoke ends what client made. The credential is not used after it.
	revoke(ctx context.Context) error
}

// given is the credential that is one token for everything.
type given struct{ api *github.Client }

func (g *given) client(context.Context, Target, string) (*github.Client, error) { return g.api, nil }
func (g *given) reader(context.Context, ...string) (*github.Client, error)      { return g.api, nil }
func (g *given) revoke(context.Context) error                                   { return nil }

// installed is the credential that is a GitHub App. Each client has an installation token of its own, with one permission, and
// for one repository where that is what the target is about: so a target that the App may not write stops no other. The tokens
// are in memory only, until they are revoked. A token whose making was never answered ends by itself within the hour.
type installed struct {
	cfg    *Config // of the API; its Token is not used
	app    *App
	repo   Repo
	repoID int64 // 0: not known

	mu    sync.Mutex
	skew  time.Duration // GitHub's clock minus ours, once we know it is wrong
	found map[string]*lookup
	made  map[string]*github.Client // by what they are for
}

// lookup is a question for an installation; all who need the answer wait for the one who asks.
type lookup struct {
	done chan struct{} // closed when the rest is set
	at   installation
	err  error
}

// installation is an App installed in an account, in GitHub's words.
type installation struct {
	ID          int64             `json:"id"`
	Permissions map[string]string `json:"permissions"`
	SuspendedAt *time.Time        `json:"suspended_at"`
}

func (i *installed) client(ctx context.Context, t Target, level string) (*github.Client, error) {
	return i.once(t.String()+" "+level, func() (Token, error) {
		at, err := i.find(ctx, t)
		if err != nil {
			return "", err
		}
		if err := i.granted(at, t, level); err != nil {
			return "", err
		}
		// An organization's token is not narrowed to a repository: it could then not see all the repositories that may read the secret.
		token, err := i.mint(ctx, at, map[string]string{t.of().permission.key: level}, t.of().scope != ofOrganization)
		if statusOf(err) == http.StatusUnprocessableEntity {
			return "", i.unprocessable(err, t, level)
		}
		return token, i.explain(err, t)
	})
}

var errNotGranted = errors.New("the installation does not have the permission")

// reader asks for nothing that the installation does not say it has: so it meets no refusal.
func (i *installed) reader(ctx context.Context, permissions ...string) (*github.Client, error) {
	return i.once("read "+strings.Join(permissions, ","), func() (Token, error) {
		at, err := i.find(ctx, Target{kind: "repository"})
		if err != nil {
			return "", err
		}
		ask := map[string]string{}
		for _, p := range permissions {
			if !at.has(p, "read") {
				return "", errNotGranted
			}
			ask[p] = "read"
		}
		return i.mint(ctx, at, ask, true)
	})
}

// once gives the client for a use; the first time with a token that mint makes. One use is not asked for by two at the same time.
func (i *installed) once(use string, mint func() (Token, error)) (*github.Client, error) {
	i.mu.Lock()
	api := i.made[use]
	i.mu.Unlock()
	if api != nil {
		return api, nil
	}
	token, err := mint()
	if err != nil {
		return nil, err
	}
	api, err = i.clientWith(token)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made[use] = api
	return api, nil
}

// find asks for the installation that reaches the target, once for each repository and organization; after an error the next who
// comes asks again.
func (i *installed) find(ctx context.Context, t Target) (installation, error) {
	path := fmt.Sprintf("repos/%s/%s/installation", i.repo.Owner, i.repo.Name)
	if t.of().scope == ofOrganization {
		path = fmt.Sprintf("orgs/%s/installation", t.name)
	}
	i.mu.Lock()
	l, asked := i.found[path]
	if !asked {
		l = &lookup{done: make(chan struct{}), err: errors.New("the question for the installation was given up")}
		i.found[path] = l
	}
	i.mu.Unlock()
	if !asked {
		defer i.looked(path, l)
		l.at, l.err = i.ask(ctx, path, t)
		return l.at, l.err
	}
	select {
	case <-l.done:
		return l.at, l.err
	case <-ctx.Done():
		return installation{}, ctx.Err()
	}
}

func (i *installed) ask(ctx context.Context, path string, t Target) (installation, error) {
	var at installation
	if err := i.asApp(ctx, http.MethodGet, path, nil, &at); err != nil {
		return installation{}, i.explain(err, t)
	}
	if at.ID == 0 {
		return installation{}, errors.New("the answer names no installation")
	}
	return at, nil
}

func (i *installed) looked(path string, l *lookup) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if l.err != nil {
		delete(i.found, path)
	}
	close(l.done)
}

// granted refuses what the installation says it cannot do, without a call.
func (i *installed) granted(at installation, t Target, level string) error {
	if at.SuspendedAt != nil {
		return i.suspended("")
	}
	if at.Permissions == nil || at.has(t.of().permission.key, level) {
		return nil
	}
	return i.notGranted(t, level, 0, "")
}

func (at installation) has(permission, level string) bool {
	has := at.Permissions[permission]
	return has == "write" || has == "admin" || has == level
}

// mint makes a token, for the repository alone or for all that the installation reaches. The
// repository is asked for by its id where that is known: GitHub follows a former name everywhere
// but here.
func (i *installed) mint(ctx context.Context, at installation, permissions map[string]string, narrow bool) (Token, error) {
	ask := struct {
		Repositories  []string          `json:"repositories,omitempty"`
		RepositoryIDs []int64           `json:"repository_ids,omitempty"`
		Permissions   map[string]string `json:"permissions"`
	}{Permissions: permissions}
	switch {
	case narrow && i.repoID != 0:
		ask.RepositoryIDs = []int64{i.repoID}
	case narrow:
		ask.Repositories = []string{i.repo.Name}
	}
	var answer struct {
		Token string `json:"token"`
	}
	err := i.asApp(ctx, http.MethodPost, fmt.Sprintf("app/installations/%d/access_tokens", at.ID), ask, &answer)
	if err == nil && answer.Token == "" {
		err = errors.New("the answer has no installation token")
	}
	return Token(answer.Token), err
}

// asApp makes one call with a token that the App signs. When GitHub refuses the times in it, our clock is wrong: the call is
// made once more by GitHub's.
func (i *installed) asApp(ctx context.Context, method, path string, body, answer any) error {
	err := i.signedCall(ctx, method, path, body, answer)
	if date, ok := wrongClock(err); ok {
		i.mu.Lock()
		i.skew = date.Sub(i.cfg.Now())
		i.mu.Unlock()
		err = i.signedCall(ctx, method, path, body, answer)
	}
	return err
}

func (i *installed) signedCall(ctx context.Context, method, path string, body, answer any) error {
	i.mu.Lock()
	now := i.cfg.Now().Add(i.skew)
	i.mu.Unlock()
	signed, err := i.app.sign(now)
	if err != nil {
		return err
	}
	api, err := i.clientWith(signed)
	if err != nil {
		return err
	}
	_, err = (&session{api: api}).do(ctx, method, path, body, answer)
	return err
}

// wrongClock tells GitHub's time when an answer refuses the times of a signed token: its words for that name the claim.
func wrongClock(err error) (time.Time, bool) {
	var answer *github.ErrorResponse
	if !errors.As(err, &answer) || answer.Response.StatusCode != http.StatusUnauthorized {
		return time.Time{}, false
	}
	if !strings.Contains(answer.Message, "('exp')") && !strings.Contains(answer.Message, "('iat')") {
		return time.Time{}, false
	}
	date, err := http.ParseTime(answer.Response.Header.Get("Date"))
	return date, err == nil
}

func (i *installed) clientWith(token Token) (*github.Client, error) {
	cfg := *i.cfg
	cfg.Token = token
	return newClient(cfg)
}

// revokeTime is how long the revocations may take: a cancelled run is killed soon.
const revokeTime = 2 * time.Second

// revoke also works when ctx has ended: a token must not outlive the run because somebody cancelled it. The tokens are revoked side by side,
// so that an answer that is slow holds up no other.
func (i *installed) revoke(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
	defer cancel()
	i.mu.Lock()
	made := slices.Collect(maps.Values(i.made))
	clear(i.made)
	i.mu.Unlock()
	faults := make([]error, len(made))
	sideBySide(len(made), func(n int) { faults[n] = revokeWith(ctx, made[n]) })
	faults = slices.DeleteFunc(faults, func(err error) bool { return err == nil })
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("revoke the installation tokens of the %s: %d of %d failed: %s; they end by themselves within the hour",
		i.app, len(faults), len(made), plain(faults[0].Error()))
}

func revokeWith(ctx context.Context, api *github.Client) error {
	_, err := api.Apps.RevokeInstallationToken(ctx)
	switch {
	case statusOf(err) == http.StatusUnauthorized: // it has ended already
		return nil
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("no answer within %s", revokeTime)
	}
	return err
}
