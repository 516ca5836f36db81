package admin

import (
	"fmt"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
	"github.com/pageflare/ci/service/webhook/in"
)

var (
	planID     = route.ID{Name: "plan", Fits: billing.IsPlanID, Refusal: fmt.Errorf("plan: %w", failure.ErrNotFound)}
	purchaseID = route.ID{Name: "purchase", Fits: func(s string) bool {
		_, err := billing.ParseRef(s)
		return err == nil
	}, Refusal: fmt.Errorf("purchase: %w", failure.ErrNotFound)}
	deliveryID = route.ID{Name: "guid", Fits: in.IsDeliveryID, Refusal: fmt.Errorf("delivery: %w", failure.ErrNotFound)}
)

// listPlans answers GET /_api/admin/plans.
func (h *Handlers) listPlans(c *gin.Context) error {
	list, err := h.Billing.Plans(c.Request.Context())
	return route.Answer(c, show.Plans, list, err)
}

// addPlan answers POST /_api/admin/plans.
func (h *Handlers) addPlan(c *gin.Context) error {
	var body api.NewPlan
	if err := route.JSON(c, &body); err != nil {
		return err
	}
	p := billing.Plan{Days: body.Days, Tier: account.Tier(body.Tier), Features: body.Features}
	given := 0
	for _, one := range []struct {
		source billing.PlanSource
		number int64
	}{
		{billing.FromMarketplace, body.PlanID}, {billing.FromSponsorsMonthly, body.SponsorMonthlyCents},
		{billing.FromSponsorsOnce, body.SponsorOnceCents},
	} {
		if one.number != 0 {
			p.Source, p.Number = one.source, one.number
			given++
		}
	}
	if given != 1 {
		return route.BadRequest("give one of plan_id, sponsor_monthly_cents and sponsor_once_cents")
	}
	p, err := h.Billing.AddPlan(c.Request.Context(), p)
	return route.Answer(c, show.Plan, p, err)
}

// removePlan answers DELETE /_api/admin/plans/{plan}.
func (h *Handlers) removePlan(c *gin.Context) error {
	err := h.Billing.RemovePlan(c.Request.Context(), c.Param("plan"))
	return route.Answer(c, func(id string) api.RemovedPlan { return api.RemovedPlan{ID: id, Status: "removed"} }, c.Param("plan"), err)
}

// listPurchases answers GET /_api/admin/purchases.
func (h *Handlers) listPurchases(c *gin.Context) error {
	cursor, limit, query, err := route.List(c, "account", "unmatched")
	if err != nil {
		return err
	}
	q := billing.Query{Account: query.Get("account"), Limit: limit + 1}
	if q.Unmatched, err = route.Yes(query, "unmatched"); err != nil {
		return err
	}
	if cursor != "" {
		if q.After, err = billing.ParseRef(cursor); err != nil {
			return failure.Cursor(err.Error())
		}
	}
	if q.Account != "" {
		if _, err := h.Accounts.Account(c.Request.Context(), q.Account); err != nil {
			return err
		}
	}
	list, err := h.Billing.Purchases(c.Request.Context(), q)
	return route.Answer(c, func(list []billing.Purchase) api.PurchasePage { return show.Purchases(list, limit) }, list, err)
}

// matchPurchase answers POST /_api/admin/purchases/{purchase}/match.
func (h *Handlers) matchPurchase(c *gin.Context) error {
	var body api.PurchaseMatch
	if err := route.JSON(c, &body); err != nil {
		return err
	}
	if !opaque.OfAccount.Fits(body.Account) {
		return accountID.Refusal
	}
	ref, err := billing.ParseRef(c.Param("purchase"))
	if err != nil {
		return err
	}
	p, err := h.Billing.Match(c.Request.Context(), ref, body.Account)
	return route.Answer(c, show.Purchase, p, err)
}

// listReceived answers GET /_api/admin/received.
func (h *Handlers) listReceived(c *gin.Context) error {
	cursor, limit, query, err := route.List(c, "state", "event")
	if err != nil {
		return err
	}
	q := in.Query{State: in.State(query.Get("state")), Event: query.Get("event"), After: cursor, Limit: limit + 1}
	if q.State != "" && !slices.Contains(in.States, q.State) {
		return route.BadRequest("state is none of received, processed, failed and ignored")
	}
	list, err := h.Received.Deliveries(c.Request.Context(), q)
	return route.Answer(c, func(list []in.Record) api.DeliveryPage { return show.Deliveries(list, limit) }, list, err)
}

// retryReceived answers POST /_api/admin/received/{guid}/retry.
func (h *Handlers) retryReceived(c *gin.Context) error {
	d, err := h.Received.Retry(c.Request.Context(), c.Param("guid"))
	return route.Answer(c, show.Delivery, d, err)
}
