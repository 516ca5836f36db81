package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/admin"
	"github.com/pageflare/ci/service/server/page"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/webhook/out"
)

var (
	errTooLarge = tooLarge(route.MaxBody) // of all routes but the one that reads more
	errTooSlow  = errors.New("the request body came too slowly: send it again, over a faster connection")
	errNotReady = errors.New("the service cannot reach its database: try again later")
	errDraining = errors.New("this process is about to stop: send new requests to another one")
)

// tooLarge refuses a body of more bytes than the route reads. Each limit has its line in refusals.
type tooLarge int64

// Error says what to do.
func (n tooLarge) Error() string {
	return fmt.Sprintf("the request body is larger than %d bytes: send a smaller one, or none", n)
}

// refusals is how each error looks on the wire. What is neither here nor in detailed is a 500, and
// its text stays in the log.
var refusals = slices.Concat([]route.Refusal{
	with(account.ErrExpired, http.StatusForbidden, api.CodeLicenseExpired),
	with(account.ErrInactive, http.StatusForbidden, api.CodeLicenseInactive),
	with(account.ErrRevoked, http.StatusForbidden, api.CodeLicenseRevoked),
	with(license.ErrTokenRevoked, http.StatusForbidden, api.CodeTokenRevoked),
	with(auth.ErrNoPolicy, http.StatusForbidden, api.CodePolicyDenied),
	with(license.ErrIdentityUsed, http.StatusForbidden, api.CodeIdentityUsed),
	with(auth.ErrIssuer, http.StatusServiceUnavailable, api.CodeUnavailable),
	with(license.ErrNoLeases, http.StatusNotFound, api.CodeNotFound),
	with(errNoRoute, http.StatusNotFound, api.CodeNotFound),
	with(errNoMethod, http.StatusMethodNotAllowed, api.CodeMethodNotAllowed),
	with(auth.ErrUnknownCode, http.StatusNotFound, api.CodeNotFound),
	with(errTooLarge, http.StatusRequestEntityTooLarge, api.CodeRequestTooLarge),
	with(tooLarge(leak.MaxBody), http.StatusRequestEntityTooLarge, api.CodeRequestTooLarge),
	with(leak.ErrKeys, http.StatusServiceUnavailable, api.CodeUnavailable),
	with(tooLarge(admin.BatchBody), http.StatusRequestEntityTooLarge, api.CodeRequestTooLarge),
	with(errTooSlow, http.StatusRequestTimeout, api.CodeRequestTimeout),
	with(failure.ErrUnavailable, http.StatusServiceUnavailable, api.CodeUnavailable),
	with(keyring.ErrRetired, http.StatusServiceUnavailable,
		api.CodeUnavailable), // twice in one moment: the next try has another key
	with(errNotReady, http.StatusServiceUnavailable, api.CodeUnavailable),
	with(errDraining, http.StatusServiceUnavailable, api.CodeUnavailable),
}, refusalsOfHooks, admin.Refusals(), page.Refusals())

// with is a line of the tables.
func with(err error, status int, code api.Code) route.Refusal {
	return route.Refusal{Err: err, Status: status, Code: code}
}

// detailed are errors whose full text is safe and useful to the caller: it says what exactly is
// wrong.
var detailed = []route.Refusal{
	with(account.ErrDeleted, http.StatusForbidden, api.CodeLicenseRevoked),
	with(failure.ErrInvalid, http.StatusBadRequest, api.CodeInvalidRequest),
	with(failure.ErrNotFound, http.StatusNotFound, api.CodeNotFound),
	with(failure.ErrConflict, http.StatusConflict, api.CodeConflict),
	with(keyring.ErrInUse, http.StatusConflict, api.CodeConflict),
	with(out.ErrTooMany, http.StatusConflict, api.CodeConflict),
	with(out.ErrGone, http.StatusGone, api.CodeEventsMissing),
	with(auth.ErrScope, http.StatusForbidden, api.CodeInsufficientScope),
}

// answerTo is the answer to an error: what its sender is told, and what the log says of it. The log
// holds nothing that a sender chose, for people send tokens where they do not belong.
type answerTo struct {
	status  int
	code    api.Code
	message string // for the sender; may quote what was sent
	reason  string // for the log
}

// badRequestReason is what the log says of an unfitError, whose own text quotes names of members
// and parameters.
const badRequestReason = "the request cannot be read: its sender was told why"

// answerOf finds the answer to an error; false when there is none for it, so that it is a fault of
// ours.
func answerOf(err error) (answerTo, bool) {
	var over *limited
	if errors.As(err, &over) {
		return answerTo{
			http.StatusTooManyRequests, api.CodeRateLimited, over.Error(), over.Error(),
		}, true
	}
	var bad *route.BadRequestError
	if errors.As(err, &bad) {
		return answerTo{
			http.StatusBadRequest, api.CodeInvalidRequest, bad.Error(), badRequestReason,
		}, true
	}
	var kind *route.TypeError
	if errors.As(err, &kind) {
		return answerTo{
			http.StatusUnsupportedMediaType, api.CodeUnsupportedMediaType, kind.Error(),
			kind.Error(),
		}, true
	}
	for _, p := range detailed {
		if errors.Is(err, p.Err) {
			return answerTo{p.Status, p.Code, err.Error(), p.Err.Error()}, true
		}
	}
	for _, r := range refusals {
		if errors.Is(err, r.Err) {
			return answerTo{r.Status, r.Code, r.Err.Error(), r.Err.Error()}, true
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
		s.log.Warn("unavailable", "request_id", route.RequestID(c), "route", c.FullPath(), "err",
			opaque.HideSecrets(err.Error()))
	}
	format := route.From(c).Format
	if format == route.OAuth && failOAuth(c, err) {
		return
	}
	if format == route.OAuthAPI && failRevocation(c, err) {
		return
	}
	if errors.Is(err, auth.ErrUnauthenticated) {
		route.RecordRefusal(c, unauthorized,
			opaque.HideSecrets(err.Error())) // says what is wrong with a token and never quotes one
		c.Header("WWW-Authenticate", "Bearer")
		c.JSON(http.StatusUnauthorized,
			api.Unauthorized{Error: http.StatusText(http.StatusUnauthorized)})
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
	s.log.Error("internal error", "request_id", route.RequestID(c), "route", c.FullPath(), "err",
		opaque.HideSecrets(err.Error()))
	s.refuse(c, answerTo{
		http.StatusInternalServerError, api.CodeInternal, "the service has an internal error: try again later, and report request " + route.RequestID(c), "internal error",
	})
}

// refuse answers in the format of the route.
func (s *Server) refuse(c *gin.Context, a answerTo) {
	route.RecordRefusal(c, a.code, a.reason)
	message := opaque.HideSecrets(a.message)
	switch route.From(c).Format {
	case route.OAuth:
		c.JSON(a.status, api.OAuthError{Error: "server_error", ErrorDescription: message})
	case route.OAuthAPI:
		c.JSON(a.status, api.OAuthAPIError{
			Error: oauthCode(a.status), ErrorDescription: message, Code: a.code, Message: message,
		})
	case route.CLI:
		c.JSON(a.status, api.Error{Error: message, Code: a.code, Message: message})
	case route.Page:
		s.pages.Message(c, a.status, http.StatusText(a.status), message)
	default:
		c.JSON(a.status,
			api.Error{Error: http.StatusText(a.status), Code: a.code, Message: message})
	}
}

// oauthCode is the code of OAuth for an answer of introspection or revocation: RFC 6749, 5.2, for
// the request, RFC 6750, 3.1, for a credential that may not, RFC 6749, 4.1.2.1, for what passes.
func oauthCode(status int) string {
	switch {
	case status == http.StatusForbidden:
		return "insufficient_scope"
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return "temporarily_unavailable"
	case status >= http.StatusInternalServerError:
		return "server_error"
	}
	return "invalid_request"
}
