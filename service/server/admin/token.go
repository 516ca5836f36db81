package admin

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// listAPITokens answers GET /_api/admin/accounts/{id}/api-tokens.
func (h *Handlers) listAPITokens(c *gin.Context) error {
	cursor, limit, _, err := route.List(c)
	if err != nil {
		return err
	}
	found, err := h.Accounts.APITokens(c.Request.Context(), c.Param("id"), cursor, limit+1)
	return route.Answer(c, func(list []account.APIToken) api.APITokenPage {
		return show.APITokens(list, limit)
	}, found, err)
}

// createAPIToken answers POST /_api/admin/accounts/{id}/api-tokens.
func (h *Handlers) createAPIToken(c *gin.Context) error {
	var in api.NewAPIToken
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	text, made, err := h.Accounts.CreateAPIToken(c.Request.Context(), c.Param("id"), in.Name)
	return route.Answer(c, func(t account.APIToken) api.APIToken {
		out := show.APIToken(t)
		out.APIToken = text.Reveal()
		return out
	}, made, err)
}

// revokeAPIToken answers DELETE /_api/admin/api-tokens/{id}.
func (h *Handlers) revokeAPIToken(c *gin.Context) error {
	withTokens, err := route.Flag(c, "with_tokens")
	if err != nil {
		return err
	}
	id, families, err := h.Accounts.RevokeAPIToken(c.Request.Context(), c.Param("id"), withTokens)
	return route.Answer(c, func(id string) api.RevokedAPIToken {
		return api.RevokedAPIToken{ID: id, Status: "revoked", FamiliesRevoked: families}
	}, id, err)
}

// showToken is the record of a token as it is now.
func (h *Handlers) showToken(t license.TokenRecord) api.TokenRecord {
	return show.Token(t, h.Now())
}

// listTokens answers GET /_api/admin/accounts/{id}/tokens.
func (h *Handlers) listTokens(c *gin.Context) error {
	cursor, limit, _, err := route.List(c)
	if err != nil {
		return err
	}
	found, err := h.Licenses.Tokens(c.Request.Context(), c.Param("id"), opaque.TokenID(cursor),
		limit+1)
	return route.Answer(c, func(list []license.TokenRecord) api.TokenPage {
		return show.Tokens(list, limit, h.Now())
	}, found, err)
}

// issueToken answers POST /_api/admin/accounts/{id}/tokens.
func (h *Handlers) issueToken(c *gin.Context) error {
	var in api.NewToken
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	ttl, err := lifetime(in.TTL)
	if err != nil {
		return err
	}
	issued, err := h.Licenses.IssueFor(c.Request.Context(), c.Param("id"), ttl)
	return route.Answer(c, show.Issued, issued, err)
}

// getToken answers GET /_api/admin/tokens/{jti}.
func (h *Handlers) getToken(c *gin.Context) error {
	t, err := h.Licenses.Token(c.Request.Context(), c.Param("jti"))
	return route.Answer(c, h.showToken, t, err)
}

// revokeToken answers POST /_api/admin/tokens/revoke.
func (h *Handlers) revokeToken(c *gin.Context) error {
	var in api.TokenToRevoke
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	if (in.Token == "") == (in.Jti == "") {
		return route.BadRequest("give one of token and jti")
	}
	t, err := h.Licenses.RevokeToken(c.Request.Context(), in.Token+in.Jti, in.Family)
	return route.Answer(c, h.showToken, t, err)
}
