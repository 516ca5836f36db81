package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/sethvargo/go-githubactions"

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
func (r *run) identity(ctx context.Context) (string, error) {
	runner := githubactions.New(githubactions.WithGetenv(r.getenv), githubactions.WithHTTPClient(r.cfg.HTTP))
	var last error
	for try := range identityTries {
		if try > 0 {
			if err := sleep(ctx, jitter(identityPause<<(try-1))); err != nil {
				return "", err
			}
		}
		once, cancel := context.WithTimeout(ctx, identityTimeout)
		identity, err := runner.GetIDToken(once, r.cfg.Audience)
		cancel()
		if err == nil && identity == "" {
			err = errors.New("the answer holds no token")
		}
		if err == nil {
			return identity, nil
		}
		last = err
	}
	return "", fmt.Errorf("the runner gave no identity token after %d tries: %s", identityTries, clip(last.Error(), 300))
}

// notExchanged goes on without a license when the License API has no use for identity tokens, which a plain one has not; a refusal with a
// reason is a no.
func (r *run) notExchanged(err error) {
	r.state, r.reason = StateMissing, "no license token, and the identity of this job could not be exchanged for one"
	text := fmt.Sprintf("%s: %v", r.reason, err)
	if (errors.Is(err, client.ErrRefused) && r.cfg.FailOn != FailNever) || r.cfg.FailOn == FailAny {
		r.fail(text)
		return
	}
	r.warn(text + "; the optimizer runs unlicensed")
}

// audience is the origin of the License API, spelled as the service spells its own: in small letters, without the port that its scheme has anyway. It is
// the default audience of identity tokens, which the service compares character by character.
func audience(apiURL string) string {
	u, err := url.Parse(apiURL)
	if err != nil {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && port != map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		host += ":" + port
	}
	return u.Scheme + "://" + host
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// jitter is a random time below d: jobs that run side by side do not ask at the same moment.
func jitter(d time.Duration) time.Duration {
	return rand.N(d)
}

// clip cuts a foreign text to n letters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
