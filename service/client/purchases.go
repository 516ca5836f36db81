package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/pageflare/ci/service/api"
)

// ListPlans returns what plans of GitHub's give.
func (a *Admin) ListPlans(ctx context.Context) ([]api.Plan, error) {
	page, err := ask[api.PlanPage](ctx, a, request{op: "list plans", path: "admin/plans"})
	return page.Items, err
}

// AddPlan says what a plan gives, in the place of what was said of it before.
func (a *Admin) AddPlan(ctx context.Context, n api.NewPlan) (api.Plan, error) {
	return ask[api.Plan](ctx, a,
		request{op: "add the plan", method: http.MethodPost, path: "admin/plans", body: n})
}

// RemovePlan forgets what a plan gives.
func (a *Admin) RemovePlan(ctx context.Context, id string) (api.RemovedPlan, error) {
	return ask[api.RemovedPlan](ctx, a,
		request{op: "remove the plan", method: http.MethodDelete, path: join("admin/plans", id)})
}

// ListPurchases yields what accounts of GitHub have bought, as ListAccounts does.
func (a *Admin) ListPurchases(ctx context.Context,
	p api.ListPurchasesParams) iter.Seq2[api.Purchase, error] {
	return pages(p.Cursor, func(cursor string) ([]api.Purchase, string, error) {
		p.Cursor = cursor
		page, err := ask[api.PurchasePage](ctx, a,
			request{op: "list purchases", path: "admin/purchases", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// MatchPurchase says which account gets a purchase, and returns it as it is now.
func (a *Admin) MatchPurchase(ctx context.Context, purchase string,
	m api.PurchaseMatch) (api.Purchase, error) {
	return ask[api.Purchase](ctx, a,
		request{
			op: "match the purchase", method: http.MethodPost,
			path: join("admin/purchases", purchase, "match"), body: m,
		})
}

// ListReceived yields what GitHub delivered, newest first, as ListAccounts does.
func (a *Admin) ListReceived(ctx context.Context,
	p api.ListReceivedParams) iter.Seq2[api.GitHubDelivery, error] {
	return pages(p.Cursor, func(cursor string) ([]api.GitHubDelivery, string, error) {
		p.Cursor = cursor
		page, err := ask[api.DeliveryPage](ctx, a,
			request{op: "list deliveries of GitHub", path: "admin/received", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// RetryReceived processes a delivery of GitHub's once more.
func (a *Admin) RetryReceived(ctx context.Context, id string) (api.GitHubDelivery, error) {
	return ask[api.GitHubDelivery](ctx, a,
		request{
			op: "process the delivery once more", method: http.MethodPost,
			path: join("admin/received", id, "retry"),
		})
}
