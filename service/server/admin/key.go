package admin

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// listKeys answers GET /_api/admin/keys.
func (h *Handlers) listKeys(c *gin.Context) error {
	found, err := h.Keys.Keys(c.Request.Context())
	return route.Answer(c, show.Keys, found, err)
}

// rotateKey answers POST /_api/admin/keys.
func (h *Handlers) rotateKey(c *gin.Context) error {
	lease, err := route.Flag(c, "lease")
	if err != nil {
		return err
	}
	algorithm := keyring.HS256
	if lease {
		algorithm = keyring.EdDSA
	}
	k, err := h.Keys.Rotate(c.Request.Context(), algorithm)
	return route.Answer(c, show.Key, k, err)
}

// retireKey answers DELETE /_api/admin/keys/{kid}.
func (h *Handlers) retireKey(c *gin.Context) error {
	force, err := route.Flag(c, "force")
	if err != nil {
		return err
	}
	if err := h.Keys.Retire(c.Request.Context(), c.Param("kid"), force); err != nil {
		return err
	}
	c.JSON(http.StatusOK, api.RetiredKey{Kid: c.Param("kid"), State: "retired"})
	return nil
}
