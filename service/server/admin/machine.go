package admin

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// listMachines answers GET /_api/admin/accounts/{id}/machines.
func (h *Handlers) listMachines(c *gin.Context) error {
	cursor, limit, _, err := route.List(c)
	if err != nil {
		return err
	}
	found, err := h.Machines.Machines(c.Request.Context(), c.Param("id"), cursor, limit+1)
	return route.Answer(c, func(list []license.Machine) api.MachinePage {
		return show.Machines(list, limit)
	}, found, err)
}

// endMachine answers DELETE /_api/admin/machines/{id}.
func (h *Handlers) endMachine(c *gin.Context) error {
	m, err := h.Machines.EndMachine(c.Request.Context(), c.Param("id"))
	return route.Answer(c, show.Machine, m, err)
}
