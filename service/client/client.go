// Package client calls the License API: the vendor's, or a License service of one's own.
//
// It decides what counts as an answer, when a request is tried again, and which error the caller
// gets. What travels is service/api; whether the token that came back may replace the old one is
// decided in action/refresh.
//
// Rules of this package:
//   - Network faults, 429 and 5xx are tried again, up to 5 times in all, with growing random waits, while the budget lasts. A wait
//     that the API asks for is kept; one that does not fit the budget ends the call at once. No other status is tried again.
//   - What makes something is sent under a name of its own (Idempotency-Key), which all tries of a call share: a service that knows the
//     header does it once. Issue is tried again also where it is not known: what a lost answer leaves behind there is the record of a
//     token that nobody holds, and the caller would have to repeat the call anyway.
//   - 401 and 403 count as a no only when they can come from the API: a page of a proxy or a firewall says nothing about a license.
//   - The token goes to the origin of the base URL and nowhere else, and stands in no error.
package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/origin"
)

// What a call may take when Config does not say.
const (
	DefaultBudget  = 60 * time.Second
	DefaultAttempt = 10 * time.Second
)

// Config is what a Client needs. Only BaseURL must be set.
type Config struct {
	BaseURL   string // as in https://pageflare.dev/_api, with or without the last slash
	HTTP      *http.Client
	UserAgent string

	Budget  time.Duration // for a call with all its tries and waits; 0: DefaultBudget
	Attempt time.Duration // for one try, its answer included; 0: DefaultAttempt

	Now   func() time.Time // nil: time.Now
	Rand  func() float64   // from 0 up to 1, spreads the waits; nil: math/rand/v2
	Sleep func(ctx context.Context,
		d time.Duration) error // until d is over or ctx is done; nil: a timer
}

// Client calls one License API. It is safe for use by several goroutines.
type Client struct {
	base *url.URL
	http *http.Client
	cfg  Config
}

// New returns a client. The error names api-url and what is wrong with it, and never quotes a
// password in it. Of Config.HTTP only the Transport is used; without one it is that of net/http,
// which honours HTTPS_PROXY and its like.
func New(cfg Config) (*Client, error) {
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("api-url: %w", err)
	}
	cfg = withDefaults(cfg)
	c := &Client{base: base, cfg: cfg}
	c.http = &http.Client{
		Transport: transport(cfg.HTTP), CheckRedirect: sameOrigin, Timeout: cfg.Attempt,
	}
	return c, nil
}

// BaseURL is where the client calls, in one spelling: those of two clients are equal when they call
// the same API.
func (c *Client) BaseURL() string {
	of, err := origin.Of(c.base)
	if err != nil { // an address that browsers do not take has one spelling only
		of = c.base.Scheme + "://" + c.base.Host
	}
	return of + c.base.EscapedPath()
}

// Issue asks for a new token for the account of the bearer, which is an API token or a license
// token.
func (c *Client) Issue(ctx context.Context, bearer string) (api.IssuedToken, error) {
	return c.token(ctx,
		request{
			op: "issue license token", method: http.MethodPost, path: "license/issue",
			bearer: bearer, named: true,
		})
}

// Refresh asks for the successor of a license token that has not expired.
func (c *Client) Refresh(ctx context.Context, bearer string) (api.IssuedToken, error) {
	return c.token(ctx,
		request{
			op: "refresh license token", method: http.MethodGet, path: "license/refresh",
			bearer: bearer,
		})
}

// Introspect tells what is known of a license token or an API token (RFC 7662). The bearer is an
// API token, which sees the tokens of its own account, or an admin token with the scope
// tokens:read. A token that is not good is no error: Active is false, and nothing else is said.
func (c *Client) Introspect(ctx context.Context,
	bearer, token string) (known api.Introspection, err error) {
	r := request{
		op: "introspect the token", method: http.MethodPost, path: "oauth/introspect",
		form: url.Values{"token": {token}}, bearer: bearer, secret: token, rejects: true,
	}
	if err := checkBearer(bearer); err != nil {
		return known, fmt.Errorf("%s: %w", r.op, err)
	}
	r.accept = func(body []byte) (err error) {
		known, err = acceptIntrospection(body)
		return err
	}
	return known, c.call(ctx, r)
}

// Revoke ends an API token, or a license token with its whole family (RFC 7009). The bearer is an
// API token of the same account, or an admin token with the scope tokens:write. A token that is
// unknown or ended already is no error.
func (c *Client) Revoke(ctx context.Context, bearer, token string) error {
	r := request{
		op: "revoke the token", method: http.MethodPost, path: "oauth/revoke",
		form: url.Values{"token": {token}}, bearer: bearer, secret: token, rejects: true,
	}
	if err := checkBearer(bearer); err != nil {
		return fmt.Errorf("%s: %w", r.op, err)
	}
	r.accept = func(body []byte) error { return decode(body, &map[string]any{}) }
	return c.call(ctx, r)
}

// Lease asks for the lease of a license token: signed with a public key, to be checked offline by
// PublicKeys.
func (c *Client) Lease(ctx context.Context, bearer string) (api.Lease, error) {
	return fetch[api.Lease](ctx, c,
		request{
			op: "get a lease", method: http.MethodGet, path: "license/lease", bearer: bearer,
			rejects: true,
		})
}

// PublicKeys returns the keys that verify leases: none where there are no leases. They lie beside
// the API, not below it.
func (c *Client) PublicKeys(ctx context.Context) (api.PublicKeySet, error) {
	var set api.PublicKeySet
	return set, c.call(ctx,
		request{
			op: "get the public keys", method: http.MethodGet, path: "../.well-known/jwks.json",
			accept: func(body []byte) error { return decode(body, &set) },
		})
}

// Health returns nil when the API says that it runs.
func (c *Client) Health(ctx context.Context) error {
	return c.call(ctx,
		request{
			op: "check license api", method: http.MethodGet, path: "health", accept: acceptHealth,
		})
}

// token makes the call and returns the token of its answer.
func (c *Client) token(ctx context.Context, r request) (api.IssuedToken, error) {
	if err := checkBearer(r.bearer); err != nil {
		return api.IssuedToken{}, fmt.Errorf("%s: %w", r.op, err)
	}
	var issued api.IssuedToken
	r.accept = func(body []byte) (err error) {
		issued, err = acceptToken(body)
		return err
	}
	if err := c.call(ctx, r); err != nil {
		return api.IssuedToken{}, err
	}
	return issued, nil
}

func withDefaults(cfg Config) Config {
	if cfg.Budget == 0 {
		cfg.Budget = DefaultBudget
	}
	if cfg.Attempt == 0 {
		cfg.Attempt = DefaultAttempt
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	return cfg
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// transport is the one of the given client, else a copy of net/http's own.
func transport(given *http.Client) http.RoundTripper {
	if given != nil && given.Transport != nil {
		return given.Transport
	}
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}
