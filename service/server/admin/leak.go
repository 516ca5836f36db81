package admin

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// reportLeak answers POST /_api/admin/leaks.
func (h *Handlers) reportLeak(c *gin.Context) error {
	var in api.LeakReport
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	if in.Token == "" {
		return route.BadRequest("give token: the text that was found")
	}
	v, err := h.Leaks.Report(c.Request.Context(), leak.Found{
		Token: opaque.Secret(in.Token), Door: leak.ByAdmin, Source: in.Source, URL: in.URL,
	})
	return route.Answer(c, show.Leak, v, err)
}
