package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pageflare/ci/service/api"
)

// What a call can end with, beside the caller's own ctx.Err(). All but ErrBearer come as an *Error.
var (
	// ErrBearer says that the token cannot be sent at all: it is empty, or holds a space, a line
	// break or the like. Nothing was sent.
	ErrBearer = errors.New("unusable token")

	// ErrUnauthorized (401) says that the API does not accept the token. Final for this token.
	ErrUnauthorized = errors.New("token not accepted")

	// ErrRefused (403) says that the API knows the token and refuses: Error.Code says why. Final.
	ErrRefused = errors.New("refused")

	// ErrRejected says that the API rejects the request as it stands: there is nothing by that id
	// (404), it contradicts what is there (409), or it makes no sense (400 and others). Error.Code
	// says which. Only calls of the Admin API, Introspect, Revoke, Lease and Deactivate end with
	// it.
	ErrRejected = errors.New("rejected")

	// ErrUnavailable says that no answer could be had: the network, 429 or 5xx, after all tries. It
	// says nothing about the token.
	ErrUnavailable = errors.New("not available")

	// ErrAnswer says that something answered that is not the License API, or not in its words: the
	// base URL is likely wrong. It says nothing about the token.
	ErrAnswer = errors.New("not an answer of the License API")
)

// Error is how a call failed. Nothing in it holds a token; texts that come from the other side are
// short and printable.
type Error struct {
	Kind       error         // one of the sentinels of this package
	Op         string        // what was called: "refresh license token"
	Host       string        // whom
	BaseURL    string        // the same, as Client.BaseURL has it
	Status     int           // of the last answer; 0 without one
	Code       api.Code      // of the last answer, if it has one
	Message    string        // of the last answer, if it has one; for people
	RetryAfter time.Duration // what the last answer asks to wait; 0 without
	RequestID  string        // of the last answer, if it has one
	Tries      int           // how many requests were sent
	Untrusted  bool          // the certificate is of an authority that this machine does not trust

	reason string // what is not in the fields above: the network's words, or what is odd about the answer
	again  bool   // another try may help
	undone bool   // and certainly nothing was done
	unsure bool   // and it may have been done, so that it was not tried
}

// Unwrap is the Kind.
func (e *Error) Unwrap() error { return e.Kind }

// Error says who answered what, and what to do.
func (e *Error) Error() string {
	text := e.Op + ": the License API at " + e.Host + " " + e.predicate()
	if e.RequestID != "" {
		text += " (request id " + e.RequestID + ")"
	}
	return text
}

func (e *Error) predicate() string {
	switch e.Kind {
	case ErrUnauthorized:
		return "does not accept the token (401): it is expired, mistyped or of another service; issue a new one"
	case ErrRefused:
		return fmt.Sprintf("refused (%s): %s", e.status(),
			e.words("there is no active license, or it has expired or been revoked"))
	case ErrRejected:
		return fmt.Sprintf("rejects this (%s): %s", e.status(), e.words("no reason given"))
	case ErrPending, ErrSlowDown:
		return "waits for somebody to approve the login"
	case ErrDenied:
		return "says that the login was denied"
	case ErrLoginExpired:
		return "says that the code was not approved in time, or was used already: log in again"
	case ErrUnavailable:
		return "is not available: " + e.unavailable()
	default:
		remedy := "check api-url"
		if e.unsure {
			remedy = e.remedy()
		}
		return fmt.Sprintf("answered something that is not its answer (%s): %s", e.reason, remedy)
	}
}

func (e *Error) unavailable() string {
	text := e.reason
	if e.Status != 0 {
		text = e.status() + ", " + e.words("no reason given")
		if e.reason != "" {
			text += "; " + e.reason
		}
	}
	if e.Tries > 1 {
		text += fmt.Sprintf("; gave up after %d tries", e.Tries)
	}
	return text + "; " + e.remedy()
}

func (e *Error) remedy() string {
	switch {
	case e.unsure:
		return "it may have been done all the same: look before you call again"
	case !e.again:
		return "check api-url"
	case e.Status == 0:
		return "check api-url and the network, or try again later"
	default:
		return "try again later"
	}
}

// status is the status with the code: 403 license_expired.
func (e *Error) status() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, e.Code))
}

func (e *Error) words(otherwise string) string {
	if e.Message == "" {
		return otherwise
	}
	return e.Message
}
