package server

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// Route is one line of the API: who may call what.
type Route struct {
	Method string
	Path   string
	Guard  Guard
	handle func(*gin.Context) error
}

// Routes returns every route of the service. There is no other way to add one.
func (s *Server) Routes() []Route {
	return []Route{
		{http.MethodGet, "/_api/health", Open, s.health},
		{http.MethodPost, "/_api/license/issue", AnyToken, s.issue},
		{http.MethodGet, "/_api/license/refresh", LicenseToken, s.refresh},
		{http.MethodGet, "/readyz", Open, s.ready},
		{http.MethodGet, "/openapi.yaml", Open, s.document},
	}
}

func (s *Server) route() {
	s.engine.Use(s.access, s.recover, limitBody)
	for _, r := range s.Routes() {
		s.engine.Handle(r.Method, r.Path, s.guard(r.Guard), s.end(r.handle))
	}
	s.engine.NoRoute(s.end(func(*gin.Context) error { return errNoRoute }))
	s.engine.NoMethod(s.end(func(*gin.Context) error { return errNoMethod }))
}
