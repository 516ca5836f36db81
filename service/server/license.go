package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// issue answers POST /_api/license/issue.
func (s *Server) issue(c *gin.Context) error {
	issued, err := s.parts.Licenses.Issue(c.Request.Context(), route.Caller(c))
	if err != nil {
		return err
	}
	c.Data(http.StatusOK, gin.MIMEJSON+"; charset=utf-8", show.IssuedJSON(issued))
	return nil
}

// refresh answers GET /_api/license/refresh.
func (s *Server) refresh(c *gin.Context) error {
	issued, err := s.parts.Licenses.Refresh(c.Request.Context(), route.Caller(c))
	if err != nil {
		return err
	}
	c.Data(http.StatusOK, gin.MIMEJSON+"; charset=utf-8", show.IssuedJSON(issued))
	return nil
}
