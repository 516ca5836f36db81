package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
)

// issue answers POST /_api/license/issue.
func (s *Server) issue(c *gin.Context) error {
	issued, err := s.parts.Licenses.Issue(c.Request.Context(), caller(c))
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, issuedToken(issued))
	return nil
}

// refresh answers GET /_api/license/refresh.
func (s *Server) refresh(c *gin.Context) error {
	issued, err := s.parts.Licenses.Refresh(c.Request.Context(), caller(c))
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, issuedToken(issued))
	return nil
}

func issuedToken(i license.Issued) api.IssuedToken {
	out := api.IssuedToken{Token: i.Token.Reveal(), ExpiresAt: rfc3339(i.ExpiresAt), RefreshAfter: rfc3339(i.RefreshAfter)}
	if i.Capped {
		out.CappedBy = api.CappedByValidUntil
	}
	return out
}
