package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// These routes are called by the pageflare CLI alone. Their contract is what CLI 0.9.2 sends and
// reads: it shows people the member `error` of a refusal, so that is a sentence here.

// cliVersion is the newest CLI that this contract was tried with.
const cliVersion = "0.9.2"

// activate answers POST /_api/license/activate.
func (s *Server) activate(c *gin.Context) error {
	var in api.Activation
	if err := route.LooseJSON(c, &in); err != nil {
		return err
	}
	issued, machine, err := s.parts.Machines.Activate(c.Request.Context(), route.Caller(c),
		in.MachineID, in.Label)
	return route.Answer(c, func(m license.Machine) api.Activated {
		return api.Activated{
			Token: issued.Token.Reveal(), ExpiresAt: show.Second(issued.ExpiresAt), Machine: m.ID,
		}
	}, machine, err)
}

// deactivate answers DELETE /_api/license/machine/{machine_id}.
func (s *Server) deactivate(c *gin.Context) error {
	if err := s.parts.Machines.Deactivate(c.Request.Context(), route.Caller(c),
		c.Param("machine_id")); err != nil {
		return err
	}
	c.JSON(http.StatusOK, api.Deactivated{Status: "deactivated"})
	return nil
}

// validateCI answers POST /_api/license/validate-ci. No CLI of this version is known to send it a
// body that matters.
func (s *Server) validateCI(c *gin.Context) error {
	who := route.Caller(c)
	if err := s.parts.Licenses.Validate(who); err != nil {
		return err
	}
	c.JSON(http.StatusOK, api.ValidCI{
		Valid: true, Tier: string(who.Account.Tier), Features: who.Account.Features, ExpiresAt: show.Second(who.Token.ExpiresAt),
	})
	return nil
}

// checkVersion answers GET /_api/cli/check-version. The headers that say who asks are not read.
func (s *Server) checkVersion(c *gin.Context) error {
	c.JSON(http.StatusOK, api.CLIVersion{CurrentVersion: cliVersion})
	return nil
}

// telemetry answers POST /_api/cli/telemetry: it counts the report and keeps nothing of it.
func (s *Server) telemetry(c *gin.Context) error {
	if err := route.LooseJSON(c, &struct{}{}); err != nil {
		return err
	}
	s.reports.Add(1)
	c.JSON(http.StatusOK, api.Counted{Status: "counted"})
	return nil
}

// TelemetryReports is how many reports of pageflare CLIs came in since the start.
func (s *Server) TelemetryReports() int64 { return s.reports.Load() }
