package githubapp

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// An App is made in a browser, where its owner is signed in to GitHub: a page of ours posts the
// manifest there, GitHub makes the App and sends the browser back with a code, and the code is
// turned into the credentials, once and within the hour.
// https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
//
// Who makes the App controls what GitHub tells this service, so only the operator may. The page is
// reached by a link with a secret that a command printed (docs/decisions/0019-github-app.md).

// SetupTTL is how long such a link is good.
const SetupTTL = 15 * time.Minute

// Setup is the record of a link by which the App is made. Its text is not stored.
type Setup struct {
	Hash      string // SHA-256 of its secret, hexadecimal
	State     string // SHA-256 of its state, hexadecimal
	Ask       Ask
	ExpiresAt time.Time
}

// Ask is what App is wanted.
type Ask struct {
	Organization string   // whose it is to be; empty: the person's who makes it
	Stores       []string // kinds of secrets beside those of Actions: dependabot, codespaces
	Name         string   // of the App; empty: one of ours
	Replace      bool     // it may take the place of the App that there is
}

// ErrLink says that a link or a state is not known, was used, or has expired.
var ErrLink = errors.New("this link is not known, was used already, or has expired: " +
	"run `pageflare-license github-app create --web` for another one")

var login = regexp.MustCompile(`\A[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?\z`)

// check refuses what GitHub would refuse later, with less to say.
func (a Ask) check() error {
	if a.Organization != "" && !login.MatchString(a.Organization) {
		return failure.Invalid(fmt.Sprintf(
			"organization %.100q is not the login of an organization, such as acme", a.Organization))
	}
	if len(a.Name) > maxName {
		return failure.Invalid(fmt.Sprintf(
			"name %.100q is longer than the %d characters that GitHub allows", a.Name, maxName))
	}
	for _, s := range a.Stores {
		if _, known := storePermissions[s]; !known {
			return failure.Invalid(fmt.Sprintf("store %.100q is none of dependabot, codespaces", s))
		}
	}
	return nil
}

// Check says whether an App can be made: that GitHub can reach the service, that the settings name
// no other one, and that there is none that would be replaced against the operator's will.
// ErrInvalid, ErrConflict.
func (r *Registry) Check(ctx context.Context, ask Ask) error {
	if err := ask.check(); err != nil {
		return err
	}
	if r.cfg.Given.ID != "" {
		return failure.Invalid("LICENSE_GITHUB_APP_ID names an App, which takes precedence over one that is made: " +
			"unset it and LICENSE_GITHUB_APP_KEY_FILE first")
	}
	if err := checkHookURL(r.cfg.PublicURL, r.cfg.GitHub.APIURL); err != nil {
		return err
	}
	there, err := r.Stored(ctx)
	if err == nil && !ask.Replace {
		return fmt.Errorf("GitHub App %s (%s): %w: to make another one in its place, give --replace; then delete this one at %s",
			there.Slug, there.Owner, failure.ErrConflict, there.HTMLURL)
	}
	if errors.Is(err, failure.ErrNotFound) {
		return nil
	}
	return err
}

// NewSecret is the secret of a link.
func (r *Registry) NewSecret() (opaque.Secret, error) { return opaque.SetupLink.New(r.cfg.Rand) }

// State is what GitHub hands back with the code, by which we know that the answer is to our
// question. Nobody who lacks the secret of the link can make it.
func State(secret opaque.Secret) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte("state of a GitHub App manifest"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// CreateSetup makes a link to /github/setup of the running service. Refusals: those of Check.
func (r *Registry) CreateSetup(ctx context.Context, ask Ask) (url opaque.Secret, ends time.Time, err error) {
	if err := r.Check(ctx, ask); err != nil {
		return "", time.Time{}, err
	}
	secret, err := r.NewSecret()
	if err != nil {
		return "", time.Time{}, err
	}
	s := Setup{
		Hash: opaque.Hash(secret.Reveal()), State: opaque.Hash(State(secret)), Ask: ask,
		ExpiresAt: r.cfg.Now().Add(SetupTTL),
	}
	return opaque.Secret(r.cfg.PublicURL + SetupPath + "?link=" + secret.Reveal()), s.ExpiresAt,
		r.cfg.Store.AddSetup(ctx, s, r.cfg.Log.Act(ctx, audit.AppLinkCreated, "", s.name(), audit.Details{
			"organization": ask.Organization, "expires_at": s.ExpiresAt.Unix(),
		}))
}

// name is what the audit log calls a link: nothing can be found by it but the line that made it.
func (s Setup) name() string { return s.Hash[:16] }

// SetupPath is the page of the service on which the App is made, and CallbackPath is where GitHub
// sends the browser back.
const (
	SetupPath    = "/github/setup"
	CallbackPath = "/github/setup/done"
)

// OpenSetup is the form of a link, without using it up: programs that preview links look at it too.
// ErrLink.
func (r *Registry) OpenSetup(ctx context.Context, secret string) (Form, error) {
	if !opaque.SetupLink.Fits(secret) {
		return Form{}, ErrLink
	}
	s, err := r.setup(ctx, secret)
	if err != nil {
		return Form{}, err
	}
	return r.Form(s.Ask, r.cfg.PublicURL+CallbackPath, State(opaque.Secret(secret)))
}

// FinishSetup makes the App that a browser came back for, by the state and the code that GitHub
// gave it, and uses the link up. ErrLink; those of Convert.
func (r *Registry) FinishSetup(ctx context.Context, state, code string) (App, error) {
	s, err := r.setup(ctx, state)
	if err != nil {
		return App{}, err
	}
	err = r.cfg.Store.UseSetup(ctx, s.Hash) // before the code is: of two that use it one goes on
	if errors.Is(err, failure.ErrNotFound) {
		return App{}, ErrLink
	}
	if err != nil {
		return App{}, err
	}
	return r.convert(ctx, s.Ask, code, audit.Details{"by_link": s.name()})
}

func (r *Registry) setup(ctx context.Context, secretOrState string) (Setup, error) {
	s, err := r.cfg.Store.SetupOf(ctx, opaque.Hash(secretOrState))
	if errors.Is(err, failure.ErrNotFound) || err == nil && !r.cfg.Now().Before(s.ExpiresAt) {
		return Setup{}, ErrLink
	}
	return s, err
}

var codeForm = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,200}\z`)

// Convert turns the code that GitHub gave into the App, and stores it. Refusals: ErrInvalid, the
// code is none, or the App is not whose it was to be; ErrConflict, there is an App. An error of
// GitHub's is a *github.Error.
func (r *Registry) Convert(ctx context.Context, ask Ask, code string) (App, error) {
	return r.convert(ctx, ask, code, audit.Details{})
}

// convert is Convert with what else is worth knowing of it.
func (r *Registry) convert(ctx context.Context, ask Ask, code string, details audit.Details) (App, error) {
	if !codeForm.MatchString(code) {
		return App{}, failure.Invalid("that is not a code of GitHub's: " +
			"it stands behind code= in the address that GitHub sent the browser to")
	}
	if err := r.Check(ctx, ask); err != nil {
		return App{}, err
	}
	a, err := r.askForApp(ctx, code)
	if err != nil {
		return App{}, err
	}
	if ask.Organization != "" && !strings.EqualFold(a.Owner, ask.Organization) {
		return App{}, failure.Invalid(fmt.Sprintf(
			"the App that was made belongs to %.100q and not to %s, and was not stored: delete it at %s, and try again",
			a.Owner, ask.Organization, a.HTMLURL))
	}
	a.CreatedAt = r.cfg.Now()
	sealed, err := r.seal(a)
	if err != nil {
		return App{}, err
	}
	details["slug"], details["owner"] = a.Slug, a.Owner
	act := r.cfg.Log.Act(ctx, audit.AppConnected, "", fmt.Sprint(a.ID), details)
	if err := r.cfg.Store.PutGitHubApp(ctx, sealed, ask.Replace, act); err != nil {
		return App{}, fmt.Errorf("store GitHub App %s: %w", a.Slug, err)
	}
	r.forget()
	return a, nil
}

// askForApp makes the one call that answers with the credentials.
func (r *Registry) askForApp(ctx context.Context, code string) (App, error) {
	if r.cfg.GitHub.Transport == nil {
		return App{}, errNoGitHub
	}
	c, err := github.New(r.cfg.GitHub)
	if err != nil {
		return App{}, err
	}
	var made struct {
		described
		PEM           opaque.Secret `json:"pem"`
		WebhookSecret opaque.Secret `json:"webhook_secret"`
	}
	_, err = c.Call(ctx, http.MethodPost, "app-manifests/"+code+"/conversions", nil, &made)
	if github.StatusOf(err) == http.StatusNotFound {
		return App{}, failure.Invalid("GitHub does not know that code: it is good once and for an hour: " +
			"make the App again from the start, and delete the one that was made at GitHub")
	}
	if err != nil {
		return App{}, github.Explain(ctx, err)
	}
	a := App{
		ID: made.ID, ClientID: github.Plain(made.ClientID), Slug: github.Plain(made.Slug),
		Name: github.Plain(made.Name), HTMLURL: github.Plain(made.HTMLURL),
		Owner: github.Plain(made.Owner.Login), Key: made.PEM, WebhookSecret: made.WebhookSecret,
	}
	if _, err := github.ParseApp(fmt.Sprint(a.ID), a.Key); err != nil || a.ID == 0 || a.WebhookSecret == "" {
		return App{}, fmt.Errorf("the answer of GitHub lacks the id, the key or the webhook secret of the App: " +
			"make it by hand, see docs/webhooks.md")
	}
	return a, nil
}
