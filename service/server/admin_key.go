package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/show"
)

// listKeys answers GET /_api/admin/keys.
func (s *Server) listKeys(c *gin.Context) error {
	found, err := s.parts.Keys.Keys(c.Request.Context())
	return answer(c, func(list []keyring.Key) api.KeyPage { return api.KeyPage{Items: show.Each(list, show.Key)} }, found, err)
}

// rotateKey answers POST /_api/admin/keys.
func (s *Server) rotateKey(c *gin.Context) error {
	lease, err := flag(c, "lease")
	if err != nil {
		return err
	}
	algorithm := keyring.HS256
	if lease {
		algorithm = keyring.EdDSA
	}
	k, err := s.parts.Keys.Rotate(c.Request.Context(), algorithm)
	return answer(c, show.Key, k, err)
}

// retireKey answers DELETE /_api/admin/keys/{kid}.
func (s *Server) retireKey(c *gin.Context) error {
	force, err := flag(c, "force")
	if err != nil {
		return err
	}
	if err := s.parts.Keys.Retire(c.Request.Context(), c.Param("kid"), force); err != nil {
		return err
	}
	c.JSON(http.StatusOK, api.RetiredKey{Kid: c.Param("kid"), State: "retired"})
	return nil
}
