package client_test

import (
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/webhook/in"
)

// callsOfPurchases makes every call about plans, purchases and deliveries of GitHub.
func callsOfPurchases(t *testing.T, s *servicetest.Service, a *client.Admin) {
	t.Helper()
	ctx := t.Context()
	plan := must[api.Plan](t)(a.AddPlan(ctx, api.NewPlan{PlanID: 435, Tier: "pro"}))
	if got := must[[]api.Plan](t)(a.ListPlans(ctx)); len(got) != 1 || got[0].ID != plan.ID {
		t.Errorf("ListPlans = %+v", got)
	}
	n, _, err := billing.ParseMarketplace(githubtest.Payload(t, "marketplace_purchase", "purchased", githubtest.Set{
		"marketplace_purchase.next_billing_date": "2099-03-01T00:00:00Z",
	}))
	if err == nil {
		err = s.Parts.Billing.Hear(ctx, n)
	}
	if err == nil {
		_, err = s.Store.ReceiveDelivery(ctx, in.Delivery{ID: "g-1", Event: "known", Body: []byte("{}"), ReceivedAt: time.Now()}, in.Ignored, time.Time{})
	}
	if err != nil {
		t.Fatal(err)
	}
	bought := all(t, a.ListPurchases(ctx, api.ListPurchasesParams{Limit: 1}))
	if len(bought) != 1 || bought[0].Account == "" {
		t.Fatalf("ListPurchases = %+v", bought)
	}
	other, _ := s.Account(t, "other@example.com")
	if got := must[api.Purchase](t)(a.MatchPurchase(ctx, bought[0].ID, api.PurchaseMatch{Account: other.ID})); got.Account != other.ID {
		t.Errorf("MatchPurchase = %+v", got)
	}
	must[api.RemovedPlan](t)(a.RemovePlan(ctx, plan.ID))
	if got := all(t, a.ListReceived(ctx, api.ListReceivedParams{State: "ignored", Limit: 1})); len(got) != 1 || got[0].ID != "g-1" {
		t.Errorf("ListReceived = %+v", got)
	}
	if got := must[api.GitHubDelivery](t)(a.RetryReceived(ctx, "g-1")); got.State != "received" {
		t.Errorf("RetryReceived = %+v", got)
	}
}
