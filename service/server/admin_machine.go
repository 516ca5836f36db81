package server

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/show"
)

// listMachines answers GET /_api/admin/accounts/{id}/machines.
func (s *Server) listMachines(c *gin.Context) error {
	cursor, limit, _, err := page(c)
	if err != nil {
		return err
	}
	found, err := s.parts.Machines.Machines(c.Request.Context(), c.Param("id"), cursor, limit+1)
	return answer(c, func(list []license.Machine) api.MachinePage {
		list, next := cut(list, limit, func(m license.Machine) string { return m.ID })
		return api.MachinePage{Items: show.Each(list, show.Machine), NextCursor: next}
	}, found, err)
}

// endMachine answers DELETE /_api/admin/machines/{id}.
func (s *Server) endMachine(c *gin.Context) error {
	m, err := s.parts.Machines.EndMachine(c.Request.Context(), c.Param("id"))
	return answer(c, show.Machine, m, err)
}
