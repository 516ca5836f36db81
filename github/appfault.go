package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// explain gives the fact behind an error of a call as the App; nil, as an error, when there was
// none.
func (i *Installations) explain(ctx context.Context, err error, g Grant) error {
	if err == nil {
		return nil
	}
	var answer *gh.ErrorResponse
	if !errors.As(err, &answer) || !fromGitHub(answer.Response) {
		return Explain(ctx, err)
	}
	said := words(answer)
	switch status := answer.Response.StatusCode; status {
	case http.StatusUnauthorized:
		return &Error{Kind: AppUnknown, Status: status,
			Message: fmt.Sprintf("GitHub does not know the key of the %s (%d): %s", i.app, status, said)}
	case http.StatusForbidden:
		return i.forbidden(answer)
	case http.StatusNotFound:
		return &Error{Kind: NotInstalled, Status: status,
			Message: fmt.Sprintf("the %s is not installed in %s (%d): %s", i.app, g.account(), status, said)}
	}
	return Explain(ctx, err)
}

// forbidden tells a suspension from the other reasons that an account has to refuse an App; only
// GitHub's words tell.
func (i *Installations) forbidden(answer *gh.ErrorResponse) *Error {
	const status = http.StatusForbidden
	said := words(answer)
	if speaksOf(answer, "suspended") {
		return i.suspended(fmt.Sprintf(" (%d): %s", status, said))
	}
	e := i.refused(AppForbidden, status, said)
	e.Needed = Plain(answer.Response.Header.Get("X-Accepted-GitHub-Permissions"))
	if speaksOf(answer, "ip allow list") {
		e.Kind = AddressForbidden
	}
	return e
}

// unprocessable is for a token that GitHub does not make as it is asked for.
func (i *Installations) unprocessable(ctx context.Context, err error, g Grant) *Error {
	var answer *gh.ErrorResponse
	if !errors.As(err, &answer) || !fromGitHub(answer.Response) {
		return Explain(ctx, err)
	}
	const status = http.StatusUnprocessableEntity
	said := words(answer)
	switch {
	case speaksOf(answer, "not granted"):
		return i.notGranted(g.needs(), status, fmt.Sprintf(" (%d): %s", status, said))
	case speaksOf(answer, "repositor"):
		return i.refused(OutOfReach, status, said)
	}
	return i.refused(AppInvalid, status, said)
}

func speaksOf(answer *gh.ErrorResponse, what string) bool {
	return strings.Contains(strings.ToLower(answer.Message), what)
}

func (i *Installations) refused(kind Kind, status int, said string) *Error {
	return &Error{Kind: kind, Status: status,
		Message: fmt.Sprintf("GitHub refused the %s (%d): %s", i.app, status, said)}
}

func (i *Installations) suspended(said string) *Error {
	return &Error{Kind: Suspended, Status: http.StatusForbidden,
		Message: fmt.Sprintf("the installation of the %s is suspended%s", i.app, said)}
}

// notGranted is for what GitHub said with the status, or for what the installation tells on its
// own: then both are zero.
func (i *Installations) notGranted(needed string, status int, said string) *Error {
	return &Error{Kind: NotGranted, Status: status, Needed: needed,
		Message: fmt.Sprintf("the installation of the %s does not have %s%s", i.app, needed, said)}
}

// wrongClock tells GitHub's time when an answer refuses the times of a signed token: its words for
// that name the claim.
func wrongClock(err error) (time.Time, bool) {
	var answer *gh.ErrorResponse
	if !errors.As(err, &answer) || answer.Response.StatusCode != http.StatusUnauthorized {
		return time.Time{}, false
	}
	if !strings.Contains(answer.Message, "('exp')") && !strings.Contains(answer.Message, "('iat')") {
		return time.Time{}, false
	}
	date, err := http.ParseTime(answer.Response.Header.Get("Date"))
	return date, err == nil
}
