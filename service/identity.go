package main

import (
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

// repository asks GitHub for the ids of a repository and its owner. license.ErrInvalid: the name is
// none, or names nothing that can be seen; server.ErrNoAnswer: GitHub cannot tell now. What to do
// is for the caller to say, who knows how ids are given.
// https://docs.github.com/en/rest/repos/repos#get-a-repository
func (a *app) repository(ctx context.Context, name string) (repositoryID, ownerID string, err error) {
	if err := license.CheckRepository(name); err != nil {
		return "", "", err
	}
	owner, repo, _ := strings.Cut(name, "/")
	c := github.NewClient(outside())
	if token := a.getenv("GITHUB_TOKEN"); token != "" {
		c = c.WithAuthToken(token)
	}
	if a.cfg.GitHubAPIURL != "" {
		if c.BaseURL, err = url.Parse(strings.TrimSuffix(a.cfg.GitHubAPIURL, "/") + "/"); err != nil {
			return "", "", err
		}
	}
	found, res, err := c.Repositories.Get(ctx, owner, repo)
	if err != nil {
		return "", "", fmt.Errorf("ask GitHub for repository %s: %w", name, a.githubFault(err, res, c.BaseURL.Host))
	}
	if found.GetID() == 0 || found.GetOwner().GetID() == 0 {
		return "", "", fmt.Errorf("ask GitHub for repository %s: %w: the answer lacks ids", name, admin.ErrNoAnswer)
	}
	return strconv.FormatInt(found.GetID(), 10), strconv.FormatInt(found.GetOwner().GetID(), 10), nil
}

// githubFault sorts what GitHub says: only of a name or a token that it refuses a person has to
// give another.
func (a *app) githubFault(err error, res *github.Response, host string) error {
	var limited *github.RateLimitError
	status := 0
	if res != nil {
		status = res.StatusCode
	}
	switch {
	case errors.As(err, &limited):
		return fmt.Errorf("%w: its limit for requests is used up until %s", admin.ErrNoAnswer, limited.Rate.Reset.UTC().Format(time.RFC3339))
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: no such repository can be seen at %s: check the name; a private one is seen with GITHUB_TOKEN", failure.ErrInvalid, host)
	case status == http.StatusUnauthorized && a.getenv("GITHUB_TOKEN") == "":
		return fmt.Errorf("%w: %s tells nothing without GITHUB_TOKEN", failure.ErrInvalid, host)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("%w: GITHUB_TOKEN is not accepted by %s", failure.ErrInvalid, host)
	}
	return fmt.Errorf("%w: %w", admin.ErrNoAnswer, err)
}
