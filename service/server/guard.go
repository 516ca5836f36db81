package server

import (
	"regexp"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/license"
)

// Guard is who may call a route.
type Guard string

const (
	// Open lets anyone in.
	Open Guard = "anyone"
	// AnyToken asks for an API token or a license token.
	AnyToken Guard = "API token or license token"
	// LicenseToken asks for a license token.
	LicenseToken Guard = "license token"
)

const callerKey = "caller"

// guard authenticates the caller and counts the request against the caller's limit. It answers for itself when it lets nobody in.
func (s *Server) guard(g Guard) gin.HandlerFunc {
	if g == Open {
		return func(*gin.Context) {}
	}
	return func(c *gin.Context) {
		if err := s.admit(c, g); err != nil {
			s.fail(c, err)
			c.Abort()
		}
	}
}

func (s *Server) admit(c *gin.Context, g Guard) error {
	token, ok := bearer(c.Request.Header.Values("Authorization"))
	if !ok || (g == LicenseToken && license.IsAPIToken(token)) {
		return license.ErrUnauthenticated
	}
	caller, err := s.license.Authenticate(c.Request.Context(), token)
	if err != nil {
		return err
	}
	c.Set(callerKey, caller)
	return s.limits.take(c.Request.Context(), caller)
}

// caller is who the guard let in.
func caller(c *gin.Context) license.Caller { return c.MustGet(callerKey).(license.Caller) }

// token68 is what a bearer token is made of (RFC 6750, 2.1).
var token68 = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// bearer reads the one header `Authorization: Bearer <token>` (RFC 6750, 2.1; the scheme in any case: RFC 9110, 11.1). Two headers are
// none: a proxy might judge by the other one.
func bearer(headers []string) (string, bool) {
	if len(headers) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || !token68.MatchString(token) {
		return "", false
	}
	return token, true
}
