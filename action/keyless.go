package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/sethvargo/go-githubactions"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/token"
)

// The runner's token endpoint fails now and then, and sometimes hangs: short tries, a few of them.
const (
	identityTries   = 4
	identityTimeout = 5 * time.Second
	identityPause   = time.Second // at most, before the second try; doubles
)

// keyless says whether the job may ask for an identity token: it has `id-token: write`.
// https://docs.github.com/en/actions/reference/security/oidc
func (r *run) keyless() bool {
	return r.getenv("ACTIONS_ID_TOKEN_REQUEST_URL") != "" && r.getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN") != ""
}

// exchange gets a short-lived license token for the job's own identity. Nothing is stored.
func (r *run) exchange(ctx context.Context) {
	issued, err := r.callExchange(ctx)
	if err == nil {
		r.mask(issued)
		r.claims, err = token.Decode(issued)
	}
	if err == nil && !r.now().Before(r.claims.ExpiresAt) {
		err = errors.New("the answer has expired by the clock of this machine")
	}
	if err != nil {
		r.claims = token.Claims{}
		r.notExchanged(err)
		return
	}
	r.token, r.state = issued, StateExchanged
	r.reason = "exchanged the identity of this job for a license token that is good until " + day(r.claims.ExpiresAt)
	r.gha.Infof("License token: %s", r.reason)
}

func (r *run) callExchange(ctx context.Context) (string, error) {
	identity, err := r.identity(ctx)
	if err != nil {
		return "", err
	}
	r.mask(identity)
	api, err := r.licenseAPI()
	if err != nil {
		return "", err
	}
	issued, err := api.Issue(ctx, identity)
	return issued.Token, err
}

// identity asks the runner for the job's identity token, for our audience only. It lives five minutes, so it is fetched just before its use.
// A refusal (4xx) is final; all else is tried again.
func (r *run) identity(ctx context.Context) (string, error) {
	loop := &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: r.cfg.HTTP.Transport, Timeout: identityTimeout},
		RetryMax:     identityTries - 1,
		CheckRetry:   retryablehttp.DefaultRetryPolicy,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
		// random, so that jobs which run side by side do not ask at the same moment
		Backoff: func(_, _ time.Duration, try int, _ *http.Response) time.Duration { return rand.N(identityPause << try) },
	}
	runner := githubactions.New(githubactions.WithGetenv(r.getenv), githubactions.WithHTTPClient(loop.StandardClient()))
	identity, err := runner.GetIDToken(ctx, r.cfg.Audience)
	if err == nil && identity == "" {
		err = errors.New("the answer holds none")
	}
	if err != nil {
		return "", fmt.Errorf("the runner gave no identity token: %s", clip(oneLine(err.Error()), 300))
	}
	return identity, nil
}

// notExchanged goes on without a license when the License API has no use for identity tokens, which a plain one has not; a refusal with a
// code is a no. A run for a guest is never failed: it may do without a license.
func (r *run) notExchanged(err error) {
	r.state, r.reason = StateMissing, "no license token, and the identity of this job could not be exchanged for one"
	text := r.reason + ": " + r.explainExchange(err)
	switch {
	case r.cfg.Guest != "":
		r.reason += "; " + r.cfg.Guest
		r.gha.Noticef("%s; %s%s", text, r.cfg.Guest, r.unlicensed())
	case r.cfg.FailOn == FailAny, r.cfg.FailOn == FailExpired && (refusedWithCode(err) || r.cfg.Mode == ModeRefreshOnly):
		r.fail(text)
	default:
		r.warn(text + r.unlicensed())
	}
}

// refusedWithCode tells a no to this identity from a 403 of an API that knows no identities: that has no code for it.
func refusedWithCode(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && e.Kind == client.ErrRefused && e.Code != ""
}

// explainExchange says what came of an exchange, in words of identities: those of the client are of tokens that somebody stored.
func (r *run) explainExchange(err error) string {
	text := err.Error()
	if errors.Is(err, client.ErrUnauthorized) {
		text = fmt.Sprintf("the License API at %s does not accept the identity of this job (401): check that oidc-audience (%s) is the public URL of "+
			"the License service and that it trusts this issuer", r.cfg.APIURL, r.cfg.Audience)
	}
	if r.cfg.APIURL == defaults["api-url"] {
		text += "; when this job has id-token: write for something else, store a license token, or give that permission to another job"
	}
	return text
}

// audience is the origin of the License API, spelled as the service spells its own. It is the default audience of identity
// tokens, which the service compares character by character.
func audience(apiURL string) string {
	u, err := url.Parse(apiURL)
	if err != nil {
		return ""
	}
	origin, err := api.Origin(u)
	if err != nil {
		return "" // no service has such an address
	}
	return origin
}

// clip cuts a foreign text to n letters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
