package server

import (
	"errors"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/server/explorer"
	"github.com/pageflare/ci/service/server/route"
)

// Routes returns every route of the service. There is no other way to add one.
func (s *Server) Routes() []route.Route {
	return slices.Concat([]route.Route{
		route.Get("/_api/health", route.Open, s.health),
		route.Get("/readyz", route.Open, s.ready),
		route.Post("/_api/license/issue", route.TokenOrIdentity, s.issue).Counted("issue").Once(),
		route.Get("/_api/license/refresh", route.LicenseToken, s.refresh).Counted("refresh"),
		route.Get("/_api/license/lease", route.LicenseToken, s.lease),
		route.Get("/.well-known/jwks.json", route.Open, s.publicKeys),
		route.Post("/_api/oauth/introspect", route.OwnerOrAdmin(auth.ScopeTokensRead), s.introspect).As(route.OAuthAPI),
		route.Post("/_api/oauth/revoke", route.OwnerOrAdmin(auth.ScopeTokensWrite).OrClient(), s.revoke).As(route.OAuthAPI),
		route.Get("/.well-known/oauth-authorization-server", route.Open, s.authorizationServer),
		route.Post("/_api/auth/device/code", route.Open, s.deviceCode).As(route.OAuth),
		route.Post("/_api/auth/device/token", route.Open, s.deviceToken).As(route.OAuth),
		route.Post("/_api/license/activate", route.LoginToken, s.activate).As(route.CLI),
		route.Delete("/_api/license/machine/:machine_id", route.LicenseToken, s.deactivate).As(route.CLI),
		route.Post("/_api/license/validate-ci", route.LicenseToken, s.validateCI).As(route.CLI),
		route.Get("/_api/cli/check-version", route.Open, s.checkVersion).As(route.CLI),
		route.Post("/_api/cli/telemetry", route.Open, s.telemetry).As(route.CLI),
		route.Post("/_api/webhooks/github", route.ByGitHub, s.hearGitHub).Bare().Reads(0),
		route.Post("/_api/webhooks/github/secret-scanning", route.ByAlertKey, s.secretScanning).Reads(0),
		route.Get("/openapi.yaml", route.Open, s.document),
	}, s.admin.Routes(), s.pages.Routes(), explorer.Routes())
}

// mount makes handlers of the routes.
func (s *Server) mount() {
	if s.tracer != nil {
		s.engine.Use(s.traced)
	}
	s.engine.Use(s.access, s.recover)
	for _, r := range s.Routes() {
		s.metrics.know(&r)
		known := func(c *gin.Context) { route.Set(c, &r) }
		s.engine.Handle(r.Method, r.Path, known, s.bufferBody(r.Body), s.guard(r.Guard), s.requireID(r.ID), s.nameRequest(r.Named), s.handler(r.Handle))
		if r.Method == http.MethodGet && r.Guard.Open() {
			s.engine.HEAD(r.Path, known, s.handler(r.Handle)) // what probes and proxies ask; net/http leaves the body out
		}
	}
	s.engine.NoRoute(s.handler(func(*gin.Context) error { return errNoRoute }))
	s.engine.NoMethod(s.handler(func(*gin.Context) error { return errNoMethod }))
}

var (
	errNoRoute  = errors.New("there is no such route: see /openapi.yaml")
	errNoMethod = errors.New("method not allowed: the allowed methods are in the Allow header")
)

// requireID refuses what cannot be an id in a path.
func (s *Server) requireID(id route.ID) gin.HandlerFunc {
	return func(c *gin.Context) {
		if id.Fits != nil && !id.Fits(c.Param(id.Name)) {
			s.fail(c, id.Refusal)
			c.Abort()
		}
	}
}
