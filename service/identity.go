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

	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
)

// verifier proves identity tokens that were made for this service. keeper may be nil.
func (a *app) verifier(publicURL string, keeper oidc.Keeper, log *slog.Logger) (*oidc.Verifier, error) {
	return oidc.New(oidc.Config{Issuers: a.cfg.OIDCIssuers, Audience: publicURL, HTTP: outside(), Keeper: keeper, Now: time.Now, Log: log})
}

// outside is a client for the issuers and GitHub's API, with proxies as the environment says.
func outside() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = 2, 5*time.Second
	return &http.Client{Transport: t, Timeout: 10 * time.Second}
}

// repository asks GitHub for the ids of a repository and its owner. license.ErrInvalid: the name is none, or names nothing that can be seen.
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
	var limited *github.RateLimitError
	switch {
	case errors.As(err, &limited):
		return "", "", fmt.Errorf("ask GitHub for repository %s: its limit for requests is used up until %s: set GITHUB_TOKEN, or give --repository-id and --repository-owner-id",
			name, limited.Rate.Reset.UTC().Format(time.RFC3339))
	case res != nil && res.StatusCode == http.StatusNotFound:
		return "", "", fmt.Errorf("%w: repository %s: %w at %s: check the name; for a private one set GITHUB_TOKEN, or give --repository-id and --repository-owner-id",
			license.ErrInvalid, name, errNoRepository, c.BaseURL.Host)
	case res != nil && res.StatusCode == http.StatusUnauthorized && a.getenv("GITHUB_TOKEN") == "":
		return "", "", fmt.Errorf("%w: %s tells nothing without a token: set GITHUB_TOKEN, or give --repository-id and --repository-owner-id", license.ErrInvalid, c.BaseURL.Host)
	case res != nil && res.StatusCode == http.StatusUnauthorized:
		return "", "", fmt.Errorf("%w: GITHUB_TOKEN is not accepted by %s: give another, or none for a public repository", license.ErrInvalid, c.BaseURL.Host)
	case err != nil:
		return "", "", fmt.Errorf("ask GitHub for repository %s: %w: try again, or give --repository-id and --repository-owner-id", name, err)
	case found.GetID() == 0 || found.GetOwner().GetID() == 0:
		return "", "", fmt.Errorf("ask GitHub for repository %s: the answer lacks ids: give --repository-id and --repository-owner-id", name)
	}
	return strconv.FormatInt(found.GetID(), 10), strconv.FormatInt(found.GetOwner().GetID(), 10), nil
}
