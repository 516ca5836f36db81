package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/auth"
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
		{http.MethodPost, "/_api/license/issue", TokenOrIdentity, s.issue},
		{http.MethodGet, "/_api/license/refresh", LicenseToken, s.refresh},
		{http.MethodGet, "/_api/license/lease", LicenseToken, s.lease},
		{http.MethodPost, "/_api/oauth/introspect", OwnerOrAdmin(auth.ScopeTokensRead), s.introspect},
		{http.MethodPost, "/_api/oauth/revoke", OwnerOrAdmin(auth.ScopeTokensWrite), s.revoke},
		{http.MethodGet, "/_api/admin/accounts", Admin(auth.ScopeAccountsRead), s.listAccounts},
		{http.MethodPost, "/_api/admin/accounts", Admin(auth.ScopeAccountsWrite), bare(s.createAccount)},
		{http.MethodGet, "/_api/admin/accounts/:id", Admin(auth.ScopeAccountsRead), bare(s.getAccount)},
		{http.MethodPatch, "/_api/admin/accounts/:id", Admin(auth.ScopeAccountsWrite), bare(s.updateAccount)},
		{http.MethodDelete, "/_api/admin/accounts/:id", Admin(auth.ScopeAccountsWrite), bare(s.deleteAccount)},
		{http.MethodPost, "/_api/admin/accounts/:id/suspend", Admin(auth.ScopeAccountsWrite), bare(s.suspendAccount)},
		{http.MethodPost, "/_api/admin/accounts/:id/restore", Admin(auth.ScopeAccountsWrite), bare(s.restoreAccount)},
		{http.MethodGet, "/_api/admin/accounts/:id/api-tokens", Admin(auth.ScopeTokensRead), s.listAPITokens},
		{http.MethodPost, "/_api/admin/accounts/:id/api-tokens", Admin(auth.ScopeTokensWrite), bare(s.createAPIToken)},
		{http.MethodDelete, "/_api/admin/api-tokens/:id", Admin(auth.ScopeTokensWrite), s.revokeAPIToken},
		{http.MethodGet, "/_api/admin/accounts/:id/tokens", Admin(auth.ScopeTokensRead), s.listTokens},
		{http.MethodPost, "/_api/admin/accounts/:id/tokens", Admin(auth.ScopeTokensWrite), bare(s.issueToken)},
		{http.MethodGet, "/_api/admin/tokens/:jti", Admin(auth.ScopeTokensRead), bare(s.getToken)},
		{http.MethodPost, "/_api/admin/tokens/revoke", Admin(auth.ScopeTokensWrite), bare(s.revokeToken)},
		{http.MethodGet, "/_api/admin/accounts/:id/machines", Admin(auth.ScopeTokensRead), s.listMachines},
		{http.MethodDelete, "/_api/admin/machines/:id", Admin(auth.ScopeTokensWrite), bare(s.endMachine)},
		{http.MethodGet, "/_api/admin/policies", Admin(auth.ScopePoliciesRead), s.listPolicies},
		{http.MethodPost, "/_api/admin/policies", Admin(auth.ScopePoliciesWrite), bare(s.addPolicy)},
		{http.MethodDelete, "/_api/admin/policies/:id", Admin(auth.ScopePoliciesWrite), s.removePolicy},
		{http.MethodPost, "/_api/admin/policies/explain", Admin(auth.ScopePoliciesRead), bare(s.explainPolicies)},
		{http.MethodGet, "/_api/admin/keys", Admin(auth.ScopeKeysRead), bare(s.listKeys)},
		{http.MethodPost, "/_api/admin/keys", Admin(auth.ScopeKeysWrite), s.rotateKey},
		{http.MethodDelete, "/_api/admin/keys/:kid", Admin(auth.ScopeKeysWrite), s.retireKey},
		{http.MethodGet, "/_api/admin/admin-tokens", Admin(auth.ScopeAdminRead), s.listAdminTokens},
		{http.MethodPost, "/_api/admin/admin-tokens", Admin(auth.ScopeAdminWrite), bare(s.createAdminToken)},
		{http.MethodDelete, "/_api/admin/admin-tokens/:id", Admin(auth.ScopeAdminWrite), bare(s.revokeAdminToken)},
		{http.MethodGet, "/_api/admin/audit", Admin(auth.ScopeAuditRead), s.listAudit},
		{http.MethodGet, "/_api/admin/audit/verify", Admin(auth.ScopeAuditRead), s.verifyAudit},
		{http.MethodPost, "/_api/admin/accounts/:id/sign-in", Admin(auth.ScopeTokensWrite), bare(s.createSignInLink)},
		{http.MethodPost, "/_api/auth/device/code", Open, s.deviceCode},
		{http.MethodPost, "/_api/auth/device/token", Open, s.deviceToken},
		{http.MethodPost, "/_api/license/activate", LoginToken, s.activate},
		{http.MethodDelete, "/_api/license/machine/:machine_id", LicenseToken, s.deactivate},
		{http.MethodPost, "/_api/license/validate-ci", LicenseToken, s.validateCI},
		{http.MethodGet, "/_api/cli/check-version", Open, s.checkVersion},
		{http.MethodPost, "/_api/cli/telemetry", Open, s.telemetry},
		{http.MethodGet, "/device", SignedIn, s.deviceForm},
		{http.MethodPost, "/device", SignedIn, s.deviceConfirm},
		{http.MethodPost, "/device/approve", SignedIn, s.deviceApprove},
		{http.MethodPost, "/device/deny", SignedIn, s.deviceDeny},
		{http.MethodGet, "/sign-in", Open, s.signInForm},
		{http.MethodPost, "/sign-in", Open, s.signIn},
		{http.MethodPost, "/sign-out", SignedIn, s.signOut},
		{http.MethodGet, "/.well-known/oauth-authorization-server", Open, s.authorizationServer},
		{http.MethodGet, "/.well-known/jwks.json", Open, s.publicKeys},
		{http.MethodGet, "/readyz", Open, s.ready},
		{http.MethodGet, "/openapi.yaml", Open, s.document},
		{http.MethodGet, "/", Open, s.toDocs},
		{http.MethodGet, "/docs/", Open, s.toDocs},
		{http.MethodGet, "/docs", Open, s.docs},
		{http.MethodGet, "/docs/bundle.js", Open, s.docsBundle},
		{http.MethodGet, "/docs/start.js", Open, s.docsStart},
	}
}

func (s *Server) route() {
	if s.tracer != nil {
		s.engine.Use(s.traced)
	}
	s.engine.Use(s.access, s.recover, s.wholeBody)
	for _, r := range s.Routes() {
		s.engine.Handle(r.Method, r.Path, s.guard(r.Guard), s.wantID(r.Path), s.end(r.handle))
		if r.Method == http.MethodGet && r.Guard.Open() {
			s.engine.HEAD(r.Path, s.end(r.handle)) // what probes and proxies ask; net/http leaves the body out
		}
	}
	s.engine.NoRoute(s.end(func(*gin.Context) error { return errNoRoute }))
	s.engine.NoMethod(s.end(func(*gin.Context) error { return errNoMethod }))
}
