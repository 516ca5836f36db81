package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
)

func showLine(l license.AuditLine) api.AuditLine {
	return api.AuditLine{
		Seq: l.Seq, At: stamp(l.At), Action: string(l.Action), Actor: api.AuditActor{Kind: string(l.Actor.Kind), ID: l.Actor.ID}, Account: l.Account,
		Object: l.Object, Details: json.RawMessage(l.Details), Address: l.Actor.Address, RequestID: l.Actor.RequestID, Hash: l.Hash,
	}
}

// listAudit answers GET /_api/admin/audit.
func (s *Server) listAudit(c *gin.Context) error {
	cursor, limit, err := page(c, "account", "action")
	if err != nil {
		return err
	}
	q := license.AuditQuery{Limit: limit + 1, Account: c.Query("account"), Action: license.Action(c.Query("action"))}
	if cursor != "" {
		if q.Before, err = strconv.ParseInt(cursor, 10, 64); err != nil || q.Before < 1 {
			return unfit("cursor is not one that this route gave")
		}
	}
	found, err := s.license.Audit(c.Request.Context(), q)
	return answer(c, func(list []license.AuditLine) api.AuditPage {
		list, next := cut(list, limit, func(l license.AuditLine) string { return strconv.FormatInt(l.Seq, 10) })
		return api.AuditPage{Items: shown(list, showLine), NextCursor: next}
	}, found, err)
}

// verifyAudit answers GET /_api/admin/audit/verify.
func (s *Server) verifyAudit(c *gin.Context) error {
	text, err := parameter(c, "noted")
	if err != nil {
		return err
	}
	noted, err := license.ParseAuditHead(text)
	if err != nil {
		return err
	}
	head, err := s.license.VerifyAudit(c.Request.Context(), license.AuditCheck{Noted: noted})
	out := api.AuditVerdict{Whole: err == nil, Lines: head.Seq, End: head.String()}
	if errors.Is(err, license.ErrTampered) {
		out.Fault = err.Error()
	} else if err != nil {
		return err
	}
	c.JSON(http.StatusOK, out)
	return nil
}
