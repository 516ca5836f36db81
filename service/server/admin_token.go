package server

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/show"
)

// listAPITokens answers GET /_api/admin/accounts/{id}/api-tokens.
func (s *Server) listAPITokens(c *gin.Context) error {
	cursor, limit, _, err := page(c)
	if err != nil {
		return err
	}
	found, err := s.parts.Accounts.APITokens(c.Request.Context(), c.Param("id"), cursor, limit+1)
	return answer(c, func(list []account.APIToken) api.APITokenPage {
		list, next := cut(list, limit, func(t account.APIToken) string { return t.ID })
		return api.APITokenPage{Items: show.Each(list, show.APIToken), NextCursor: next}
	}, found, err)
}

// createAPIToken answers POST /_api/admin/accounts/{id}/api-tokens.
func (s *Server) createAPIToken(c *gin.Context) error {
	var in api.NewAPIToken
	if err := bindJSON(c, &in); err != nil {
		return err
	}
	text, made, err := s.parts.Accounts.CreateAPIToken(c.Request.Context(), c.Param("id"), in.Name)
	return answer(c, func(t account.APIToken) api.APIToken {
		out := show.APIToken(t)
		out.APIToken = text.Reveal()
		return out
	}, made, err)
}

// revokeAPIToken answers DELETE /_api/admin/api-tokens/{id}.
func (s *Server) revokeAPIToken(c *gin.Context) error {
	withTokens, err := flag(c, "with_tokens")
	if err != nil {
		return err
	}
	id, families, err := s.parts.Accounts.RevokeAPIToken(c.Request.Context(), c.Param("id"), withTokens)
	return answer(c, func(id string) api.RevokedAPIToken {
		return api.RevokedAPIToken{ID: id, Status: "revoked", FamiliesRevoked: families}
	}, id, err)
}

// showToken is the record of a token as it is now.
func (s *Server) showToken(t license.TokenRecord) api.TokenRecord { return show.Token(t, s.now()) }

// listTokens answers GET /_api/admin/accounts/{id}/tokens.
func (s *Server) listTokens(c *gin.Context) error {
	cursor, limit, _, err := page(c)
	if err != nil {
		return err
	}
	found, err := s.parts.Licenses.Tokens(c.Request.Context(), c.Param("id"), opaque.TokenID(cursor), limit+1)
	return answer(c, func(list []license.TokenRecord) api.TokenPage {
		list, next := cut(list, limit, func(t license.TokenRecord) string { return string(t.ID) })
		return api.TokenPage{Items: show.Each(list, s.showToken), NextCursor: next}
	}, found, err)
}

// issueToken answers POST /_api/admin/accounts/{id}/tokens.
func (s *Server) issueToken(c *gin.Context) error {
	var in api.NewToken
	if err := bindJSON(c, &in); err != nil {
		return err
	}
	ttl, err := life(in.TTL)
	if err != nil {
		return err
	}
	issued, err := s.parts.Licenses.IssueFor(c.Request.Context(), c.Param("id"), ttl)
	return answer(c, issuedToken, issued, err)
}

// getToken answers GET /_api/admin/tokens/{jti}.
func (s *Server) getToken(c *gin.Context) error {
	t, err := s.parts.Licenses.Token(c.Request.Context(), c.Param("jti"))
	return answer(c, s.showToken, t, err)
}

// revokeToken answers POST /_api/admin/tokens/revoke.
func (s *Server) revokeToken(c *gin.Context) error {
	var in api.TokenToRevoke
	if err := bindJSON(c, &in); err != nil {
		return err
	}
	if (in.Token == "") == (in.Jti == "") {
		return unfit("give one of token and jti")
	}
	t, err := s.parts.Licenses.RevokeToken(c.Request.Context(), in.Token+in.Jti, in.Family)
	return answer(c, s.showToken, t, err)
}
