package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"
)

// Config is what a client of the GitHub API needs.
type Config struct {
	APIURL    string           // required; GITHUB_API_URL: https://api.github.com or https://ghe.example/api/v3
	Token     Token            // required, but for a Writer with an App
	HTTP      *http.Client     // required; only its Transport is used
	UserAgent string           // required; GitHub refuses requests without one
	Now       func() time.Time // required
	Rand      io.Reader        // required; spreads the waits of jobs that run side by side

	// Sleep waits for d or until ctx is done, whose error it then returns. Optional: a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Hurry says when the run is being cancelled. Optional: never.
	Hurry *Hurry
	// Timeout ends one attempt of one request, its answer included. Optional: 30 s.
	Timeout time.Duration
}

// newClient makes a client of the GitHub API that sends its token to the host of APIURL only, whatever redirects say, reads
// answers of a bounded size, and retries what is worth it (see retrier). A wait never goes past the deadline of the call's
// context, and may be an hour long when it has none.
func newClient(cfg Config) (*github.Client, error) {
	base, urlErr := parseAPIURL(cfg.APIURL)
	if err := errors.Join(urlErr, cfg.Token.Check(), cfg.check()); err != nil {
		return nil, err
	}
	client := github.NewClient(&http.Client{Transport: &retrier{
		next: &sender{
			next:    transportOf(cfg.HTTP),
			origin:  base,
			token:   cfg.Token,
			timeout: orDefault(cfg.Timeout, 30*time.Second),
		},
		now:   cfg.Now,
		rand:  cfg.Rand,
		sleep: cfg.Sleep,
		hurry: cfg.Hurry,
	}})
	client.BaseURL = base
	client.UserAgent = cfg.UserAgent
	return client, nil
}

// withoutToken checks all but the token.
func (cfg Config) withoutToken() error {
	_, err := parseAPIURL(cfg.APIURL)
	return errors.Join(err, cfg.check())
}

// check says which required field was forgotten; a mistake of the program, not of its user.
func (cfg Config) check() error {
	if cfg.HTTP == nil || cfg.UserAgent == "" || cfg.Now == nil || cfg.Rand == nil {
		return errors.New("github client: HTTP, UserAgent, Now and Rand must be set")
	}
	return nil
}

// CheckAPIURL refuses what cannot be the address of a GitHub API.
func CheckAPIURL(raw string) error {
	_, err := parseAPIURL(raw)
	return err
}

// parseAPIURL gives the URL the one trailing slash that go-github wants.
func parseAPIURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("github api url: want an absolute http(s) URL, such as https://api.github.com")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("github api url: %s://%s must have no user, query or fragment", u.Scheme, u.Host)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/") + "/"}, nil
}

func transportOf(client *http.Client) http.RoundTripper {
	if client.Transport == nil {
		return http.DefaultTransport
	}
	return client.Transport
}

func orDefault(d, preset time.Duration) time.Duration {
	if d == 0 {
		return preset
	}
	return d
}
