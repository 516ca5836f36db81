package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/admin"
)

// verifier proves identity tokens that were made for this service. keyStore may be nil.
func (a *app) verifier(publicURL string, keyStore oidc.KeyStore, log *slog.Logger) (*oidc.Verifier, error) {
	return oidc.New(oidc.Config{Issuers: a.cfg.OIDCIssuers, Audience: publicURL, HTTP: outside(), KeyStore: keyStore, Now: time.Now, Log: log})
}

// outside is a client for the issuers and GitHub's API, with proxies as the environment says.
func outside() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = 2, 5*time.Second
	return &http.Client{Transport: t, Timeout: 10 * time.Second}
}

// askTime is how long GitHub may take to answer somebody who waits for it, with all tries.
const askTime = 10 * time.Second

// github is a client of GitHub's API with the token of GITHUB_TOKEN, if there is one.
func (a *app) github() (*github.Client, error) {
	cfg := a.githubConfig()
	cfg.Token, cfg.Attempts = opaque.Secret(a.getenv("GITHUB_TOKEN")), 2
	return github.New(cfg)
}

// githubConfig is how GitHub's API is reached.
func (a *app) githubConfig() github.Config {
	return github.Config{
		APIURL: cmp.Or(a.cfg.GitHubAPIURL, "https://api.github.com"), Transport: outside().Transport,
		UserAgent: "pageflare-license/" + version, Now: time.Now, Rand: rand.Reader,
	}
}

// repository asks GitHub for the ids of a repository and its owner; for OWNER/* it is
// oidc.AnyRepository and the id of that organization. license.ErrInvalid: the name is none, or
// names nothing that can be seen; admin.ErrNoAnswer: GitHub cannot tell now. What to do is for the
// caller to say, who knows how ids are given.
func (a *app) repository(ctx context.Context, name string) (repositoryID, ownerID string, err error) {
	if err := license.CheckRepository(name); err != nil {
		return "", "", err
	}
	owner, repo, _ := strings.Cut(name, "/")
	c, err := a.github()
	if err != nil {
		return "", "", fmt.Errorf("GITHUB_TOKEN: %w: %w", failure.ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if repo == oidc.AnyRepository {
		ownerID, err = organization(ctx, c, owner)
		return oidc.AnyRepository, ownerID, err
	}
	found, err := c.Repository(ctx, github.Repo{Owner: owner, Name: repo})
	if err != nil {
		return "", "", fmt.Errorf("ask GitHub for repository %s: %w", name, refusedByGitHub(ctx, err, c))
	}
	if now := found.FullName; !strings.EqualFold(now, name) { // GitHub follows what was renamed or transferred
		return "", "", fmt.Errorf("ask GitHub for repository %s: %w: it is called %.200q now: if its owner of today is to be trusted, give that name", name, failure.ErrInvalid, now)
	}
	return strconv.FormatInt(found.ID, 10), strconv.FormatInt(found.OwnerID, 10), nil
}

// organization asks GitHub for the id of an organization. The account of a person is refused, so
// that a name which a person took over, or was mistyped for, is noticed.
func organization(ctx context.Context, c *github.Client, name string) (id string, err error) {
	found, err := c.Account(ctx, name)
	var fault *github.Error
	switch {
	case errors.As(err, &fault) && fault.Kind == github.NotFound:
		err = fmt.Errorf("%w: there is no organization of that name at %s: check the name", failure.ErrInvalid, c.Host())
	case err != nil:
		err = refusedByGitHub(ctx, err, c)
	case !strings.EqualFold(found.Login, name):
		err = fmt.Errorf("%w: it is called %.200q now: if that one is to be trusted, give that name", failure.ErrInvalid, found.Login)
	case found.Type != "Organization":
		err = fmt.Errorf("%w: it is not an organization (%.50q): if every repository of that owner is to be trusted, give its id, %d, as that of the owner",
			failure.ErrInvalid, found.Type, found.ID)
	}
	if err != nil {
		return "", fmt.Errorf("ask GitHub for organization %s: %w", name, err)
	}
	return strconv.FormatInt(found.ID, 10), nil
}

// limitReached says that GitHub lets us ask no more for now, without a token. It is an
// admin.ErrAnonymousLimit in words of its own.
type limitReached string

func (l limitReached) Error() string { return string(l) }

func (limitReached) Is(target error) bool {
	return target == admin.ErrAnonymousLimit || target == admin.ErrNoAnswer
}

// refusedByGitHub is the operator's wording of an error of the GitHub client: what GitHub refuses
// for good is for a person to change (failure.ErrInvalid), what it cannot say now is not
// (admin.ErrNoAnswer).
func refusedByGitHub(ctx context.Context, err error, c *github.Client) error {
	var e *github.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%w: %w", admin.ErrNoAnswer, err)
	}
	until := e.RetryAt.UTC().Format(time.RFC3339)
	switch e.Kind {
	case github.RateLimited:
		if c.Anonymous() {
			return limitReached(fmt.Sprintf("GitHub refused: the %d requests an hour that it allows without a token are used up until %s: set GITHUB_TOKEN",
				cmp.Or(e.Hourly, 60), until))
		}
		return fmt.Errorf("%w: its limit for requests is used up until %s", admin.ErrNoAnswer, until)
	case github.Throttled:
		return fmt.Errorf("%w: %s; it asks to wait until %s", admin.ErrNoAnswer, e.Message, until)
	case github.NotFound:
		return fmt.Errorf("%w: no such repository can be seen at %s: check the name; a private one is seen with GITHUB_TOKEN", failure.ErrInvalid, c.Host())
	case github.BadCredentials:
		if c.Anonymous() {
			return fmt.Errorf("%w: %s tells nothing without GITHUB_TOKEN", failure.ErrInvalid, c.Host())
		}
		return fmt.Errorf("%w: GITHUB_TOKEN is not accepted by %s", failure.ErrInvalid, c.Host())
	case github.NotGitHub:
		return fmt.Errorf("%w: a proxy between here and %s refused (%d)", admin.ErrNoAnswer, c.Host(), e.Status)
	case github.Elsewhere:
		return fmt.Errorf("%w: it redirects to another host, where GITHUB_TOKEN must not go: %s", admin.ErrNoAnswer, e.Message)
	case github.SignOnRequired:
		if e.URL != "" {
			return fmt.Errorf("%w: GitHub refused (%d): authorize the token in GITHUB_TOKEN for the organization at %q", failure.ErrInvalid, e.Status, e.URL)
		}
		fallthrough
	default:
		if e.Status >= 400 && e.Status < 500 && e.Status != http.StatusRequestTimeout {
			return fmt.Errorf("%w: GitHub refused (%d): %q; or give its ids", failure.ErrInvalid, e.Status, e.Said)
		}
	}
	if e.Err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %s", admin.ErrNoAnswer, github.Plain(e.Err.Error()))
	}
	return fmt.Errorf("%w: %s", admin.ErrNoAnswer, e.Message)
}
