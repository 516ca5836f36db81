package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
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
	secret           string // what else must stand in no error
	query            url.Values
	body             any                     // sent as JSON; nil: none
	form             url.Values              // sent instead, as a form
	grant            bool                    // a 400 may be one of RFC 8628
	rejects          bool                    // a 4xx with a code is the API's own
	silent           bool                    // a 204 says yes too
	reads            bool                    // changes nothing
	patient          bool                    // its answer may take long: Budget bounds the waits between tries, and nothing but ctx the tries
	waits            time.Duration           // its answer may take longer by so much
	once             bool                    // must not be done twice: it is sent again only when nothing was done
	named            bool                    // sent under a name, so that it can be sent again and does nothing twice
	accept           func(body []byte) error // takes over the body of a 200; an error says why it is no answer
}

// hidden is what must stand in no error: the longest first, since one may be a part of the other.
func (r request) hidden() []string {
	hidden := slices.DeleteFunc([]string{r.bearer, r.secret},
		func(s string) bool { return s == "" })
	slices.SortFunc(hidden, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return hidden
}

// call sends the request until it has an answer or a reason to stop. The error is an *Error, or
// wraps that of ctx.
func (c *Client) call(ctx context.Context, r request) error {
	budget, cancel, hc := ctx, context.CancelFunc(func() {}), *c.http
	if r.patient {
		hc.Timeout = 0
	} else {
		hc.Timeout += r.waits
		budget, cancel = context.WithTimeout(ctx, c.cfg.Budget+r.waits)
	}
	defer cancel()
	req, err := c.build(budget, r)
	if err != nil {
		return fmt.Errorf("%s: %w", r.op, err)
	}
	t := &tries{client: c, request: r, start: c.cfg.Now()}
	req.SetResponseHandler(func(resp *http.Response) error { return t.judge(resp) })
	loop := &retryablehttp.Client{
		HTTPClient: &hc,
		RetryMax:   maxTries - 1,
		CheckRetry: t.check,
		// The wait is PrepareRetry, which can be told to stop and can be faked.
		Backoff: func(time.Duration, time.Duration, int,
			*http.Response) time.Duration {
			return 0
		},
		PrepareRetry: func(req *http.Request) error { return c.cfg.Sleep(req.Context(), t.pause) },
		ErrorHandler: func(*http.Response, error,
			int) (*http.Response, error) {
			return nil, t.last
		},
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
	kind := ""
	switch {
	case r.form != nil:
		body, kind = []byte(r.form.Encode()), "application/x-www-form-urlencoded"
	case r.body != nil:
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body, kind = b, "application/json"
	}
	address := c.base.JoinPath(r.path)
	address.RawQuery = r.query.Encode()
	req, err := retryablehttp.NewRequestWithContext(ctx, r.method, address.String(), body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Accept", "application/json")
	if c.cfg.UserAgent != "" {
		req.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	if r.named {
		req.Header.Set("Idempotency-Key", rand.Text())
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

// check decides after each try, and once more after judge has read the answer, whether there is
// another one.
func (t *tries) check(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	if !errors.As(err, &t.last) {
		t.last = t.unreachable(err)
		if ctx.Err() != nil {
			t.last.reason = fmt.Sprintf("no answer within the %s of the whole call",
				t.client.cfg.Budget)
		}
	}
	t.sent++
	t.last.Tries = t.sent
	if t.request.once && t.last.again && !t.last.undone {
		t.last.again, t.last.unsure = false, true
	}
	if !t.last.again || ctx.Err() != nil {
		return false, nil
	}
	return t.plan(), nil
}

// plan sets the pause before the next try, and reports whether it fits the budget. The API's wish
// is kept and, so that a crowd told the same does not come back as one, a random part is added to
// it.
func (t *tries) plan() bool {
	t.pause = t.last.RetryAfter + time.Duration(t.client.cfg.Rand()*float64(firstPause<<(t.sent-1)))
	left := t.client.cfg.Budget - t.client.cfg.Now().Sub(t.start)
	if t.pause < left {
		return true
	}
	if t.last.RetryAfter > 0 {
		t.last.reason = fmt.Sprintf("it asks to wait %s, longer than the %s that are left",
			t.last.RetryAfter, max(left, 0).Round(time.Second))
	}
	return false
}

// failure is an Error with what this call knows.
func (t *tries) failure(kind error, reason string) *Error {
	return &Error{
		Kind: kind, Op: t.request.op, Host: t.client.base.Host, BaseURL: t.client.BaseURL(),
		reason: clean(reason, t.request.hidden()),
	}
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
	_, e.Untrusted = errors.AsType[x509.UnknownAuthorityError](err)
	e.again = !badCertificate && !errors.Is(err, http.ErrSchemeMismatch)
	op, ok := errors.AsType[*net.OpError](err)
	e.undone = ok && op.Op == "dial"
	return e
}

// inner is what net/http found, without its method and URL.
func inner(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
