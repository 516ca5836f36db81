package show

import (
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/webhook/out"
)

// Webhooks is a page of webhook endpoints.
func Webhooks(list []out.Endpoint, limit int) api.WebhookPage {
	list, next := cut(list, limit, func(e out.Endpoint) string { return e.ID })
	return api.WebhookPage{Items: Each(list, Webhook), NextCursor: next}
}

// Webhook is a webhook endpoint, without its secret.
func Webhook(e out.Endpoint) api.Webhook {
	w := api.Webhook{
		ID: e.ID, Account: e.AccountID, URL: e.URL, Events: Each(e.Events, func(t audit.EventType) string { return string(t) }),
		Status: string(e.Status), Reason: e.Reason, CreatedAt: Time(e.CreatedAt),
	}
	if !e.PreviousUntil.IsZero() {
		w.PreviousSecretUntil = Time(e.PreviousUntil)
	}
	return w
}

// NewWebhook is a webhook endpoint with its secret, which was just made.
func NewWebhook(e out.Endpoint) api.Webhook {
	w := Webhook(e)
	w.Secret = e.Secret.Reveal()
	return w
}

// RemovedWebhook is a webhook endpoint that was removed.
func RemovedWebhook(e out.Endpoint) api.RemovedWebhook {
	return api.RemovedWebhook{ID: e.ID, Status: string(out.Removed)}
}
