package server

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/show"
)

// listAdminTokens answers GET /_api/admin/admin-tokens.
func (s *Server) listAdminTokens(c *gin.Context) error {
	cursor, limit, _, err := page(c)
	if err != nil {
		return err
	}
	found, err := s.parts.Admins.AdminTokens(c.Request.Context(), cursor, limit+1)
	return answer(c, func(list []auth.AdminToken) api.AdminTokenPage {
		list, next := cut(list, limit, func(t auth.AdminToken) string { return t.ID })
		return api.AdminTokenPage{Items: show.Each(list, show.AdminToken), NextCursor: next}
	}, found, err)
}

// createAdminToken answers POST /_api/admin/admin-tokens.
func (s *Server) createAdminToken(c *gin.Context) error {
	var in api.NewAdminToken
	if err := bindJSON(c, &in); err != nil {
		return err
	}
	ttl, err := life(in.TTL)
	if err != nil {
		return err
	}
	text, made, err := s.parts.Admins.CreateAdminToken(c.Request.Context(), auth.NewAdminToken{
		Name: in.Name, Scopes: show.Each(in.Scopes, func(s string) auth.Scope { return auth.Scope(s) }), Life: ttl,
	}, caller(c).Admin)
	return answer(c, func(t auth.AdminToken) api.AdminToken {
		out := show.AdminToken(t)
		out.AdminToken = text.Reveal()
		return out
	}, made, err)
}

// revokeAdminToken answers DELETE /_api/admin/admin-tokens/{id}.
func (s *Server) revokeAdminToken(c *gin.Context) error {
	id, err := s.parts.Admins.RevokeAdminToken(c.Request.Context(), c.Param("id"))
	return answer(c, func(id string) api.RevokedAdminToken { return api.RevokedAdminToken{ID: id, Status: "revoked"} }, id, err)
}
