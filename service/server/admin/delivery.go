package admin

import (
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
	"github.com/pageflare/ci/service/webhook/deliver"
)

// listWebhookDeliveries answers GET /_api/admin/webhooks/{id}/deliveries.
func (h *Handlers) listWebhookDeliveries(c *gin.Context) error {
	cursor, limit, query, err := route.List(c, "state", "event")
	if err != nil {
		return err
	}
	after, err := deliver.ParsePosition(cursor)
	if err != nil {
		return err
	}
	found, err := h.Sent.Deliveries(c.Request.Context(), deliver.Query{
		Endpoint: c.Param("id"), State: deliver.State(query.Get("state")), Event: query.Get("event"), After: after, Limit: limit + 1,
	})
	if err != nil {
		return err
	}
	q, err := h.Sent.Queue(c.Request.Context(), c.Param("id"))
	return route.Answer(c, func(q deliver.Queue) api.WebhookDeliveryPage {
		return show.SentDeliveries(found, q, limit)
	}, q, err)
}

// listWebhookReplays answers GET /_api/admin/webhooks/{id}/replays.
func (h *Handlers) listWebhookReplays(c *gin.Context) error {
	cursor, limit, _, err := route.List(c)
	if err != nil {
		return err
	}
	found, err := h.Sent.Replays(c.Request.Context(), deliver.ReplayQuery{Endpoint: c.Param("id"), After: cursor, Limit: limit + 1})
	return route.Answer(c, func(list []deliver.Replay) api.WebhookReplayPage {
		return show.Replays(list, limit)
	}, found, err)
}

// replayWebhook answers POST /_api/admin/webhooks/{id}/replays.
func (h *Handlers) replayWebhook(c *gin.Context) error {
	var in api.NewWebhookReplay
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	scope := deliver.Scope{Event: in.Event, Undelivered: in.Undelivered}
	for name, of := range map[string]struct {
		text string
		into *time.Time
	}{"since": {in.Since, &scope.Since}, "until": {in.Until, &scope.Until}} {
		if of.text == "" {
			continue
		}
		at, err := account.ParseDay(of.text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*of.into = at
	}
	if in.Count {
		n, err := h.Sent.Count(c.Request.Context(), c.Param("id"), scope)
		return route.Answer(c, func(n int64) api.WebhookReplay { return show.CountedReplay(n, in.Undelivered) }, n, err)
	}
	r, err := h.Sent.Replay(c.Request.Context(), c.Param("id"), scope)
	return route.Answer(c, show.Replay, r, err)
}

// skipWebhook answers POST /_api/admin/webhooks/{id}/skip.
func (h *Handlers) skipWebhook(c *gin.Context) error {
	n, err := h.Sent.Skip(c.Request.Context(), c.Param("id"))
	return route.Answer(c, func(n int64) api.SkippedWebhook { return api.SkippedWebhook{ID: c.Param("id"), Events: n} }, n, err)
}
