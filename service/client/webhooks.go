package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/pageflare/ci/service/api"
)

// ListWebhooks yields webhook endpoints, of one account or of all; see ListAccounts.
func (a *Admin) ListWebhooks(ctx context.Context,
	p api.ListWebhooksParams) iter.Seq2[api.Webhook, error] {
	return pages(p.Cursor, func(cursor string) ([]api.Webhook, string, error) {
		p.Cursor = cursor
		page, err := ask[api.WebhookPage](ctx, a,
			request{op: "list webhook endpoints", path: "admin/webhooks", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// AddWebhook adds a webhook endpoint. Its secret is in this answer alone.
func (a *Admin) AddWebhook(ctx context.Context, n api.NewWebhook) (api.Webhook, error) {
	return ask[api.Webhook](ctx, a,
		request{op: "add a webhook endpoint", method: http.MethodPost, path: "admin/webhooks", body: n, named: true})
}

// GetWebhook returns a webhook endpoint, without its secret.
func (a *Admin) GetWebhook(ctx context.Context, id string) (api.Webhook, error) {
	return ask[api.Webhook](ctx, a,
		request{op: "show the webhook endpoint", path: join("admin/webhooks", id)})
}

// UpdateWebhook changes what is given, and returns the endpoint as it is now.
func (a *Admin) UpdateWebhook(ctx context.Context, id string,
	change api.WebhookChange) (api.Webhook, error) {
	return ask[api.Webhook](ctx, a,
		request{
			op: "change the webhook endpoint", method: http.MethodPatch,
			path: join("admin/webhooks", id), body: change, once: true,
		})
}

// RemoveWebhook ends a webhook endpoint permanently.
func (a *Admin) RemoveWebhook(ctx context.Context, id string) (api.RemovedWebhook, error) {
	return ask[api.RemovedWebhook](ctx, a,
		request{
			op: "remove the webhook endpoint", method: http.MethodDelete,
			path: join("admin/webhooks", id), once: true,
		})
}

// RotateWebhookSecret gives a webhook endpoint another secret, which is in this answer alone.
func (a *Admin) RotateWebhookSecret(ctx context.Context, id string,
	how api.SecretRotation) (api.Webhook, error) {
	return ask[api.Webhook](ctx, a,
		request{
			op: "rotate the secret of the webhook endpoint", method: http.MethodPost,
			path: join("admin/webhooks", id, "rotate-secret"), body: how, named: true,
		})
}

// TestWebhook sends a webhook endpoint, and nobody else, an event of a type, and returns it.
func (a *Admin) TestWebhook(ctx context.Context, id string, which api.WebhookTest) (api.Event, error) {
	return ask[api.Event](ctx, a,
		request{
			op: "test the webhook endpoint", method: http.MethodPost,
			path: join("admin/webhooks", id, "test"), body: which, once: true,
		})
}

// ListWebhookDeliveries returns a page of what was sent to a webhook endpoint, newest events first, and
// how far the endpoint is. Give its NextCursor as Cursor for the next page; the last has none.
func (a *Admin) ListWebhookDeliveries(ctx context.Context, id string,
	p api.ListWebhookDeliveriesParams) (api.WebhookDeliveryPage, error) {
	return ask[api.WebhookDeliveryPage](ctx, a,
		request{
			op: "list deliveries to the webhook endpoint", path: join("admin/webhooks", id, "deliveries"),
			query: query(p),
		})
}

// ListWebhookReplays yields the replays of a webhook endpoint, newest first, as ListAccounts does.
func (a *Admin) ListWebhookReplays(ctx context.Context, id string,
	p api.ListWebhookReplaysParams) iter.Seq2[api.WebhookReplay, error] {
	return pages(p.Cursor, func(cursor string) ([]api.WebhookReplay, string, error) {
		p.Cursor = cursor
		page, err := ask[api.WebhookReplayPage](ctx, a,
			request{
				op: "list replays to the webhook endpoint", path: join("admin/webhooks", id, "replays"),
				query: query(p),
			})
		return page.Items, page.NextCursor, err
	})
}

// ReplayWebhook sends events to a webhook endpoint again, or with Count only says how many there are.
// It returns before they are sent: ListWebhookReplays tells how far it is.
func (a *Admin) ReplayWebhook(ctx context.Context, id string,
	which api.NewWebhookReplay) (api.WebhookReplay, error) {
	return ask[api.WebhookReplay](ctx, a,
		request{
			op: "replay to the webhook endpoint", method: http.MethodPost,
			path: join("admin/webhooks", id, "replays"), body: which, named: true,
		})
}

// SkipWebhook leaves out what is queued for a webhook endpoint, and says how many events that were.
// ReplayWebhook can still send them.
func (a *Admin) SkipWebhook(ctx context.Context, id string) (api.SkippedWebhook, error) {
	return ask[api.SkippedWebhook](ctx, a,
		request{
			op: "skip the queue of the webhook endpoint", method: http.MethodPost,
			path: join("admin/webhooks", id, "skip"),
		})
}

// ListEvents returns a page of what happened, as webhooks get it, and waits for it as long as p says.
// It ends with an Error of the code events_missing when events behind p.After are not there.
func (a *Admin) ListEvents(ctx context.Context, p api.ListEventsParams) (api.EventPage, error) {
	return ask[api.EventPage](ctx, a,
		request{
			op: "read the events", path: "admin/events", query: query(p),
			waits: time.Duration(p.Wait) * time.Second,
		})
}
