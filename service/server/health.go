package server

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
)

// health answers GET /_api/health: the process lives.
func (s *Server) health(c *gin.Context) error {
	c.JSON(http.StatusOK, api.Health{Status: "ok"})
	return nil
}

// ready answers GET /readyz: the process can do its work, and will go on for a while.
func (s *Server) ready(c *gin.Context) error {
	if s.draining.Load() {
		return errDraining
	}
	if err := s.parts.Ready(c.Request.Context()); err != nil {
		return fmt.Errorf("%w (%w)", errNotReady, err)
	}
	c.JSON(http.StatusOK, api.Ready{Status: "ready"})
	return nil
}

// document answers GET /openapi.yaml.
func (s *Server) document(c *gin.Context) error {
	c.Data(http.StatusOK, "application/yaml", api.Document())
	return nil
}
