package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/server/route"
)

// introspect answers POST /_api/oauth/introspect (RFC 7662, 2.1).
func (s *Server) introspect(c *gin.Context) error {
	token, err := formToken(c)
	if err != nil {
		return err
	}
	i, err := s.parts.Licenses.Introspect(c.Request.Context(), route.Caller(c), token)
	if err != nil {
		return err
	}
	out := api.Introspection{Active: i.Active}
	if i.Active {
		out.Sub, out.Jti, out.Tier, out.Features, out.TokenType = i.Account.ID, i.ID, string(i.Account.Tier), i.Account.Features, "api_token"
	}
	if i.Active && !i.APIToken {
		out.TokenType, out.Iss, out.Iat, out.Exp = "license_token", i.Issuer, i.IssuedAt.Unix(), i.ExpiresAt.Unix()
	}
	c.JSON(http.StatusOK, out)
	return nil
}

// revoke answers POST /_api/oauth/revoke (RFC 7009, 2.1).
func (s *Server) revoke(c *gin.Context) error {
	token, err := formToken(c)
	if err != nil {
		return err
	}
	if err := s.parts.Licenses.Revoke(c.Request.Context(), route.Caller(c), token); err != nil {
		return err
	}
	c.JSON(http.StatusOK, api.Revoked{})
	return nil
}

// formToken reads the parameter `token`. A hint at its kind may be wrong (RFC 7009, 2.1), so it
// counts for nothing.
func formToken(c *gin.Context) (string, error) {
	form, err := route.Form(c)
	if err != nil {
		return "", err
	}
	if form["token"] == "" {
		return "", route.BadRequest("the form has no parameter token")
	}
	return form["token"], nil
}
