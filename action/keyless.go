package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/sethvargo/go-githubactions"

	"github.com/pageflare/ci/action/remedy"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/origin"
	"github.com/pageflare/ci/service/token"
)

// The runner's token endpoint fails now and then, and sometimes hangs: short tries, a few of them.
const (
	identityTries   = 4
	identityTimeout = 5 * time.Second
	identityPause   = time.Second // at most, before the second try; doubles
)

// Keyless is whether the job's identity is exchanged for a license token.
type Keyless string

// The choices.
const (
	KeylessAuto    Keyless = "auto"    // when there is no license token and the job has the permission
	KeylessRequire Keyless = "require" // always: the job fails where it cannot be done
	KeylessOff     Keyless = "off"     // never: the identity is shown to nobody
)

// identityPermission is what a job needs to get an identity token, as a workflow spells it.
const identityPermission = `"permissions: id-token: write"`

// mayIdentify says whether the runner gives the job an identity token: it has `id-token: write`.
// https://docs.github.com/en/actions/reference/security/oidc
func mayIdentify(getenv func(string) string) bool {
	return getenv("ACTIONS_ID_TOKEN_REQUEST_URL") != "" && getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN") != ""
}

// checkKeyless finds what keeps `keyless: require` from being done, before anything is touched.
// Runs for guests are given no permission, and are never failed for that.
func (in Inputs) checkKeyless(c Config) error {
	if err := oneOf(c.Keyless, KeylessAuto, KeylessRequire, KeylessOff); err != nil || c.Keyless != KeylessRequire || c.Guest != "" {
		return err
	}
	var faults []error
	if c.Token != "" {
		faults = append(faults, errors.New(`"require" and a license token exclude each other: leave out input token and PAGEFLARE_TOKEN, or give auto`))
	}
	if !mayIdentify(in.Getenv) {
		faults = append(faults, fmt.Errorf(`"require": this job has no permission to get an identity token: give it %s, and also the job that calls it `+
			"when this is a reusable workflow", identityPermission))
	}
	if c.EmptyAPIURL {
		faults = append(faults, errors.New(`"require": input api-url is empty, which means the vendor's: set the variable that api-url takes, or leave api-url out`))
	}
	return errors.Join(faults...)
}

// empty tells an input that was given without a value, as by a variable that is not set, from one
// that was left out: there the runner fills in the default of action.yml.
func (in Inputs) empty(name string) bool {
	variable := "INPUT_" + strings.ToUpper(name) + "="
	return in.Input(name) == "" && slices.ContainsFunc(in.Environ, func(e string) bool { return strings.HasPrefix(e, variable) })
}

// meantKeyless says whether this job seems to be there for an exchange of its identity.
func (r *run) meantKeyless() bool { return r.cfg.Keyless != KeylessOff && mayIdentify(r.getenv) }

// keyless says whether this job's identity may be shown to the License API. An empty api-url most
// likely means another one than the vendor's.
func (r *run) keyless() bool { return r.meantKeyless() && !r.cfg.EmptyAPIURL }

// exchanges says whether there is something to get a token for.
func (r *run) exchanges() bool {
	return r.cfg.Mode == ModeOptimize || r.cfg.ExportToken || r.cfg.Keyless == KeylessRequire
}

// noToken goes on without a license, and says how the job gets one.
func (r *run) noToken() {
	r.state, r.reason = StateMissing, "no license token"
	if r.cfg.Guest != "" {
		r.reason += ": " + r.cfg.Guest
		r.gha.Noticef("%s%s", r.reason, r.unlicensed())
		return
	}
	next := r.nextStep()
	text := r.reason + r.unlicensed() + ": " + next
	r.reason += ": " + next
	switch {
	// a job that is there for the token alone must not stay green without one permanently
	case r.cfg.FailOn == FailAny || (r.cfg.Mode == ModeRefreshOnly && r.cfg.FailOn != FailNever):
		r.fail(text)
	case r.cfg.EmptyAPIURL && r.meantKeyless():
		r.warn(text)
	default:
		r.gha.Noticef("%s", text)
	}
}

// nextStep is how a job without a license token gets one.
func (r *run) nextStep() string {
	store := "store one in the secret " + r.cfg.SecretName + " and pass it as PAGEFLARE_TOKEN in env, or as input token"
	switch {
	case r.cfg.EmptyAPIURL && r.meantKeyless():
		return "input api-url is empty, which means the vendor's, and the identity of this job is not shown to that by mistake: set the variable that " +
			"api-url takes, or leave api-url out"
	case r.cfg.EmptyAPIURL:
		return "input api-url is empty, which means the vendor's: set the variable that api-url takes; or " + store
	case r.cfg.APIURL != vendorAPI && r.cfg.Keyless == KeylessAuto && !mayIdentify(r.getenv) &&
		r.cfg.Mode != ModeRefreshOnly:
		return store + "; or, without a secret, give this job " + identityPermission + " (api-url is " + remedy.Host(r.cfg.APIURL) + ")"
	}
	return store
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
	r.suggest(identity, err)
	return issued.Token, err
}

// identity asks the runner for the job's identity token, for our audience only. It lives five
// minutes, so it is fetched just before its use. A refusal (4xx) is final; all else is tried again.
func (r *run) identity(ctx context.Context) (string, error) {
	loop := &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: r.cfg.HTTP.Transport, Timeout: identityTimeout},
		RetryMax:     identityTries - 1,
		CheckRetry:   retryablehttp.DefaultRetryPolicy,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
		// random, so that jobs which run concurrently do not ask at the same moment
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

// notExchanged goes on without a license when the License API has no use for identity tokens, which
// a plain one has not; a refusal with a code is a no. A run for a guest is never failed: it may do
// without a license.
func (r *run) notExchanged(err error) {
	r.state, r.reason = StateMissing, "no license token, and the identity of this job could not be exchanged for one"
	text := r.reason + ": " + r.explainExchange(err)
	switch {
	case r.cfg.Guest != "":
		r.reason += "; " + r.cfg.Guest
		r.gha.Noticef("%s; %s%s", text, r.cfg.Guest, r.unlicensed())
	case r.cfg.Keyless == KeylessRequire, r.cfg.FailOn == FailAny, r.cfg.FailOn == FailExpired && (refusedWithCode(err) || r.cfg.Mode == ModeRefreshOnly):
		r.fail(text)
	default:
		r.warn(text + r.unlicensed())
	}
}

// refusedWithCode tells a no to this identity from a 403 of an API that knows no identities: that
// has no code for it.
func refusedWithCode(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && e.Kind == client.ErrRefused && e.Code != ""
}

// explainExchange says what came of an exchange, in words of identities: those of the client are of
// tokens that somebody stored.
func (r *run) explainExchange(err error) string {
	text := r.apiText(err)
	if r.suggested != nil && r.suggested.add != "" {
		text += "; the log and the job summary show the command that allows it"
	}
	if errors.Is(err, client.ErrUnauthorized) {
		text = fmt.Sprintf("the License API at %s does not accept the identity of this job (401): check that oidc-audience (%s) is the public URL of "+
			"the License service and that it trusts this issuer (LICENSE_PUBLIC_URL and LICENSE_OIDC_ISSUERS there)", r.cfg.APIURL, r.cfg.Audience)
		if usual := audience(r.cfg.APIURL); r.cfg.Audience != usual {
			text += "; without input oidc-audience it is " + usual
		}
	}
	if r.cfg.APIURL == vendorAPI {
		text += "; when this job has id-token: write for something else, give keyless: off, or store a license token"
	}
	return text
}

// audience is the origin of the License API, spelled as the service spells its own. It is the
// default audience of identity tokens, which the service compares character by character.
func audience(apiURL string) string {
	u, err := url.Parse(apiURL)
	if err != nil {
		return ""
	}
	text, err := origin.Of(u)
	if err != nil {
		return "" // no service has such an address
	}
	return text
}

// clip cuts a foreign text to n letters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
