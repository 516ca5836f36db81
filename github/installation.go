package github

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

	"github.com/pageflare/ci/github/internal/parallel"
	"github.com/pageflare/ci/service/opaque"
)

// Installations makes clients of a GitHub App for the accounts that it is installed in. Each client
// has an installation token of its own, with the permissions of its Grant alone: so a right that is
// missing stops no other. The tokens are in memory only, until they are revoked. A token whose
// making was never answered ends on its own within the hour. Several goroutines may use it, until
// Revoke.
type Installations struct {
	cfg Config // its Token is not used
	app *App

	mu    sync.Mutex
	skew  time.Duration // GitHub's clock minus ours, once we know it is wrong
	found map[string]*flight[Installation]
	made  map[string]*flight[grantedClient]
}

// Installation is an App installed in an account, in GitHub's words.
type Installation struct {
	ID          int64             `json:"id"`
	Account     Account           `json:"account"` // that it is installed in
	Permissions map[string]string `json:"permissions"`
	SuspendedAt *time.Time        `json:"suspended_at"`

	foundAt time.Time
}

// A Grant is what a client of an installation is for.
type Grant struct {
	// Organization is the login of the organization that the App must be installed in. The client
	// then reaches all that the installation does. Empty: the client is for Repo alone.
	Organization string
	// Repo is the repository that the installation must reach. Required without Organization.
	Repo Repo
	// RepoID is asked for in place of the name, where it is known: GitHub follows a former name
	// everywhere but here. Optional.
	RepoID int64
	// Installation is its id, where a webhook told it: then it is not looked for by a name, which may
	// have changed since. RepoID is required with it. Optional.
	Installation int64
	// Permissions are asked for, and no others: "secrets": "write". Required for a client.
	Permissions map[string]string
}

type grantedClient struct {
	client *Client
	ends   time.Time // of its token
}

const (
	// foundFor is how long an installation is not asked for again.
	foundFor = 10 * time.Minute
	// many is how many installations, and how many clients, are remembered before those that are
	// no longer good are dropped.
	many = 500
	// notUsedBefore is how long before its end a token is not handed out any more.
	notUsedBefore = 5 * time.Minute
)

// NewInstallations makes the clients of an App. The token of the configuration must be empty.
func NewInstallations(cfg Config, app *App) (*Installations, error) {
	if app == nil || cfg.Token != "" {
		return nil, errors.New("github installations: give an App, and no token")
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	return &Installations{
		cfg: cfg, app: app,
		found: map[string]*flight[Installation]{}, made: map[string]*flight[grantedClient]{},
	}, nil
}

// App is whose installations they are.
func (i *Installations) App() *App { return i.app }

// Client gives a client that may do what the grant says. The same grant gives the same client,
// while its token is good. The error is an *Error; what the installation says that it lacks is not
// asked for.
func (i *Installations) Client(ctx context.Context, g Grant) (*Client, error) {
	usable := func(c grantedClient) bool { return i.cfg.Now().Add(notUsedBefore).Before(c.ends) }
	granted, err := shared(ctx, &i.mu, i.made, g.key(), usable, func() (grantedClient, error) {
		at, err := i.Find(ctx, g)
		if err != nil {
			return grantedClient{}, err
		}
		if fault := i.Granted(at, g); fault != nil {
			return grantedClient{}, fault
		}
		return i.mint(ctx, at, g)
	})
	if err != nil {
		return nil, Explain(ctx, err)
	}
	return granted.client, nil
}

// Find asks for the installation that a grant is about; its permissions need not be there. After an
// error, the next caller asks again. The error is an *Error.
func (i *Installations) Find(ctx context.Context, g Grant) (Installation, error) {
	fresh := func(at Installation) bool { return i.cfg.Now().Sub(at.foundAt) < foundFor }
	at, err := shared(ctx, &i.mu, i.found, g.path(), fresh, func() (Installation, error) {
		var at Installation
		err := i.call(ctx, http.MethodGet, g.path(), nil, &at)
		if err == nil && at.ID == 0 {
			err = errors.New("the answer names no installation")
		}
		at.foundAt = i.cfg.Now()
		return at, i.explain(ctx, err, g)
	})
	if err != nil {
		return Installation{}, Explain(ctx, err)
	}
	return at, nil
}

// Forget drops what is known of the installation of a grant, and the client for it: they are asked
// for again. It is for a program that lives longer than an installation, whose token then fails
// with BadCredentials.
func (i *Installations) Forget(g Grant) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.found, g.path())
	delete(i.made, g.key())
}

// Granted says what the installation lacks for a grant, by its own words and without a call: nil,
// also when it does not say.
func (i *Installations) Granted(at Installation, g Grant) *Error {
	if at.SuspendedAt != nil {
		return i.suspended("")
	}
	for _, permission := range slices.Sorted(maps.Keys(g.Permissions)) {
		if level := g.Permissions[permission]; at.Permissions != nil && !at.Has(permission, level) {
			return i.notGranted(permission+"="+level, 0, "")
		}
	}
	return nil
}

// Has tells whether the installation says that it has a permission: level is "read" or "write".
func (at Installation) Has(permission, level string) bool {
	has := at.Permissions[permission]
	return has == "write" || has == "admin" || has == level
}

// AsApp gives a client that speaks for the App itself, as for the deliveries of its webhook. It is
// good for nine minutes.
func (i *Installations) AsApp() (*Client, error) {
	i.mu.Lock()
	now := i.cfg.Now().Add(i.skew)
	i.mu.Unlock()
	signed, err := i.app.sign(now)
	if err != nil {
		return nil, err
	}
	return i.clientWith(signed)
}

func (g Grant) path() string {
	if g.Installation != 0 {
		return fmt.Sprintf("app/installations/%d", g.Installation)
	}
	if g.Organization != "" {
		return fmt.Sprintf("orgs/%s/installation", g.Organization)
	}
	return fmt.Sprintf("repos/%s/%s/installation", g.Repo.Owner, g.Repo.Name)
}

func (g Grant) key() string {
	text := g.path()
	if g.Installation != 0 {
		text += fmt.Sprintf(" repository %d", g.RepoID)
	}
	for _, permission := range slices.Sorted(maps.Keys(g.Permissions)) {
		text += " " + permission + "=" + g.Permissions[permission]
	}
	return text
}

// account is where the installation must be, for messages.
func (g Grant) account() string {
	if g.Organization != "" {
		return "organization " + g.Organization
	}
	return "repository " + g.Repo.String()
}

// needs is the permissions in GitHub's own form.
func (g Grant) needs() string {
	var out []string
	for _, permission := range slices.Sorted(maps.Keys(g.Permissions)) {
		out = append(out, permission+"="+g.Permissions[permission])
	}
	return strings.Join(out, ",")
}

// mint makes a token, for the repository alone or for all that the installation reaches.
func (i *Installations) mint(ctx context.Context, at Installation, g Grant) (grantedClient, error) {
	ask := struct {
		Repositories  []string          `json:"repositories,omitempty"`
		RepositoryIDs []int64           `json:"repository_ids,omitempty"`
		Permissions   map[string]string `json:"permissions"`
	}{Permissions: g.Permissions}
	switch {
	case g.Organization != "":
	case g.RepoID != 0:
		ask.RepositoryIDs = []int64{g.RepoID}
	default:
		ask.Repositories = []string{g.Repo.Name}
	}
	var answer struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	asked := i.cfg.Now()
	path := fmt.Sprintf("app/installations/%d/access_tokens", at.ID)
	err := i.call(ctx, http.MethodPost, path, ask, &answer)
	if err == nil && answer.Token == "" {
		err = errors.New("the answer has no installation token")
	}
	if StatusOf(err) == http.StatusUnprocessableEntity {
		return grantedClient{}, i.unprocessable(ctx, err, g)
	}
	if err != nil {
		return grantedClient{}, i.explain(ctx, err, g)
	}
	client, err := i.clientWith(opaque.Secret(answer.Token))
	return grantedClient{client, asked.Add(i.lifetime(answer.ExpiresAt, asked))}, err
}

// lifetime is how long a token is good, by a clock that need not be GitHub's. GitHub makes them for
// an hour.
func (i *Installations) lifetime(ends, asked time.Time) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	if left := ends.Sub(asked.Add(i.skew)); !ends.IsZero() && left < time.Hour {
		return left
	}
	return time.Hour
}

// call makes one call with a token that the App signs. When GitHub refuses the times in it, our
// clock is wrong: the call is made once more by GitHub's.
func (i *Installations) call(ctx context.Context, method, path string, body, answer any) error {
	err := i.signedCall(ctx, method, path, body, answer)
	if date, ok := wrongClock(err); ok {
		i.mu.Lock()
		i.skew = date.Sub(i.cfg.Now())
		i.mu.Unlock()
		err = i.signedCall(ctx, method, path, body, answer)
	}
	return err
}

func (i *Installations) signedCall(ctx context.Context, method, path string, body, answer any) error {
	api, err := i.AsApp()
	if err != nil {
		return err
	}
	_, err = api.Call(asApp(ctx), method, path, body, answer)
	return err
}

func (i *Installations) clientWith(token opaque.Secret) (*Client, error) {
	cfg := i.cfg
	cfg.Token = token
	return New(cfg)
}

// revokeTime is how long the revocations may take: a program that ends is killed soon.
const revokeTime = 2 * time.Second

// Revoke ends the tokens that were made, also when ctx has ended: a token must not outlive its use
// because somebody cancelled that. It takes two seconds at most. The tokens are revoked
// concurrently, so that an answer that is slow holds up no other.
func (i *Installations) Revoke(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
	defer cancel()
	i.mu.Lock()
	var made []*Client
	for _, f := range i.made {
		if f.over() && f.err == nil {
			made = append(made, f.value.client)
		}
	}
	clear(i.made)
	i.mu.Unlock()
	faults := make([]error, len(made))
	parallel.Do(len(made), func(n int) { faults[n] = revokeWith(ctx, made[n]) })
	faults = slices.DeleteFunc(faults, func(err error) bool { return err == nil })
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("revoke the installation tokens of the %s: %d of %d failed: %s; they end by themselves within the hour",
		i.app, len(faults), len(made), Plain(faults[0].Error()))
}

func revokeWith(ctx context.Context, api *Client) error {
	_, err := api.Call(ctx, http.MethodDelete, "installation/token", nil, nil)
	switch {
	case StatusOf(err) == http.StatusUnauthorized: // it has ended already
		return nil
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("no answer within %s", revokeTime)
	}
	return err
}

// Call makes one call as the App itself, of a path under the API's address; a nil body sends none.
// The error is an *Error.
func (i *Installations) Call(ctx context.Context, method, path string, body, answer any) error {
	err := i.call(ctx, method, path, body, answer)
	if err == nil {
		return nil
	}
	if StatusOf(err) == http.StatusNotFound {
		return Explain(ctx, err)
	}
	return i.explain(ctx, err, Grant{})
}
