package secret

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-github/v60/github"
)

// appError says why a GitHub App got no token for a target.
type appError struct {
	status  int
	needed  string
	message string
	remedy  string
}

func (e *appError) Error() string { return e.message + "; " + e.remedy }

// explain turns GitHub's refusals of an App into words, its own among them; other errors pass.
func (i *installed) explain(err error, t Target) error {
	var answer *github.ErrorResponse
	if !errors.As(err, &answer) || !fromGitHub(answer.Response) {
		return err
	}
	said := words(answer)
	switch status := answer.Response.StatusCode; status {
	case http.StatusUnauthorized:
		return &appError{status: status, message: fmt.Sprintf("GitHub does not know the key of the %s (%d): %s", i.app, status, said),
			remedy: "app-private-key is of another App or was deleted, or app-id is wrong: take both from the settings of one App, " +
				"and check the clock of this runner"}
	case http.StatusForbidden:
		return i.forbidden(answer, t)
	case http.StatusNotFound:
		return i.notInstalled(status, said, t)
	}
	return err
}

// forbidden tells a suspension from the other reasons that an account has to refuse an App; only GitHub's words tell.
func (i *installed) forbidden(answer *github.ErrorResponse, t Target) error {
	said := words(answer)
	if speaksOf(answer, "suspended") {
		return i.suspended(fmt.Sprintf(" (%d): %s", http.StatusForbidden, said))
	}
	e := i.refused(http.StatusForbidden, said)
	e.needed = plain(answer.Response.Header.Get("X-Accepted-GitHub-Permissions"))
	switch remedy := byAddress(answer.Message); {
	case remedy != "":
		e.remedy = remedy
	case e.needed != "":
		e.remedy = fmt.Sprintf("the App needs %s: give it that, and accept the change in its installation", e.needed)
	default:
		e.remedy = "let an owner of the " + i.account(t) + " see what it does not allow the App, in the settings under GitHub Apps"
	}
	return e
}

// unprocessable is for a token that GitHub does not make as it is asked for.
func (i *installed) unprocessable(err error, t Target, level string) error {
	var answer *github.ErrorResponse
	if !errors.As(err, &answer) || !fromGitHub(answer.Response) {
		return err
	}
	const status = http.StatusUnprocessableEntity
	said := words(answer)
	switch {
	case speaksOf(answer, "not granted"):
		return i.notGranted(t, level, status, fmt.Sprintf(" (%d): %s", status, said))
	case speaksOf(answer, "repositor"):
		e := i.refused(status, said)
		e.remedy = fmt.Sprintf("let the installation of the App reach %s", i.repo)
		if i.repoID == 0 {
			e.remedy += "; if that was renamed, use its new name"
		}
		return e
	}
	e := i.refused(status, said)
	e.remedy = "compare the App's permissions with those that its installation has accepted"
	return e
}

func speaksOf(answer *github.ErrorResponse, what string) bool {
	return strings.Contains(strings.ToLower(answer.Message), what)
}

func (i *installed) refused(status int, said string) *appError {
	return &appError{status: status, message: fmt.Sprintf("GitHub refused the %s (%d): %s", i.app, status, said)}
}

func (i *installed) notInstalled(status int, said string, t Target) error {
	remedy := "install it there and let it reach this repository"
	if t.of().scope == ofOrganization {
		remedy = "let an owner of the organization install it"
	}
	return &appError{status: status, message: fmt.Sprintf("the %s is not installed in %s (%d): %s", i.app, i.account(t), status, said),
		remedy: remedy + ", or check app-id"}
}

// account is where the installation for a target must be.
func (i *installed) account(t Target) string {
	if t.of().scope == ofOrganization {
		return "organization " + t.name
	}
	return "repository " + i.repo.String()
}

func (i *installed) suspended(said string) error {
	return &appError{status: http.StatusForbidden, message: fmt.Sprintf("the installation of the %s is suspended%s", i.app, said),
		remedy: "let an owner of the account allow it again, in the settings under GitHub Apps"}
}

// notGranted is for what GitHub said with the status, or for what the installation tells by itself: then both are zero.
func (i *installed) notGranted(t Target, level string, status int, said string) error {
	k := t.of()
	needed := k.permission.key + "=" + level
	return &appError{status: status, needed: needed, message: fmt.Sprintf("the installation of the %s does not have %s%s", i.app, needed, said),
		remedy: fmt.Sprintf("give the App the %s, and accept the change in its installation", k.title())}
}
