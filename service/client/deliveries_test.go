package client_test

import (
	"testing"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/webhook/deliver"
)

// callsOfDeliveries makes every call about what is sent to a webhook endpoint, which has a test
// event that nobody has sent yet.
func callsOfDeliveries(t *testing.T, s *servicetest.Service, a *client.Admin, webhook string) {
	t.Helper()
	ctx := t.Context()
	must[api.Event](t)(a.TestWebhook(ctx, webhook, api.WebhookTest{Type: "policy.added"}))
	sealed, err := s.Store.Endpoint(ctx, webhook)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claimed, err := s.Store.ClaimSends(ctx, deliver.Claim{
		Owner: "test", Now: now, Until: now.Add(time.Minute),
		Of: []deliver.ClaimOf{{Receiver: deliver.Receiver{Sealed: sealed}, Limit: 2, Changed: true}},
	})
	if err != nil || len(claimed) != 1 || len(claimed[0].Sends) != 2 {
		t.Fatalf("ClaimSends of both test events: %d endpoints, %v", len(claimed), err)
	}
	page := must[api.WebhookDeliveryPage](t)(a.ListWebhookDeliveries(ctx, webhook, api.ListWebhookDeliveriesParams{State: "sending", Limit: 1}))
	if len(page.Items) != 1 || page.Items[0].State != "sending" || page.NextCursor == "" || page.Queue.Pending < 2 {
		t.Errorf("ListWebhookDeliveries = %+v", page)
	}
	rest := must[api.WebhookDeliveryPage](t)(a.ListWebhookDeliveries(ctx, webhook, api.ListWebhookDeliveriesParams{State: "sending", Limit: 1, Cursor: page.NextCursor}))
	if len(rest.Items) != 1 || rest.Items[0].Event == page.Items[0].Event || rest.NextCursor != "" {
		t.Errorf("ListWebhookDeliveries from %q = %+v", page.NextCursor, rest)
	}

	counted := must[api.WebhookReplay](t)(a.ReplayWebhook(ctx, webhook, api.NewWebhookReplay{Count: true}))
	if counted.State != "counted" || counted.Events < 1 || counted.ID != "" {
		t.Errorf("ReplayWebhook that counts = %+v", counted)
	}
	for range 2 {
		if got := must[api.WebhookReplay](t)(a.ReplayWebhook(ctx, webhook, api.NewWebhookReplay{Undelivered: true})); got.ID == "" || !got.Undelivered {
			t.Errorf("ReplayWebhook = %+v", got)
		}
	}
	if got := all(t, a.ListWebhookReplays(ctx, webhook, api.ListWebhookReplaysParams{Limit: 1})); len(got) != 2 || got[0].ID == got[1].ID {
		t.Errorf("ListWebhookReplays in pages of 1 = %+v, want both", got)
	}
	must[api.Event](t)(a.TestWebhook(ctx, webhook, api.WebhookTest{Type: "ping"})) // what is being sent is not skipped
	if got := must[api.SkippedWebhook](t)(a.SkipWebhook(ctx, webhook)); got.ID != webhook || got.Events != 1 {
		t.Errorf("SkipWebhook = %+v", got)
	}
}
