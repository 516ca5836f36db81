package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// listAudit answers GET /_api/admin/audit.
func (h *Handlers) listAudit(c *gin.Context) error {
	cursor, limit, query, err := route.List(c, "account", "action", "actor", "since", "until", "repository")
	if err != nil {
		return err
	}
	q := audit.Query{
		Limit: limit + 1, Account: query.Get("account"), Action: audit.Action(query.Get("action")),
		Actor: query.Get("actor"), Repository: query.Get("repository"),
	}
	if q.Since, err = moment(query, "since"); err != nil {
		return err
	}
	if q.Until, err = moment(query, "until"); err != nil {
		return err
	}
	if cursor != "" {
		if q.Before, err = strconv.ParseInt(cursor, 10, 64); err != nil || q.Before < 1 {
			return route.BadRequest("cursor is not one that this route gave")
		}
	}
	found, err := h.Log.Lines(c.Request.Context(), q)
	return route.Answer(c, func(list []audit.Line) api.AuditPage {
		return show.Lines(list, limit)
	}, found, err)
}

// moment is a parameter that is a date or a time; zero when it is not given.
func moment(query url.Values, name string) (time.Time, error) {
	if query.Get(name) == "" {
		return time.Time{}, nil
	}
	at, err := account.ParseDay(query.Get(name))
	if err != nil {
		return at, fmt.Errorf("%s: %w", name, err)
	}
	return at, nil
}

// verifyTime is how long a verification may take: enough for a hundred million lines.
const verifyTime = 10 * time.Minute

var (
	errVerifying = errors.New("the audit log is being verified for somebody else, which is done once at a time: try again later")
	errNoVerdict = errors.New("the verification was given up before its end: try again, and from an end that was noted before if the log is long")
)

// verifyAudit answers GET /_api/admin/audit/verify. A long log takes longer than any other answer,
// and all of a processor: so there is more time for it, and it is done once at a time, and only
// while somebody waits.
func (h *Handlers) verifyAudit(c *gin.Context) error {
	check, err := auditCheck(c)
	if err != nil {
		return err
	}
	if !h.verifying.TryLock() {
		c.Header("Retry-After", "10")
		return errVerifying
	}
	defer h.verifying.Unlock()
	ctx, end := h.Extend(c, verifyTime)
	defer end()
	proof, err := h.Log.Verify(ctx, check)
	out := api.AuditVerdict{
		Intact: err == nil, Lines: proof.Seq, End: proof.String(), ContentsFrom: proof.ContentsFrom(check), Pruned: show.Pruning(proof.Pruned),
	}
	switch {
	case errors.Is(err, audit.ErrTampered):
		out.Fault = err.Error()
	case err != nil && ctx.Err() != nil:
		return errNoVerdict
	case err != nil:
		return err
	}
	c.JSON(http.StatusOK, out)
	return nil
}

// auditCheck reads `from` and `expected_head`.
func auditCheck(c *gin.Context) (check audit.Check, err error) {
	query, err := route.Parameters(c, "from", "expected_head")
	if err != nil {
		return check, err
	}
	if check.From, err = audit.ParseHead(query.Get("from")); err != nil {
		return check, err
	}
	check.Expected, err = audit.ParseHead(query.Get("expected_head"))
	return check, err
}
