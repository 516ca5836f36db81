package github

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// An Error is what is known about a call that GitHub did not do. It never holds a token.
type Error struct {
	Kind    Kind
	Status  int    // of the answer; 0 when there was none
	Message string // what happened, in GitHub's words where it gave any; one line
	Said    string // GitHub's words alone; may be empty
	Needed  string // what GitHub says the call needs: "secrets=write"; may be empty

	URL     string    // of SignOnRequired, for people; may be empty
	RetryAt time.Time // of RateLimited and Throttled
	Hourly  int       // of RateLimited: how many requests an hour GitHub allows; 0: it did not say

	Err error // why, when it was no answer of GitHub's: context.Canceled and the like
}

// Error gives the message:
//
//	GitHub refused (401): Bad credentials
func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause when it was no answer of GitHub's.
func (e *Error) Unwrap() error { return e.Err }

// Silent tells whether the error says nothing about rights: GitHub may as well have done what was
// asked.
func (e *Error) Silent() bool { return Unanswered <= e.Kind && e.Kind <= UntrustedCertificate }

// Explain gives the fact behind an error of a call under ctx; nil when there was none.
func Explain(ctx context.Context, err error) *Error {
	var known *Error
	var limit *limitError
	var answer *gh.ErrorResponse
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.As(err, &limit):
		return limited(limit)
	case errors.As(err, &answer):
		return answered(answer)
	}
	return unanswered(ctx, err)
}

func limited(limit *limitError) *Error {
	e := &Error{
		Kind: Throttled, Status: limit.status, RetryAt: limit.until,
		Message: fmt.Sprintf("GitHub's rate limit is used up (%d)", limit.status),
		Said:    Plain(limit.message),
	}
	if limit.spent && !limit.foreign {
		e.Kind, e.Hourly = RateLimited, limit.hourly
	}
	if limit.foreign {
		e.Message = fmt.Sprintf("a proxy between here and GitHub asks to wait (%d)", limit.status)
	}
	if e.Said != "" {
		e.Message += ": " + e.Said
	}
	return e
}

func answered(answer *gh.ErrorResponse) *Error {
	e := &Error{Status: answer.Response.StatusCode, Said: words(answer)}
	e.Message = fmt.Sprintf("GitHub refused (%d): %s", e.Status, e.Said)
	switch {
	case e.Status >= http.StatusInternalServerError:
		e.Kind, e.Message = Trouble, fmt.Sprintf("GitHub has trouble (%d): %s", e.Status, e.Said)
	case !fromGitHub(answer.Response):
		e.Kind = NotGitHub
		e.Message = fmt.Sprintf("a proxy between here and GitHub refused (%d): %s", e.Status, e.Said)
	default:
		e.Kind, e.URL = refusedBy(answer)
		if e.Status == http.StatusForbidden {
			e.Needed = Plain(answer.Response.Header.Get("X-Accepted-GitHub-Permissions"))
		}
	}
	return e
}

// fromGitHub tells GitHub's answers from those of a proxy: each has an id, also that of a GitHub
// Enterprise Server.
func fromGitHub(resp *http.Response) bool { return resp.Header.Get("X-GitHub-Request-Id") != "" }

// refusedBy finds the kind of a refusal in GitHub's status, words and headers.
func refusedBy(answer *gh.ErrorResponse) (kind Kind, at string) {
	switch answer.Response.StatusCode {
	case http.StatusUnauthorized:
		return BadCredentials, ""
	case http.StatusForbidden, http.StatusNotFound: // GitHub hides from some tokens that there is such a thing
		if kind, at := byPolicy(answer); kind != 0 {
			return kind, at
		}
	case http.StatusUnprocessableEntity:
		return Invalid, ""
	default:
		return Refused, ""
	}
	if answer.Response.StatusCode == http.StatusNotFound {
		return NotFound, ""
	}
	switch said := answer.Message; {
	case strings.HasPrefix(said, "Resource not accessible by integration"):
		return IntegrationForbidden, ""
	case strings.HasPrefix(said, "Resource not accessible"):
		return PermissionMissing, ""
	case strings.Contains(strings.ToLower(said), "ip allow list"):
		return AddressForbidden, ""
	}
	return Forbidden, ""
}

// byPolicy finds what the account, or the state of the repository, forbids to any token; 0 when it
// is not that.
func byPolicy(answer *gh.ErrorResponse) (kind Kind, at string) {
	required, rest, _ := strings.Cut(answer.Response.Header.Get("X-GitHub-SSO"), ";")
	if strings.TrimSpace(required) == "required" {
		return SignOnRequired, signOnURL(rest)
	}
	switch said := strings.ToLower(answer.Message); {
	case strings.Contains(said, "archived so is read-only"):
		return Archived, ""
	case strings.Contains(said, "installation has been suspended"):
		return Suspended, ""
	case !strings.Contains(said, "forbids access via a"):
		return 0, ""
	case strings.Contains(said, "lifetime"):
		return LifetimeForbidden, ""
	case strings.Contains(said, "token (classic). please use"):
		return ClassicForbidden, ""
	default:
		return FineGrainedForbidden, ""
	}
}

// signOnURL reads what follows in X-GitHub-SSO:
//
//	url=https://github.com/orgs/acme/sso?authorization_request=…
//
// It is empty for what is no address that a person should open.
func signOnURL(text string) string {
	raw, ok := strings.CutPrefix(strings.TrimSpace(text), "url=")
	u, err := url.Parse(raw)
	if !ok || err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || Plain(raw) != raw ||
		strings.ContainsAny(raw, " <>\"'") {
		return ""
	}
	return raw
}

// unanswered is for no answer, and for one that made no sense.
func unanswered(ctx context.Context, err error) *Error {
	var transport *url.Error
	kind := kindOfSilence(ctx, err)
	if errors.As(err, &transport) {
		err = transport.Err // without the method and the address, which the caller knows better
	}
	e := &Error{Kind: kind, Err: err}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Err, e.Message = ctx.Err(), "stopped before GitHub had answered: the run was cancelled"
	case ctx.Err() != nil:
		e.Err, e.Message = ctx.Err(), "stopped before GitHub had answered: the time for it is over"
	default:
		e.Message = "no usable answer from GitHub: " + Plain(err.Error())
	}
	return e
}

func kindOfSilence(ctx context.Context, err error) Kind {
	var authority x509.UnknownAuthorityError
	var transport *url.Error
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &authority):
		return UntrustedCertificate
	case errors.Is(err, errForeign):
		return Elsewhere
	case ctx.Err() != nil, errors.As(err, &transport), errors.As(err, &syntax):
		return Unanswered
	}
	return Unusable
}

// StatusOf gives the status of GitHub's refusal, 0 for any other error and for none.
func StatusOf(err error) int {
	var answer *gh.ErrorResponse
	if errors.As(err, &answer) {
		return answer.Response.StatusCode
	}
	return 0
}
