package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/origin"
)

// maxAnswer is far above any answer that this client asks for: a page of 100 repositories has up to
// 1 MB.
const maxAnswer = 4 << 20

var (
	errForeign  = errors.New("refused to send the token to another host")
	errTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	errTooSlow  = errors.New("no answer in time")
)

// sender makes one attempt of one request and holds the whole answer in memory, so that an answer
// that breaks off counts as no answer.
type sender struct {
	next    http.RoundTripper
	base    *url.URL      // of the API; the origin that the token is for
	token   opaque.Secret // empty: none
	timeout time.Duration
}

// RoundTrip sends req with the token. Requests to another origin are refused here, where redirects
// pass too: net/http strips the Authorization header on its own redirects, but not one that a
// transport adds.
func (s *sender) RoundTrip(req *http.Request) (*http.Response, error) {
	if !origin.Same(req.URL, s.base) {
		return nil, fmt.Errorf("%w: %s instead of %s", errForeign, req.URL.Host, s.base.Host)
	}
	ctx, cancel := context.WithTimeout(req.Context(), s.timeout)
	defer cancel()

	resp, err := s.exchange(ctx, req)
	if err != nil && req.Context().Err() == nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%w (%s)", errTooSlow, s.timeout)
	}
	return resp, err
}

func (s *sender) exchange(ctx context.Context, req *http.Request) (*http.Response, error) {
	out, err := s.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, err := s.next.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()

	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, errTooLarge
	}
	resp.Body = io.NopCloser(bytes.NewReader(s.redact(body)))
	resp.Request = req // without the Authorization header
	return resp, nil
}

// prepare copies the request, since a transport must not change the one it was given, with a fresh
// body for each attempt.
func (s *sender) prepare(ctx context.Context, req *http.Request) (*http.Request, error) {
	out := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	if s.token != "" {
		out.Header.Set("Authorization", "Bearer "+s.token.Reveal())
	}
	return out, nil
}

// redact keeps a server that repeats the request in its answer, as debugging proxies do, from
// putting the token into an error.
func (s *sender) redact(body []byte) []byte {
	if s.token == "" {
		return body
	}
	return bytes.ReplaceAll(body, []byte(s.token.Reveal()), []byte(s.token.String()))
}
