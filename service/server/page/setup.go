package page

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/route"
)

// The pages on which an operator makes the GitHub App. A session is of an account, whose holder is a
// customer of the service: it counts for nothing here. What counts is the link that a command printed
// (docs/decisions/0019-github-app.md).

var errSetupFailed = errors.New("GitHub did not answer as it should, and no App was stored; the log of the service says why: " +
	"run `pageflare-license github-app create --web` for another link, and delete the App that GitHub may have made")

// setupForm answers GET /github/setup: a form that posts the manifest to GitHub.
func (p *Pages) setupForm(c *gin.Context) error {
	form, err := p.cfg.App.OpenSetup(c.Request.Context(), c.Query("link"))
	if err != nil {
		return p.countLink(c, err)
	}
	return p.show(c, http.StatusOK, "setup.html", view{
		Title: "Make the GitHub App", Setup: form,
		// browsers hold redirects of a form's answer to it as well: GitHub may send a person to sign in elsewhere
		Policy: strings.Replace(p.policy, "form-action 'self'", "form-action "+form.Origin+" https:", 1),
	})
}

// setupDone answers GET /github/setup/done, where GitHub sends the browser with a code.
func (p *Pages) setupDone(c *gin.Context) error {
	a, err := p.cfg.App.FinishSetup(c.Request.Context(), c.Query("state"), c.Query("code"))
	if fault, ok := errors.AsType[*github.Error](err); ok {
		p.cfg.Log.Warn("github app not made", "request_id", route.RequestID(c), "err", opaque.HideSecrets(fault.Error()))
		return errSetupFailed
	}
	if err != nil {
		return p.countLink(c, err)
	}
	return p.show(c, http.StatusOK, "setup.html", view{
		Title: "The GitHub App was made", Text: a.Slug, Link: a.InstallURL(),
	})
}

// countLink counts a link or a state that is good for nothing against the address that showed it.
func (p *Pages) countLink(c *gin.Context, err error) error {
	if errors.Is(err, githubapp.ErrLink) {
		if over := p.cfg.Limits.TakeAddress(c.Request.Context(), c.ClientIP()); over != nil {
			return over
		}
	}
	return err
}
