package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/pageflare/ci/service/origin"
)

const (
	// maxDocument is the most bytes of an answer of an issuer that are read.
	maxDocument = 100 << 10
	// fetchTimeout is for discovery and keys together.
	fetchTimeout = 5 * time.Second
)

// fetcher reads what an issuer publishes.
type fetcher struct {
	issuer string
	client *http.Client
}

// newFetcher returns a fetcher that speaks with the origin of the issuer alone, follows no redirect
// and reads no more than maxDocument.
func newFetcher(issuer string, client *http.Client) (*fetcher, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	base := client.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	limited := *client
	limited.Transport = &originGuard{issuer: u, base: base}
	limited.CheckRedirect = func(*http.Request, []*http.Request) error {
		return errors.New("it redirects, which no issuer of GitHub does")
	}
	return &fetcher{issuer, &limited}, nil
}

// keySet reads discovery document and keys, each still encoded. The document must name the issuer
// as we do, and keys of the same origin.
// https://openid.net/specs/openid-connect-discovery-1_0.html
func (f *fetcher) keySet(ctx context.Context) ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, f.client), fetchTimeout)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, f.issuer)
	if err != nil {
		return nil, fmt.Errorf("discovery: %s", clip(err.Error()))
	}
	var document struct {
		KeysURL string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil || document.KeysURL == "" {
		return nil, errors.New("discovery: the document names no jwks_uri")
	}
	set, err := f.get(ctx, document.KeysURL)
	if err != nil {
		return nil, fmt.Errorf("keys: %s", clip(err.Error()))
	}
	return set, nil
}

func (f *fetcher) get(ctx context.Context, address string) ([]json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("jwks_uri is not a URL")
	}
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil ||
		!strings.HasSuffix(kind, "json") {
		return nil, fmt.Errorf("the answer is %q, not JSON", kind)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	return parseKeySet(body)
}

// keySet is a JSON Web Key Set (RFC 7517, 5), each key still encoded.
type keySet struct {
	Keys []json.RawMessage `json:"keys"`
}

// parseKeySet reads a set of at most maxDocument.
func parseKeySet(text []byte) ([]json.RawMessage, error) {
	var set keySet
	if len(text) > maxDocument || json.Unmarshal(text, &set) != nil {
		return nil, errors.New("the answer is not a JSON Web Key Set")
	}
	return set.Keys, nil
}

// originGuard lets requests to the origin of the issuer pass, and no more than maxDocument of each
// answer.
type originGuard struct {
	issuer *url.URL
	base   http.RoundTripper
}

// RoundTrip does one request.
func (g *originGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	if !origin.Same(req.URL, g.issuer) || req.URL.User != nil {
		return nil, fmt.Errorf("%s is not of %s://%s", req.URL.Redacted(), g.issuer.Scheme, g.issuer.Host)
	}
	res, err := g.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res.Body = &capped{ReadCloser: res.Body, left: maxDocument}
	return res, nil
}

// capped is a body that fails when it is too long, instead of being cut off in silence.
type capped struct {
	io.ReadCloser
	left int
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.left -= n; c.left < 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", maxDocument)
	}
	return n, err
}

// clip makes a foreign text fit for one line of a log.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if r := []rune(s); len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return s
}
