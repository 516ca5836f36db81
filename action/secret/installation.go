package secret

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"
)

// credential gives clients that may do what a target needs.
type credential interface {
	// client gives one that may read or write the secrets of a target: level is "read" or "write".
	client(ctx context.Context, t Target, level string) (*github.Client, error)
	// revoke ends what client made. The credential is not used after it.
	revoke(ctx context.Context) error
}

// given is the credential that is one token for everything.
type given struct{ api *github.Client }

func (g *given) client(context.Context, Target, string) (*github.Client, error) { return g.api, nil }
func (g *given) revoke(context.Context) error                                   { return nil }

// installed is the credential that is a GitHub App. Each client has an installation token of its own, with one permission, and
// for one repository where that is what the target is about: so a target that the App may not write stops no other. The tokens
// are in memory only, until they are revoked. A token whose making was never answered ends by itself within the hour.
type installed struct {
	cfg  *Config // of the API; its Token is not used
	app  *App
	repo Repo

	skew  time.Duration // GitHub's clock minus ours, once we know it is wrong
	found map[string]installation
	made  []*github.Client
}

// installation is an App installed in an account, in GitHub's words.
type installation struct {
	ID          int64             `json:"id"`
	Permissions map[string]string `json:"permissions"`
	SuspendedAt *time.Time        `json:"suspended_at"`
}

func (i *installed) client(ctx context.Context, t Target, level string) (*github.Client, error) {
	at, err := i.find(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := i.granted(at, t, level); err != nil {
		return nil, err
	}
	token, err := i.mint(ctx, at, t, level)
	if err != nil {
		return nil, err
	}
	api, err := i.clientWith(token)
	if err == nil {
		i.made = append(i.made, api)
	}
	return api, err
}

// find asks for the installation that reaches the target, once for each repository and organization.
func (i *installed) find(ctx context.Context, t Target) (installation, error) {
	path := fmt.Sprintf("repos/%s/%s/installation", i.repo.Owner, i.repo.Name)
	if t.of().scope == ofOrganization {
		path = fmt.Sprintf("orgs/%s/installation", t.name)
	}
	if at, ok := i.found[path]; ok {
		return at, nil
	}
	var at installation
	if err := i.asApp(ctx, http.MethodGet, path, nil, &at); err != nil {
		return installation{}, i.explain(err, t)
	}
	if at.ID == 0 {
		return installation{}, errors.New("the answer names no installation")
	}
	i.found[path] = at
	return at, nil
}

// granted refuses what the installation says it cannot do, without a call.
func (i *installed) granted(at installation, t Target, level string) error {
	if at.SuspendedAt != nil {
		return i.suspended(http.StatusForbidden)
	}
	has, needs := at.Permissions[t.of().permission.key], level
	if has == "write" || has == "admin" || has == needs || at.Permissions == nil {
		return nil
	}
	return i.notGranted(t, level, 0)
}

// mint makes a token. An organization's token is not narrowed to a repository: it could then not see all the repositories that
// may read the secret.
func (i *installed) mint(ctx context.Context, at installation, t Target, level string) (Token, error) {
	ask := struct {
		Repositories []string          `json:"repositories,omitempty"`
		Permissions  map[string]string `json:"permissions"`
	}{Permissions: map[string]string{t.of().permission.key: level}}
	if t.of().scope != ofOrganization {
		ask.Repositories = []string{i.repo.Name}
	}
	var answer struct {
		Token string `json:"token"`
	}
	err := i.asApp(ctx, http.MethodPost, fmt.Sprintf("app/installations/%d/access_tokens", at.ID), ask, &answer)
	switch {
	case statusOf(err) == http.StatusUnprocessableEntity:
		return "", i.notGranted(t, level, http.StatusUnprocessableEntity)
	case err != nil:
		return "", i.explain(err, t)
	case answer.Token == "":
		return "", errors.New("the answer has no installation token")
	}
	return Token(answer.Token), nil
}

// asApp makes one call with a token that the App signs. When GitHub refuses the times in it, our clock is wrong: the call is
// made once more by GitHub's.
func (i *installed) asApp(ctx context.Context, method, path string, body, answer any) error {
	err := i.signedCall(ctx, method, path, body, answer)
	if date, ok := wrongClock(err); ok {
		i.skew = date.Sub(i.cfg.Now())
		err = i.signedCall(ctx, method, path, body, answer)
	}
	return err
}

func (i *installed) signedCall(ctx context.Context, method, path string, body, answer any) error {
	signed, err := i.app.sign(i.cfg.Now().Add(i.skew))
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

// revokeTime is how long the revocation may take: a cancelled run is killed soon.
const revokeTime = 2 * time.Second

// revoke also works when ctx has ended: a token must not outlive the run because somebody cancelled it.
func (i *installed) revoke(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
	defer cancel()
	var faults []error
	for _, api := range i.made {
		_, err := api.Apps.RevokeInstallationToken(ctx)
		if err != nil && statusOf(err) != http.StatusUnauthorized { // 401: it has ended already
			faults = append(faults, fmt.Errorf("revoke the installation token of the %s: %s; it ends by itself within the hour", i.app, plain(err.Error())))
		}
	}
	i.made = nil
	return errors.Join(faults...)
}
