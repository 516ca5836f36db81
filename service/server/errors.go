package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
)

var (
	errNoRoute  = errors.New("there is no such route: see /openapi.yaml")
	errNoMethod = errors.New("this route has another method: see the header Allow")
	errTooLarge = fmt.Errorf("the request body is larger than %d bytes: send a smaller one, or none", maxBody)
	errIssuer   = errors.New("the issuer of this identity token does not answer: try again later")
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
	{license.ErrExpired, http.StatusForbidden, api.CodeLicenseExpired},
	{license.ErrInactive, http.StatusForbidden, api.CodeLicenseInactive},
	{license.ErrRevoked, http.StatusForbidden, api.CodeLicenseRevoked},
	{license.ErrTokenRevoked, http.StatusForbidden, api.CodeTokenRevoked},
	{license.ErrNoPolicy, http.StatusForbidden, api.CodePolicyDenied},
	{license.ErrIdentityUsed, http.StatusForbidden, api.CodeIdentityUsed},
	{errGitHub, http.StatusServiceUnavailable, api.CodeUnavailable},
	{errIssuer, http.StatusServiceUnavailable, api.CodeUnavailable},
	{license.ErrNoLeases, http.StatusNotFound, api.CodeNotFound},
	{errNoRoute, http.StatusNotFound, api.CodeNotFound},
	{errNoMethod, http.StatusMethodNotAllowed, api.CodeMethodNotAllowed},
	{errForeignForm, http.StatusForbidden, api.CodeInvalidRequest},
	{errStaleForm, http.StatusForbidden, api.CodeInvalidRequest},
	{errUsedLink, http.StatusForbidden, api.CodeInvalidRequest},
	{license.ErrUnknownCode, http.StatusNotFound, api.CodeNotFound},
	{errTooLarge, http.StatusRequestEntityTooLarge, api.CodeRequestTooLarge},
	{errTooSlow, http.StatusRequestTimeout, api.CodeRequestTimeout},
	{license.ErrUnavailable, http.StatusServiceUnavailable, api.CodeUnavailable},
	{license.ErrKeyRetired, http.StatusServiceUnavailable, api.CodeUnavailable}, // twice in one moment: the next try has another key
	{errNotReady, http.StatusServiceUnavailable, api.CodeUnavailable},
}

// personals are refusals whose whole text is for the caller: it says what exactly is wrong with what was asked for.
var personals = []refusal{
	{license.ErrDeleted, http.StatusForbidden, api.CodeLicenseRevoked},
	{license.ErrInvalid, http.StatusBadRequest, api.CodeInvalidRequest},
	{license.ErrNotFound, http.StatusNotFound, api.CodeNotFound},
	{license.ErrConflict, http.StatusConflict, api.CodeConflict},
	{license.ErrKeyInUse, http.StatusConflict, api.CodeConflict},
	{license.ErrScope, http.StatusForbidden, api.CodeInsufficientScope},
}

func personal(err error) *refusal {
	for i := range personals {
		if errors.Is(err, personals[i].err) {
			return &personals[i]
		}
	}
	return nil
}

// fail answers with an error. It is the one place where errors become answers.
func (s *Server) fail(c *gin.Context, err error) {
	_ = c.Error(err) // for the access log
	var over *limited
	if errors.As(err, &over) {
		s.metrics.limited.WithLabelValues(over.by).Inc()
	}
	if toneOf(c) == toneOAuth && failOAuth(c, err) {
		return
	}
	if errors.Is(err, license.ErrUnauthenticated) {
		because(c, unauthorized)
		c.Header("WWW-Authenticate", "Bearer")
		c.JSON(http.StatusUnauthorized, api.Unauthorized{Error: http.StatusText(http.StatusUnauthorized)})
		return
	}
	if over != nil {
		c.Header("Retry-After", strconv.Itoa(over.seconds()))
		s.refuse(c, http.StatusTooManyRequests, api.CodeRateLimited, over.Error())
		return
	}
	var bad *unfitError
	if errors.As(err, &bad) {
		s.refuse(c, http.StatusBadRequest, api.CodeInvalidRequest, bad.Error())
		return
	}
	var kind *errType
	if errors.As(err, &kind) {
		s.refuse(c, http.StatusUnsupportedMediaType, api.CodeUnsupportedMediaType, kind.Error())
		return
	}
	if p := personal(err); p != nil {
		s.refuse(c, p.status, p.code, err.Error())
		return
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			s.refuse(c, r.status, r.code, r.err.Error())
			return
		}
	}
	if c.Request.Context().Err() != nil {
		s.refuse(c, http.StatusServiceUnavailable, api.CodeUnavailable, "the request was given up: try again")
		return
	}
	s.log.Error("internal error", "request_id", requestID(c), "route", c.FullPath(), "err", err)
	s.refuse(c, http.StatusInternalServerError, api.CodeInternal, "the service met a fault of its own: try again later, and report request "+requestID(c))
}

// refuse answers in the tone of the route.
func (s *Server) refuse(c *gin.Context, status int, code api.Code, message string) {
	because(c, code)
	switch toneOf(c) {
	case toneOAuth:
		c.JSON(status, api.OAuthError{Error: "server_error", ErrorDescription: message})
	case toneCLI:
		c.JSON(status, api.Error{Error: message, Code: code, Message: message})
	case tonePage:
		s.message(c, status, http.StatusText(status), message)
	default:
		c.JSON(status, api.Error{Error: http.StatusText(status), Code: code, Message: message})
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
