package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// maxTries is how many requests one call sends at most.
const maxTries = 5

// firstPause bounds the random wait before the second try; it doubles with each further one.
const firstPause = 500 * time.Millisecond

// request is one call before it is sent.
type request struct {
	op, method, path string
	bearer           string
	secret           string                  // what else must stand in no error
	body             map[string]string       // sent as JSON; nil: none
	grant            bool                    // a 400 may be one of RFC 8628
	accept           func(body []byte) error // takes over the body of a 200; an error says why it is no answer
}

// hidden is what must stand in no error.
func (r request) hidden() string { return cmp.Or(r.bearer, r.secret) }

// call sends the request until it has an answer or a reason to stop. The error is an *Error, or wraps that of ctx.
func (c *Client) call(ctx context.Context, r request) error {
	budget, cancel := context.WithTimeout(ctx, c.cfg.Budget)
	defer cancel()
	req, err := c.build(budget, r)
	if err != nil {
		return fmt.Errorf("%s: %w", r.op, err)
	}
	t := &tries{client: c, request: r, start: c.cfg.Now()}
	req.SetResponseHandler(func(resp *http.Response) error { return t.judge(resp) })
	loop := &retryablehttp.Client{
		HTTPClient: c.http,
		RetryMax:   maxTries - 1,
		CheckRetry: t.check,
		// The wait is PrepareRetry, which can be told to stop and can be faked.
		Backoff:      func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 },
		PrepareRetry: func(req *http.Request) error { return c.cfg.Sleep(req.Context(), t.pause) },
		ErrorHandler: func(*http.Response, error, int) (*http.Response, error) { return nil, t.last },
	}
	if _, err = loop.Do(req); err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", r.op, ctx.Err())
	}
	return t.last
}

func (c *Client) build(ctx context.Context, r request) (*retryablehttp.Request, error) {
	var body any // of no type: none
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = b
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, r.method, c.base.JoinPath(r.path).String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if c.cfg.UserAgent != "" {
		req.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	if r.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	return req, nil
}

// tries is the state of one call: how often it was sent, and what came of the last time.
type tries struct {
	client  *Client
	request request
	start   time.Time

	sent  int
	last  *Error
	pause time.Duration // before the next try
}

// check decides after each try, and once more after judge has read the answer, whether there is another one.
func (t *tries) check(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	if !errors.As(err, &t.last) {
		t.last = t.unreachable(err)
		if ctx.Err() != nil {
			t.last.reason = fmt.Sprintf("no answer within the %s of the whole call", t.client.cfg.Budget)
		}
	}
	t.sent++
	t.last.Tries = t.sent
	if !t.last.again || ctx.Err() != nil {
		return false, nil
	}
	return t.plan(), nil
}

// plan sets the pause before the next try, and reports whether it fits the budget. The API's wish is kept and, so that a crowd told
// the same does not come back as one, a random part is added to it.
func (t *tries) plan() bool {
	t.pause = t.last.RetryAfter + time.Duration(t.client.cfg.Rand()*float64(firstPause<<(t.sent-1)))
	left := t.client.cfg.Budget - t.client.cfg.Now().Sub(t.start)
	if t.pause < left {
		return true
	}
	if t.last.RetryAfter > 0 {
		t.last.reason = fmt.Sprintf("it asks to wait %s, longer than the %s that are left", t.last.RetryAfter, max(left, 0).Round(time.Second))
	}
	return false
}

// failure is an Error with what this call knows.
func (t *tries) failure(kind error, reason string) *Error {
	return &Error{Kind: kind, Op: t.request.op, Host: t.client.base.Host, reason: clean(reason, t.request.hidden())}
}

// unreachable turns an error of net/http, without an answer, into ours.
func (t *tries) unreachable(err error) *Error {
	if errors.Is(err, errRedirect) {
		return t.failure(ErrAnswer, inner(err).Error())
	}
	e := t.failure(ErrUnavailable, inner(err).Error())
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		e.reason = fmt.Sprintf("no answer within %s", t.client.cfg.Attempt)
	}
	_, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	e.again = !badCertificate && !errors.Is(err, http.ErrSchemeMismatch)
	return e
}

// inner is what net/http found, without its method and URL.
func inner(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
