package secret

import (
	"errors"
	"fmt"
	"net/http"

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

// explain turns GitHub's refusals of an App into words; other errors pass.
func (i *installed) explain(err error, t Target) error {
	var answer *github.ErrorResponse
	if !errors.As(err, &answer) {
		return err
	}
	said := words(answer)
	switch status := answer.Response.StatusCode; status {
	case http.StatusUnauthorized:
		return &appError{status: status, message: fmt.Sprintf("GitHub does not know the key of the %s (%d): %s", i.app, status, said),
			remedy: "app-private-key is of another App or was deleted, or app-id is wrong: take both from the settings of one App, " +
				"and check the clock of this runner"}
	case http.StatusForbidden:
		return i.suspended(status)
	case http.StatusNotFound:
		return i.notInstalled(status, said, t)
	}
	return err
}

func (i *installed) notInstalled(status int, said string, t Target) error {
	where, remedy := "repository "+i.repo.String(), "install it there and let it reach this repository"
	if t.of().scope == ofOrganization {
		where, remedy = "organization "+t.name, "let an owner of the organization install it"
	}
	return &appError{status: status, message: fmt.Sprintf("the %s is not installed in %s (%d): %s", i.app, where, status, said),
		remedy: remedy + ", or check app-id"}
}

func (i *installed) suspended(status int) error {
	return &appError{status: status, message: fmt.Sprintf("the installation of the %s is suspended or blocked (%d)", i.app, status),
		remedy: "let an owner of the account allow it again, in the settings under GitHub Apps"}
}

func (i *installed) notGranted(t Target, level string, status int) error {
	k := t.of()
	needed := k.permission.key + "=" + level
	return &appError{status: status, needed: needed, message: fmt.Sprintf("the installation of the %s does not have %s", i.app, needed),
		remedy: fmt.Sprintf("give the App the %s, and accept the change in its installation", k.title())}
}
