package server

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/server/route"
)

// introspect answers POST /_api/oauth/introspect (RFC 7662, 2.1).
func (s *Server) introspect(c *gin.Context) error {
	form, err := route.Form(c)
	if err != nil {
		return err
	}
	token, err := tokenIn(form)
	if err != nil {
		return err
	}
	i, err := s.parts.Licenses.Introspect(c.Request.Context(), route.Caller(c), token)
	if err != nil {
		return err
	}
	out := api.Introspection{Active: i.Active}
	if i.Active {
		out.Sub, out.Jti, out.Tier, out.Features, out.TokenType = i.Account.ID, i.ID, string(i.Account.Tier), i.Account.Features, bearerType
		out.Kind = "api_token"
	}
	if i.Active && !i.APIToken {
		out.Kind, out.Iss, out.Iat, out.Exp = "license_token", i.Issuer, i.IssuedAt.Unix(), i.ExpiresAt.Unix()
	}
	c.JSON(http.StatusOK, out)
	return nil
}

// bearerType is the one type of tokens here (RFC 6749, 7.1): what RFC 7662 calls token_type.
const bearerType = "Bearer"

// revoke answers POST /_api/oauth/revoke (RFC 7009, 2.1).
func (s *Server) revoke(c *gin.Context) error {
	form, err := route.Form(c)
	caller, known := route.CallerOf(c)
	if !known && form["client_id"] == "" {
		return s.countRefusal(c, auth.ErrUnauthenticated)
	}
	if err != nil {
		return err
	}
	text, err := tokenIn(form)
	if err != nil {
		return err
	}
	if known {
		err = s.parts.Licenses.Revoke(c.Request.Context(), caller, text)
	} else {
		err = s.revokeOfClient(c, form["client_id"], text)
	}
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, api.Revoked{})
	return nil
}

// revokeOfClient ends the login token of a public client, which shows its id and the token alone
// (RFC 7009, 2.1). A guess counts as a bad credential of the address.
func (s *Server) revokeOfClient(c *gin.Context, client, text string) error {
	if auth.Parse(text).Kind != auth.ByLoginToken {
		return s.countGuess(c, errTokenKind)
	}
	err := s.parts.Devices.EndLogin(c.Request.Context(), client, text)
	if errors.Is(err, failure.ErrNotFound) {
		return s.countGuess(c, nil) // it is no good already, which is all that the client wants (RFC 7009, 2.2)
	}
	return err
}

// countGuess counts a token that a public client does not hold. It returns err, or that the address
// has shown too many.
func (s *Server) countGuess(c *gin.Context, err error) error {
	if over := s.limits.TakeAddress(c.Request.Context(), route.Address(c)); over != nil {
		return over
	}
	return err
}

var errTokenKind = errors.New("a public client ends its login token (pf_lt_…) alone: end others with an API token")

// failRevocation answers a public client; false when the error is another.
func failRevocation(c *gin.Context, err error) bool {
	for _, o := range []struct {
		err  error
		code string
	}{
		{errTokenKind, "unsupported_token_type"}, // RFC 7009, 2.2.1
		{auth.ErrInvalidClient, "invalid_client"},
		{auth.ErrForeignLogin, "invalid_grant"},
	} {
		if errors.Is(err, o.err) {
			route.RecordRefusal(c, api.Code(o.code), o.err.Error())
			c.JSON(http.StatusBadRequest, api.OAuthAPIError{
				Error: o.code, ErrorDescription: o.err.Error(),
				Code: api.CodeInvalidRequest, Message: o.err.Error(),
			})
			return true
		}
	}
	return false
}

// tokenIn is the parameter `token`. A hint at its kind may be wrong (RFC 7009, 2.1), so it counts
// for nothing.
func tokenIn(form map[string]string) (string, error) {
	if form["token"] == "" {
		return "", route.BadRequest("the form has no parameter token")
	}
	return form["token"], nil
}
