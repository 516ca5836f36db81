// Package github is a client of the GitHub API, for both programs. It decides what is common to all
// calls: that a credential goes to the one server it was given for, how long GitHub's limits are
// waited for, what is tried again, how large an answer may be, and what a refusal means.
//
// An error is a fact about GitHub (Error, with a Kind). What to do about it depends on who asks and
// where the credential comes from, and is for the caller to say: action/remedy for users of the
// Action, service/identity.go for operators of the License service.
//
// Nothing here reads the environment or prints; clock, randomness and transport are passed in. A
// GitHub App is in app.go and installation.go, secrets are in github/secret.
package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/service/opaque"
)

// Config is what a Client needs.
type Config struct {
	APIURL    string            // required: https://api.github.com or https://ghe.example/api/v3
	Token     opaque.Secret     // optional: without one, GitHub is asked anonymously
	Transport http.RoundTripper // required
	UserAgent string            // required; GitHub refuses requests without one
	Now       func() time.Time  // required
	Rand      io.Reader         // required; spreads the waits of clients that run concurrently

	// Sleep waits for d or until ctx is done, whose error it then returns. Optional: a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Shutdown says when the program is about to end. Optional: never.
	Shutdown *Shutdown
	// Timeout ends one attempt of one request, its answer included. Optional: 30 s.
	Timeout time.Duration
	// Attempts is how often a request is sent at most. Optional: 5.
	Attempts int
}

// A Client calls one GitHub by one credential; Explain makes a fact of an error that Call returns.
// Several goroutines may use a Client.
type Client struct {
	// call has go-github's client out of the sight of reflection, on purpose. The command line looks
	// methods up by name, so the linker keeps every exported method of every type that reflection
	// could reach: through a field, that is all of GitHub's API, 3 MB that a runner pulls in each job.
	call      func(ctx context.Context, method, path, etag string, body, answer any) (*gh.Response, error)
	host      string
	anonymous bool
}

// New makes a client that sends its token to the origin of APIURL only, whatever redirects say,
// reads answers of a bounded size, and retries what is worth it (see retrier). A wait never goes
// past the deadline of the call's context, and may be an hour long when it has none.
func New(cfg Config) (*Client, error) {
	base, urlErr := parseAPIURL(cfg.APIURL)
	if err := errors.Join(urlErr, cfg.checkToken(), cfg.checkRest()); err != nil {
		return nil, err
	}
	client := gh.NewClient(&http.Client{Transport: &retrier{
		next: &sender{
			next:    cfg.Transport,
			base:    base,
			token:   cfg.Token,
			timeout: cmp.Or(cfg.Timeout, 30*time.Second),
		},
		now:      cfg.Now,
		rand:     cfg.Rand,
		sleep:    cfg.Sleep,
		shutdown: cfg.Shutdown,
		attempts: cmp.Or(cfg.Attempts, 5),
	}})
	client.BaseURL = base
	client.UserAgent = cfg.UserAgent
	call := func(ctx context.Context, method, path, etag string, body, answer any) (*gh.Response, error) {
		req, err := client.NewRequest(method, path, body)
		if err != nil {
			return nil, err
		}
		if etag != "" {
			req.Header.Set("If-None-Match", etag)
		}
		return client.Do(ctx, req, answer)
	}
	return &Client{call, base.Host, cfg.Token == ""}, nil
}

// Check says what is wrong with the configuration, the token apart.
func (cfg Config) Check() error {
	_, err := parseAPIURL(cfg.APIURL)
	return errors.Join(err, cfg.checkRest())
}

func (cfg Config) checkToken() error {
	if cfg.Token == "" {
		return nil
	}
	return CheckToken(cfg.Token)
}

// checkRest says which required field was forgotten; a mistake of the program, not of its user.
func (cfg Config) checkRest() error {
	if cfg.Transport == nil || cfg.UserAgent == "" || cfg.Now == nil || cfg.Rand == nil {
		return errors.New("github client: Transport, UserAgent, Now and Rand must be set")
	}
	return nil
}

// CheckToken refuses what cannot travel in a header. Nothing is said about length or form: GitHub
// changes those.
func CheckToken(t opaque.Secret) error {
	if t == "" {
		return errors.New("the token is empty")
	}
	if strings.ContainsFunc(t.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("has a space, a line break or another character that no token has")
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

// Call makes one call of a path under APIURL, with no slash before it; a nil body sends none, a nil
// answer is not read.
func (c *Client) Call(ctx context.Context, method, path string, body, answer any) (*gh.Response, error) {
	return c.call(ctx, method, path, "", body, answer)
}

// GetChanged reads a path unless GitHub's copy still has the ETag ("": read it in any case), and
// returns the ETag of what GitHub has now; changed says that the answer was read. The error is an
// *Error.
func (c *Client) GetChanged(ctx context.Context, path, etag string, answer any) (now string, changed bool, err error) {
	resp, err := c.call(ctx, http.MethodGet, path, etag, nil, answer)
	switch {
	case resp != nil && resp.StatusCode == http.StatusNotModified:
		return etag, false, nil
	case err != nil:
		return "", false, Explain(ctx, err)
	}
	return resp.Header.Get("ETag"), true, nil
}

// Anonymous says that the client has no token.
func (c *Client) Anonymous() bool { return c.anonymous }

// Host is where the client calls, for messages.
func (c *Client) Host() string { return c.host }
