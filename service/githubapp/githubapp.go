// Package githubapp is the GitHub App of this installation: by which credentials the service speaks
// to GitHub for the repositories of others, and what GitHub signs its webhooks with.
//
// It decides where the credentials come from, and how an App is made in a browser (setup.go,
// manifest.go) and what is wrong with it (check.go). How a token is got with them is decided in
// github; what is done with it, in service/leak, service/rotation and service/billing.
package githubapp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
)

// App is the App that the database has. Its secrets hide themselves, and are sealed where it is
// stored.
type App struct {
	ID            int64
	ClientID      string
	Slug          string // its name in addresses
	Name          string
	HTMLURL       string // its page at GitHub
	Owner         string // login of the organization or the person whose it is
	Key           opaque.Secret
	WebhookSecret opaque.Secret
	CreatedAt     time.Time
}

// InstallURL is where its owner installs it.
func (a App) InstallURL() string { return a.HTMLURL + "/installations/new" }

// SealedApp is the App as it is stored.
type SealedApp struct {
	App           // without its secrets
	SealedKey     []byte
	SealedWebhook []byte
}

// Store is what the App needs of a database. Every method that changes something has made it
// durable, its act included, when it returns nil.
type Store interface {
	// GitHubApp returns the App. ErrNotFound: there is none.
	GitHubApp(ctx context.Context) (SealedApp, error)
	// PutGitHubApp stores the App. ErrConflict: there is one, and it must not be replaced.
	PutGitHubApp(ctx context.Context, a SealedApp, replace bool, act audit.Act) error
	// AddSetup stores a link by which the App is made, and purges some that have expired.
	AddSetup(ctx context.Context, s Setup, act audit.Act) error
	// SetupOf returns the link whose secret, or whose state, has that hash. ErrNotFound: there is
	// none, or it was used.
	SetupOf(ctx context.Context, hash string) (Setup, error)
	// UseSetup removes the link with that hash. ErrNotFound: it was used in this moment.
	UseSetup(ctx context.Context, hash string) error
}

// Given is what the settings say. They take precedence over the database.
type Given struct {
	ID      string        // id or client id of the App; empty: that of the database
	Key     opaque.Secret // its private key; empty exactly when ID is
	Secrets []opaque.Secret
}

// Config is what a Registry is made of. All fields must be set unless they say what 0 means.
type Config struct {
	Store     Store
	Master    keyring.MasterKey
	Log       *audit.Log
	Given     Given
	GitHub    github.Config // how GitHub is reached, its Token empty; without a Transport it is not
	PublicURL string        // where clients reach the service; it has no slash at its end
	Now       func() time.Time
	Rand      io.Reader // cryptographic randomness
}

// readEvery is how old what was read of the App may be: another process may have made or replaced
// it.
const readEvery = time.Second

// Registry knows the App. It is safe for use by several goroutines.
type Registry struct {
	cfg   Config
	given *github.App // nil: the settings name none

	mu      sync.Mutex
	read    time.Time // when the database was asked
	app     *App      // nil: it has none
	clients *github.Installations
	of      *App // whose clients they are; nil: those of the App that was given
}

// New returns the App of a database. The error is a *github.AppError: the App that is given is
// none.
func New(c Config) (*Registry, error) {
	r := &Registry{cfg: c}
	if c.Given.ID == "" {
		return r, nil
	}
	var err error
	r.given, err = github.ParseApp(c.Given.ID, c.Given.Key)
	return r, err
}

// errNone is an ErrNotFound that says what to do.
var errNone = fmt.Errorf("GitHub App: %w: run `pageflare-license github-app create`, or set LICENSE_GITHUB_APP_ID and LICENSE_GITHUB_APP_KEY_FILE",
	failure.ErrNotFound)

// errNoGitHub says that this process was not told how to reach GitHub.
var errNoGitHub = errors.New("GitHub cannot be asked here")

// Installations gives clients for the accounts in which the App is installed. They are the same as
// long as the App is. ErrNotFound: no App is set up.
func (r *Registry) Installations(ctx context.Context) (*github.Installations, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	app, of := r.given, (*App)(nil)
	if app == nil {
		found, err := r.current(ctx)
		if err != nil {
			return nil, err
		}
		if app, err = github.ParseApp(strconv.FormatInt(found.ID, 10), found.Key); err != nil {
			return nil, fmt.Errorf("GitHub App %d of the database: %w", found.ID, err)
		}
		of = found
	}
	if r.clients != nil && r.of == of {
		return r.clients, nil
	}
	if r.cfg.GitHub.Transport == nil {
		return nil, errNoGitHub
	}
	made, err := github.NewInstallations(r.cfg.GitHub, app)
	if err != nil {
		return nil, err
	}
	r.clients, r.of = made, of // tokens that were made for another App end within the hour
	return made, nil
}

// WebhookSecrets are what GitHub may sign its webhooks with, the newest first; empty: no webhook is
// expected. Those of the settings stand alone: what they leave out has ended.
func (r *Registry) WebhookSecrets(ctx context.Context) ([]opaque.Secret, error) {
	if len(r.cfg.Given.Secrets) > 0 {
		return slices.Clone(r.cfg.Given.Secrets), nil
	}
	if r.given != nil {
		return nil, nil // the App of the database is another one, or its secret may have been changed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found, err := r.current(ctx)
	if errors.Is(err, failure.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []opaque.Secret{found.WebhookSecret}, nil
}

// Stored is the App of the database, whatever the settings say. ErrNotFound.
func (r *Registry) Stored(ctx context.Context) (App, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, err := r.current(ctx)
	if err != nil {
		return App{}, err
	}
	return *found, nil
}

// GivenID is the id of the App that the settings name; empty when they name none.
func (r *Registry) GivenID() string { return r.cfg.Given.ID }

// current is the App of the database, at most readEvery old to either side, so that a clock that
// was set back does not make it last. While the database does not answer it is the one of before.
// r.mu must be held.
func (r *Registry) current(ctx context.Context) (*App, error) {
	now := r.cfg.Now()
	if r.read.IsZero() || now.Sub(r.read).Abs() >= readEvery {
		sealed, err := r.cfg.Store.GitHubApp(ctx)
		switch {
		case errors.Is(err, failure.ErrNotFound):
			r.app, r.read = nil, now
		case err != nil && r.read.IsZero():
			return nil, fmt.Errorf("GitHub App: %w", err)
		case err != nil && errors.Is(err, failure.ErrUnavailable): // the one of before goes on
		case err != nil:
			return nil, fmt.Errorf("GitHub App: %w", err)
		default:
			opened, err := r.open(sealed)
			if err != nil {
				return nil, err
			}
			if r.app == nil || *r.app != opened {
				r.app = &opened
			}
			r.read = now
		}
	}
	if r.app == nil {
		return nil, errNone
	}
	return r.app, nil
}

// forget lets the next look ask the database.
func (r *Registry) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read = time.Time{}
}

// Revoke ends the installation tokens that this process made. It takes two seconds at most.
func (r *Registry) Revoke(ctx context.Context) error {
	r.mu.Lock()
	clients := r.clients
	r.clients = nil
	r.mu.Unlock()
	if clients == nil {
		return nil
	}
	return clients.Revoke(ctx)
}

// The purposes for which the secrets of the App are sealed. Its id is in them: a sealed key cannot
// be put in the place of that of another App.
func keyPurpose(id int64) string     { return fmt.Sprintf("github_app.private_key %d", id) }
func webhookPurpose(id int64) string { return fmt.Sprintf("github_app.webhook_secret %d", id) }

func (r *Registry) seal(a App) (SealedApp, error) {
	sealed := SealedApp{App: a}
	sealed.Key, sealed.WebhookSecret = "", ""
	var err error
	if sealed.SealedKey, err = r.cfg.Master.Seal(keyPurpose(a.ID), []byte(a.Key.Reveal()), r.cfg.Rand); err != nil {
		return sealed, err
	}
	sealed.SealedWebhook, err = r.cfg.Master.Seal(webhookPurpose(a.ID), []byte(a.WebhookSecret.Reveal()), r.cfg.Rand)
	return sealed, err
}

func (r *Registry) open(s SealedApp) (App, error) {
	a := s.App
	key, err := r.cfg.Master.Open(keyPurpose(a.ID), s.SealedKey)
	if err != nil {
		return a, fmt.Errorf("private key of GitHub App %d: %w", a.ID, err)
	}
	secret, err := r.cfg.Master.Open(webhookPurpose(a.ID), s.SealedWebhook)
	if err != nil {
		return a, fmt.Errorf("webhook secret of GitHub App %d: %w", a.ID, err)
	}
	a.Key, a.WebhookSecret = opaque.Secret(key), opaque.Secret(secret)
	return a, nil
}
