package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

var (
	errNoRoute  = errors.New("there is no such route: see /openapi.yaml")
	errNoMethod = errors.New("this route has another method: see the header Allow")
	errTooLarge = fmt.Errorf("the request body is larger than %d bytes: send a smaller one, or none", maxBody)
	errGitHub   = errors.New("GitHub does not answer: try again later, or give repository_id and repository_owner_id")
	errTooSlow  = errors.New("the request body came too slowly: send it again, on a better line")
	errNotReady = errors.New("the service cannot reach its database: try again later")
)

// ErrNoAnswer says that GitHub could not be asked: it is out of reach, has a fault, or lets us ask no more for now.
var ErrNoAnswer = errors.New("GitHub does not answer")

// refusal is how an error looks on the wire.
type refusal struct {
	err    error
	status int
	code   api.Code
}

// refusals is how each error looks on the wire. What is neither here nor in personals is a 500, and its text stays in the log.
var refusals = []refusal{
	{account.ErrExpired, http.StatusForbidden, api.CodeLicenseExpired},
	{account.ErrInactive, http.StatusForbidden, api.CodeLicenseInactive},
	{account.ErrRevoked, http.StatusForbidden, api.CodeLicenseRevoked},
	{license.ErrTokenRevoked, http.StatusForbidden, api.CodeTokenRevoked},
	{auth.ErrNoPolicy, http.StatusForbidden, api.CodePolicyDenied},
	{license.ErrIdentityUsed, http.StatusForbidden, api.CodeIdentityUsed},
	{errGitHub, http.StatusServiceUnavailable, api.CodeUnavailable},
	{auth.ErrIssuer, http.StatusServiceUnavailable, api.CodeUnavailable},
	{license.ErrNoLeases, http.StatusNotFound, api.CodeNotFound},
	{errNoRoute, http.StatusNotFound, api.CodeNotFound},
	{errNoMethod, http.StatusMethodNotAllowed, api.CodeMethodNotAllowed},
	{errForeignForm, http.StatusForbidden, api.CodeInvalidRequest},
	{errStaleForm, http.StatusForbidden, api.CodeInvalidRequest},
	{errUsedLink, http.StatusForbidden, api.CodeInvalidRequest},
	{auth.ErrUnknownCode, http.StatusNotFound, api.CodeNotFound},
	{errTooLarge, http.StatusRequestEntityTooLarge, api.CodeRequestTooLarge},
	{errTooSlow, http.StatusRequestTimeout, api.CodeRequestTimeout},
	{failure.ErrUnavailable, http.StatusServiceUnavailable, api.CodeUnavailable},
	{keyring.ErrRetired, http.StatusServiceUnavailable, api.CodeUnavailable}, // twice in one moment: the next try has another key
	{errNotReady, http.StatusServiceUnavailable, api.CodeUnavailable},
	{errVerifying, http.StatusServiceUnavailable, api.CodeUnavailable},
	{errNoVerdict, http.StatusServiceUnavailable, api.CodeUnavailable},
}

// personals are refusals whose whole text is for the caller: it says what exactly is wrong with what was asked for.
var personals = []refusal{
	{account.ErrDeleted, http.StatusForbidden, api.CodeLicenseRevoked},
	{failure.ErrInvalid, http.StatusBadRequest, api.CodeInvalidRequest},
	{failure.ErrNotFound, http.StatusNotFound, api.CodeNotFound},
	{failure.ErrConflict, http.StatusConflict, api.CodeConflict},
	{keyring.ErrInUse, http.StatusConflict, api.CodeConflict},
	{auth.ErrScope, http.StatusForbidden, api.CodeInsufficientScope},
}

// answerTo is the answer to an error: what its sender is told, and what the log says of it. The log holds nothing that a sender chose, for people send
// tokens where they do not belong.
type answerTo struct {
	status  int
	code    api.Code
	message string // for the sender; may quote what was sent
	reason  string // for the log
}

// unfitReason is what the log says of an unfitError, whose own text quotes names of members and parameters.
const unfitReason = "the request cannot be read: its sender was told why"

// answerOf finds the answer to an error; false when there is none for it, so that it is a fault of ours.
func answerOf(err error) (answerTo, bool) {
	var over *limited
	if errors.As(err, &over) {
		return answerTo{http.StatusTooManyRequests, api.CodeRateLimited, over.Error(), over.Error()}, true
	}
	var bad *unfitError
	if errors.As(err, &bad) {
		return answerTo{http.StatusBadRequest, api.CodeInvalidRequest, bad.Error(), unfitReason}, true
	}
	var kind *errType
	if errors.As(err, &kind) {
		return answerTo{http.StatusUnsupportedMediaType, api.CodeUnsupportedMediaType, kind.Error(), kind.Error()}, true
	}
	for _, p := range personals {
		if errors.Is(err, p.err) {
			return answerTo{p.status, p.code, err.Error(), p.err.Error()}, true
		}
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return answerTo{r.status, r.code, r.err.Error(), r.err.Error()}, true
		}
	}
	return answerTo{}, false
}

// fail answers with an error. It is the one place where errors become answers.
func (s *Server) fail(c *gin.Context, err error) {
	var over *limited
	if errors.As(err, &over) {
		s.metrics.limited.WithLabelValues(over.by).Inc()
		c.Header("Retry-After", strconv.Itoa(over.seconds()))
	}
	if errors.Is(err, failure.ErrUnavailable) {
		s.log.Warn("unavailable", "request_id", requestID(c), "route", c.FullPath(), "err", opaque.HideSecrets(err.Error()))
	}
	if toneOf(c) == toneOAuth && failOAuth(c, err) {
		return
	}
	if errors.Is(err, auth.ErrUnauthenticated) {
		because(c, unauthorized, opaque.HideSecrets(err.Error())) // says what is wrong with a token and never quotes one
		c.Header("WWW-Authenticate", "Bearer")
		c.JSON(http.StatusUnauthorized, api.Unauthorized{Error: http.StatusText(http.StatusUnauthorized)})
		return
	}
	if a, ok := answerOf(err); ok {
		s.refuse(c, a)
		return
	}
	if c.Request.Context().Err() != nil {
		const gone = "the request was given up: try again"
		s.refuse(c, answerTo{http.StatusServiceUnavailable, api.CodeUnavailable, gone, gone})
		return
	}
	s.log.Error("internal error", "request_id", requestID(c), "route", c.FullPath(), "err", opaque.HideSecrets(err.Error()))
	s.refuse(c, answerTo{
		http.StatusInternalServerError, api.CodeInternal, "the service met a fault of its own: try again later, and report request " + requestID(c), "internal error",
	})
}

// refuse answers in the tone of the route.
func (s *Server) refuse(c *gin.Context, a answerTo) {
	because(c, a.code, a.reason)
	message := opaque.HideSecrets(a.message)
	switch toneOf(c) {
	case toneOAuth:
		c.JSON(a.status, api.OAuthError{Error: "server_error", ErrorDescription: message})
	case toneCLI:
		c.JSON(a.status, api.Error{Error: message, Code: a.code, Message: message})
	case tonePage:
		s.message(c, a.status, http.StatusText(a.status), message)
	default:
		c.JSON(a.status, api.Error{Error: http.StatusText(a.status), Code: a.code, Message: message})
	}
}

// tone is whom an error is told to.
type tone int

const (
	toneAPI   tone = iota
	toneOAuth      // RFC 8628: `error` is a code
	toneCLI        // the pageflare CLI, which shows `error` to people
	tonePage       // a person in a browser
)

func toneOf(c *gin.Context) tone {
	switch path := c.FullPath(); {
	case strings.HasPrefix(path, "/_api/auth/device/"):
		return toneOAuth
	case slices.Contains([]string{"/_api/license/activate", "/_api/license/machine/:machine_id", "/_api/license/validate-ci"}, path),
		strings.HasPrefix(path, "/_api/cli/"):
		return toneCLI
	case slices.Contains([]string{"/device", "/device/approve", "/device/deny", "/sign-in", "/sign-out"}, path):
		return tonePage
	}
	return toneAPI
}
