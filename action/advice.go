package main

import (
	"fmt"
	"time"

	"github.com/pageflare/ci/action/remedy"
	"github.com/pageflare/ci/github/secret"
)

// advise adds the remedy to an error about a secret.
func (r *run) advise(err error) error { return remedy.Advise(err, r.cfg.GitHubAPI) }

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

// apiText is why the License API gave this job no token.
func (r *run) apiText(err error) string {
	text := remedy.LicenseAPI(err, remedy.AsInputs).Error()
	if r.cfg.EmptyAPIURL {
		text += "; input api-url is empty, so the vendor's was asked: set the variable that it takes"
	}
	return text
}
