package admin

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
	"github.com/pageflare/ci/service/webhook/out"
)

// listWebhooks answers GET /_api/admin/webhooks.
func (h *Handlers) listWebhooks(c *gin.Context) error {
	cursor, limit, query, err := route.List(c, "account")
	if err != nil {
		return err
	}
	found, err := h.Endpoints.Endpoints(c.Request.Context(), out.Query{Account: query.Get("account"), After: cursor, Limit: limit + 1})
	return route.Answer(c, func(list []out.Endpoint) api.WebhookPage {
		return show.Webhooks(list, limit)
	}, found, err)
}

// addWebhook answers POST /_api/admin/webhooks.
func (h *Handlers) addWebhook(c *gin.Context) error {
	var in api.NewWebhook
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	made, err := h.Endpoints.Add(c.Request.Context(), out.NewEndpoint{
		AccountID: in.Account, URL: in.URL, Events: eventTypes(in.Events),
	})
	return route.Answer(c, show.NewWebhook, made, err)
}

func eventTypes(names []string) []audit.EventType {
	return show.Each(names, func(s string) audit.EventType { return audit.EventType(s) })
}

// getWebhook answers GET /_api/admin/webhooks/{id}.
func (h *Handlers) getWebhook(c *gin.Context) error {
	e, err := h.Endpoints.Endpoint(c.Request.Context(), c.Param("id"))
	return route.Answer(c, show.Webhook, e, err)
}

// updateWebhook answers PATCH /_api/admin/webhooks/{id}.
func (h *Handlers) updateWebhook(c *gin.Context) error {
	var in api.WebhookChange
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	ch := out.Change{URL: in.URL, Status: (*out.Status)(in.Status)}
	if in.Events != nil {
		ch.Events = new(eventTypes(*in.Events))
	}
	e, err := h.Endpoints.Update(c.Request.Context(), c.Param("id"), ch)
	return route.Answer(c, show.Webhook, e, err)
}

// removeWebhook answers DELETE /_api/admin/webhooks/{id}.
func (h *Handlers) removeWebhook(c *gin.Context) error {
	e, err := h.Endpoints.Remove(c.Request.Context(), c.Param("id"))
	return route.Answer(c, show.RemovedWebhook, e, err)
}

// rotateWebhookSecret answers POST /_api/admin/webhooks/{id}/rotate-secret.
func (h *Handlers) rotateWebhookSecret(c *gin.Context) error {
	var in api.SecretRotation
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	overlap := time.Duration(0)
	if in.Overlap != "" {
		var err error
		if overlap, err = api.ParseDuration(in.Overlap); err != nil {
			return route.BadRequest("overlap is not a duration: give hours, such as 24h")
		}
	}
	e, err := h.Endpoints.RotateSecret(c.Request.Context(), c.Param("id"), overlap)
	return route.Answer(c, show.NewWebhook, e, err)
}

// testWebhook answers POST /_api/admin/webhooks/{id}/test.
func (h *Handlers) testWebhook(c *gin.Context) error {
	var in api.WebhookTest
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	e, err := h.Endpoints.Test(c.Request.Context(), c.Param("id"), audit.EventType(in.Type))
	if err != nil {
		return err
	}
	c.Data(http.StatusOK, jsonType, e.Body())
	return nil
}

const jsonType = "application/json; charset=utf-8"

// listEvents answers GET /_api/admin/events. Who waits holds a connection, for a minute at most, and
// less when the service drains.
func (h *Handlers) listEvents(c *gin.Context) error {
	q, wait, err := feedQuery(c)
	if err != nil {
		return err
	}
	ctx, end := c.Request.Context(), context.CancelFunc(func() {})
	if wait > 0 {
		ctx, end = h.Await(c, wait)
	}
	page, err := h.Feed.Read(ctx, q, wait)
	end()
	if err != nil {
		return err
	}
	c.Data(http.StatusOK, jsonType, feedBody(page))
	return nil
}

// feedBody is {"events":[…],"next":N,"latest":N}, with each event as webhooks get it, to the byte.
func feedBody(page out.FeedPage) []byte {
	var b bytes.Buffer
	b.WriteString(`{"events":[`)
	for i, e := range page.Events {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(e.Body())
	}
	fmt.Fprintf(&b, `],"next":%d,"latest":%d}`, page.Next, page.Newest)
	return b.Bytes()
}

// feedQuery reads the parameters of the feed.
func feedQuery(c *gin.Context) (q out.FeedQuery, wait time.Duration, err error) {
	query, err := route.Parameters(c, "after", "limit", "wait", "account", "type", "tests", "replays", "replay")
	if err != nil {
		return q, 0, err
	}
	q.Account, q.Type = query.Get("account"), audit.EventType(query.Get("type"))
	if q.Limit, err = route.PageSize(query); err != nil {
		return q, 0, err
	}
	if q.After, err = number(query, "after", 1<<53); err != nil {
		return q, 0, err
	}
	seconds, err := number(query, "wait", int64(out.MaxWait/time.Second))
	if err != nil {
		return q, 0, err
	}
	q.Replay = query.Get("replay")
	for name, is := range map[string]*bool{"tests": &q.Tests, "replays": &q.Replays} {
		if *is, err = route.Yes(query, name); err != nil {
			return q, 0, err
		}
	}
	return q, time.Duration(seconds) * time.Second, nil
}

// number is a parameter that is a number from 0 on; 0 when it is not given.
func number(query url.Values, name string, most int64) (int64, error) {
	if query.Get(name) == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(query.Get(name), 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, route.BadRequest("%s is not a number from 0 to %d", name, most)
	}
	return n, nil
}
