package server

import (
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// lease answers GET /_api/license/lease.
func (s *Server) lease(c *gin.Context) error {
	l, err := s.parts.Licenses.Lease(c.Request.Context(), route.Caller(c))
	return route.Answer(c, func(l license.Lease) api.Lease {
		return api.Lease{
			Lease: l.Text.Reveal(), GraceUntil: show.Second(l.GraceUntil),
			RefreshAfter: show.Second(l.RefreshAfter), ValidUntil: show.Time(l.ValidUntil),
			CappedBy: string(l.CappedBy),
		}
	}, l, err)
}

// publicKeys answers GET /.well-known/jwks.json. It is the one answer that others may keep: for
// less time than a new key waits to sign. An empty set may not be kept, for the first key does not
// wait.
func (s *Server) publicKeys(c *gin.Context) error {
	keys, err := s.parts.Keys.LeaseKeys(c.Request.Context())
	if err != nil {
		return err
	}
	set := api.PublicKeySet{Keys: make([]api.PublicKey, 0, len(keys))}
	for _, k := range keys {
		set.Keys = append(set.Keys, api.PublicKey{
			Kty: "OKP", Crv: "Ed25519", Use: "sig", Alg: "EdDSA", Kid: k.ID, X: base64.RawURLEncoding.EncodeToString(k.Key),
		})
	}
	if len(keys) > 0 {
		c.Header("Cache-Control",
			fmt.Sprintf("public, max-age=%d", int(keyring.KeysMaxAge.Seconds())))
	}
	c.JSON(http.StatusOK, set)
	return nil
}
