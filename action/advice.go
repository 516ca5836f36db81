package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/client"
)

// What GitHub and the License API said is found out in their packages. What a user of the Action
// can do about it names inputs, and is said here.

// advise completes an error about a secret with the remedy for its cause.
func (r *run) advise(err error) error {
	if e, ok := errors.AsType[*secret.Error](err); ok && e.Remedy == "" {
		e.Remedy = r.remedy(e)
	}
	return err
}

func (r *run) remedy(e *secret.Error) string {
	switch e.Cause {
	case secret.SignOnRequired:
		return signOn(e.URL)
	case secret.ClassicForbidden:
		return fmt.Sprintf("give github-token a fine-grained token with the %s, or set app-id and app-private-key of a GitHub App that has it", e.Permission)
	case secret.FineGrainedForbidden:
		return fmt.Sprintf("set app-id and app-private-key of a GitHub App that has the %s, or let an owner of the organization allow fine-grained tokens", e.Permission)
	case secret.LifetimeForbidden:
		return "give github-token a token with a shorter life, or set app-id and app-private-key of a GitHub App, which has no such limit"
	case secret.Archived:
		return "the repository is archived, so its secrets cannot change: unarchive it in its settings, or remove this workflow"
	case secret.NoStore:
		return "remove this entry from secret-targets, or let an administrator of the server switch that feature on"
	case secret.NotGitHub:
		return fmt.Sprintf("let those who run it allow requests to %s, or change HTTPS_PROXY or NO_PROXY of this runner", hostOf(r.cfg.GitHubAPI))
	case secret.UntrustedCertificate:
		return "give the authority that signed the certificate, of your GitHub server or of a proxy that opens TLS, in input ca-certificates"
	}
	return ""
}

func signOn(at string) string {
	const later = `"Configure SSO" beside the token at https://github.com/settings/tokens`
	if at == "" {
		return "authorize the token in github-token for the organization: " + later
	}
	return fmt.Sprintf("authorize the token in github-token for the organization at %s within an hour, or later by %s", at, later)
}

// tokenNotice is how long before the end of github-token a run begins to warn.
const tokenNotice = 14 * 24 * time.Hour

// warnOfTokenExpiry warns of a github-token that ends soon: the day after, a refreshed license
// token could not be stored.
func (r *run) warnOfTokenExpiry(w *secret.Writer) {
	ends := w.TokenExpiry()
	if ends.IsZero() || ends.Sub(r.now()) >= tokenNotice {
		return
	}
	r.warn(fmt.Sprintf("the token in github-token ends on %s: replace it before then, or set app-id and app-private-key of a GitHub App, which does not end",
		day(ends)))
}

// spelling is what inputs are called where a person gives them.
type spelling struct{ address, authorities string }

var (
	asInputs = spelling{"input api-url", "input ca-certificates"}
	asFlags  = spelling{"--api-url or PAGEFLARE_API_URL", "--ca-certificates or SSL_CERT_FILE"}
)

// apiPath is where a License service has its API.
const apiPath = "/_api"

// apiError is an error with the text of the License API's client in it, where a better remedy is
// known than the client's, in words of those who gave the address.
func apiError(err error, as spelling) error {
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return err
	}
	var text string
	switch {
	case e.Untrusted:
		text = fmt.Sprintf("%s: the certificate of the License API at %s is signed by an authority that is not trusted here: give that authority in %s",
			e.Op, e.Host, as.authorities)
	case errors.Is(e, client.ErrAnswer) && e.Status != 0 && !strings.HasSuffix(e.BaseURL, apiPath):
		text = fmt.Sprintf("%s: there is no License API at %s (status %d): did you mean %s? then give that as %s",
			e.Op, e.BaseURL, e.Status, e.BaseURL+apiPath, as.address)
	default:
		return err
	}
	return reworded{err, strings.Replace(err.Error(), e.Error(), text, 1)}
}

// reworded is an error with another text.
type reworded struct {
	error
	text string
}

func (r reworded) Error() string { return r.text }
func (r reworded) Unwrap() error { return r.error }

// apiText is why the License API gave this job no token.
func (r *run) apiText(err error) string {
	text := apiError(err, asInputs).Error()
	if r.cfg.EmptyAPIURL {
		text += "; input api-url is empty, so the vendor's was asked: set the variable that it takes"
	}
	return text
}

// hostOf is the host of an address that was checked before.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Host
}
