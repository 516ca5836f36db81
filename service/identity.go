package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
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

// repository asks GitHub for the ids of a repository and its owner; for OWNER/* it is
// oidc.AnyRepository and the id of that organization. license.ErrInvalid: the name is none, or names
// nothing that can be seen; admin.ErrNoAnswer: GitHub cannot tell now. What to do is for the caller
// to say, who knows how ids are given.
// https://docs.github.com/en/rest/repos/repos#get-a-repository
func (a *app) repository(ctx context.Context, name string) (repositoryID, ownerID string, err error) {
	if err := license.CheckRepository(name); err != nil {
		return "", "", err
	}
	owner, repo, _ := strings.Cut(name, "/")
	client := outside()
	client.CheckRedirect = withinOrigin // GITHUB_TOKEN goes wherever the request goes
	c := github.NewClient(client)
	if token := a.getenv("GITHUB_TOKEN"); token != "" {
		c = c.WithAuthToken(token)
	}
	if a.cfg.GitHubAPIURL != "" {
		if c.BaseURL, err = url.Parse(strings.TrimSuffix(a.cfg.GitHubAPIURL, "/") + "/"); err != nil {
			return "", "", err
		}
	}
	if repo == oidc.AnyRepository {
		ownerID, err = a.organization(ctx, c, owner)
		return oidc.AnyRepository, ownerID, err
	}
	found, res, err := c.Repositories.Get(ctx, owner, repo)
	if err != nil {
		return "", "", fmt.Errorf("ask GitHub for repository %s: %w", name, a.githubFault(err, res, c.BaseURL.Host))
	}
	if found.GetID() == 0 || found.GetOwner().GetID() == 0 {
		return "", "", fmt.Errorf("ask GitHub for repository %s: %w: the answer lacks ids", name, admin.ErrNoAnswer)
	}
	if now := found.GetFullName(); !strings.EqualFold(now, name) { // GitHub follows what was renamed or transferred
		return "", "", fmt.Errorf("ask GitHub for repository %s: %w: it is called %.200q now: if its owner of today is to be trusted, give that name", name, failure.ErrInvalid, now)
	}
	return strconv.FormatInt(found.GetID(), 10), strconv.FormatInt(found.GetOwner().GetID(), 10), nil
}

// organization asks GitHub for the id of an organization. The account of a person is refused, so
// that a name which a person took over, or was mistyped for, is noticed.
// https://docs.github.com/en/rest/users/users#get-a-user
func (a *app) organization(ctx context.Context, c *github.Client, name string) (id string, err error) {
	found, res, err := c.Users.Get(ctx, name)
	switch {
	case err != nil && res != nil && res.StatusCode == http.StatusNotFound:
		err = fmt.Errorf("%w: there is no organization of that name at %s: check the name", failure.ErrInvalid, c.BaseURL.Host)
	case err != nil:
		err = a.githubFault(err, res, c.BaseURL.Host)
	case found.GetID() == 0 || found.GetLogin() == "":
		err = fmt.Errorf("%w: the answer lacks id or name", admin.ErrNoAnswer)
	case !strings.EqualFold(found.GetLogin(), name):
		err = fmt.Errorf("%w: it is called %.200q now: if that one is to be trusted, give that name", failure.ErrInvalid, found.GetLogin())
	case found.GetType() != "Organization":
		err = fmt.Errorf("%w: it is not an organization (%.50q): if every repository of that owner is to be trusted, give its id, %d, as that of the owner",
			failure.ErrInvalid, found.GetType(), found.GetID())
	}
	if err != nil {
		return "", fmt.Errorf("ask GitHub for organization %s: %w", name, err)
	}
	return strconv.FormatInt(found.GetID(), 10), nil
}

// withinOrigin follows a redirect only to the host that was asked, by the same scheme.
func withinOrigin(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case next.URL.Scheme != first.Scheme || next.URL.Host != first.Host:
		return fmt.Errorf("it redirects to another host (%s), where GITHUB_TOKEN must not go", next.URL.Host)
	case len(via) > 5:
		return errors.New("it redirects without end")
	}
	return nil
}

// limitReached says that GitHub lets us ask no more for now. It is an admin.ErrNoAnswer in words of its own.
type limitReached string

func (l limitReached) Error() string { return string(l) }

func (limitReached) Is(target error) bool { return target == admin.ErrNoAnswer }

// githubFault sorts what GitHub says: what it refuses for good is for a person to change,
// what it cannot say now is not.
func (a *app) githubFault(err error, res *github.Response, host string) error {
	var limited *github.RateLimitError
	var slower *github.AbuseRateLimitError
	var said *github.ErrorResponse
	status := 0
	if res != nil {
		status = res.StatusCode
	}
	anonymous := a.getenv("GITHUB_TOKEN") == ""
	switch {
	case errors.As(err, &limited) && anonymous:
		return limitReached(fmt.Sprintf("GitHub refused: the %d requests an hour that it allows without a token are used up until %s: set GITHUB_TOKEN",
			cmp.Or(limited.Rate.Limit, 60), limited.Rate.Reset.UTC().Format(time.RFC3339)))
	case errors.As(err, &limited):
		return fmt.Errorf("%w: its limit for requests is used up until %s", admin.ErrNoAnswer, limited.Rate.Reset.UTC().Format(time.RFC3339))
	case errors.As(err, &slower):
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: no such repository can be seen at %s: check the name; a private one is seen with GITHUB_TOKEN", failure.ErrInvalid, host)
	case status == http.StatusUnauthorized && anonymous:
		return fmt.Errorf("%w: %s tells nothing without GITHUB_TOKEN", failure.ErrInvalid, host)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("%w: GITHUB_TOKEN is not accepted by %s", failure.ErrInvalid, host)
	case status >= 400 && status < 500 && res.Header.Get("X-GitHub-Request-Id") == "":
		return fmt.Errorf("%w: a proxy between here and %s refused (%d)", admin.ErrNoAnswer, host, status)
	case status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout && errors.As(err, &said):
		if _, at, ok := strings.Cut(res.Header.Get("X-GitHub-SSO"), "url="); ok {
			return fmt.Errorf("%w: GitHub refused (%d): authorize the token in GITHUB_TOKEN for the organization at %q", failure.ErrInvalid, status, at)
		}
		return fmt.Errorf("%w: GitHub refused (%d): %.300q; or give its ids", failure.ErrInvalid, status, said.Message)
	}
	return fmt.Errorf("%w: %w", admin.ErrNoAnswer, err)
}
