package admin

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// listAdminTokens answers GET /_api/admin/admin-tokens.
func (h *Handlers) listAdminTokens(c *gin.Context) error {
	cursor, limit, _, err := route.List(c)
	if err != nil {
		return err
	}
	found, err := h.Admins.AdminTokens(c.Request.Context(), cursor, limit+1)
	return route.Answer(c, func(list []auth.AdminToken) api.AdminTokenPage {
		return show.AdminTokens(list, limit)
	}, found, err)
}

// createAdminToken answers POST /_api/admin/admin-tokens.
func (h *Handlers) createAdminToken(c *gin.Context) error {
	var in api.NewAdminToken
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	ttl, err := lifetime(in.TTL)
	if err != nil {
		return err
	}
	text, made, err := h.Admins.CreateAdminToken(c.Request.Context(), auth.NewAdminToken{
		Name: in.Name, Scopes: show.Each(in.Scopes,
			func(s string) auth.Scope { return auth.Scope(s) }), Lifetime: ttl,
	}, route.Caller(c).Admin)
	return route.Answer(c, func(t auth.AdminToken) api.AdminToken {
		out := show.AdminToken(t)
		out.AdminToken = text.Reveal()
		return out
	}, made, err)
}

// revokeAdminToken answers DELETE /_api/admin/admin-tokens/{id}.
func (h *Handlers) revokeAdminToken(c *gin.Context) error {
	id, err := h.Admins.RevokeAdminToken(c.Request.Context(), c.Param("id"))
	return route.Answer(c,
		func(id string) api.RevokedAdminToken {
			return api.RevokedAdminToken{ID: id,
				Status: "revoked"}
		}, id, err)
}
