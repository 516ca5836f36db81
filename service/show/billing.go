package show

import (
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/webhook/in"
)

// Plan is what a plan of GitHub's gives.
func Plan(p billing.Plan) api.Plan {
	out := api.Plan{
		ID: p.ID(), Source: string(p.Source), Days: p.Days, Tier: string(p.Tier), Features: p.Features, CreatedAt: Time(p.CreatedAt),
	}
	if p.Source == billing.FromMarketplace {
		out.PlanID = p.Number
	} else {
		out.Cents = p.Number
	}
	return out
}

// Plans are all plans, which are few: all are on one page.
func Plans(list []billing.Plan) api.PlanPage { return api.PlanPage{Items: Each(list, Plan)} }

// Purchase is what an account of GitHub has bought.
func Purchase(p billing.Purchase) api.Purchase {
	t := p.Terms
	out := api.Purchase{
		ID: p.Ref.String(), Source: string(p.Ref.Source), Account: p.AccountID, GithubID: p.Buyer.ID, GithubLogin: p.Buyer.Login,
		Status: p.Status(), Unmatched: p.Unmatched, PlanID: t.Offer.PlanID, Plan: t.Offer.Name, Cents: t.Offer.Cents, Units: t.Units,
		Once: t.Offer.Once, UpdatedAt: Time(p.UpdatedAt),
	}
	if p.Granted != nil {
		out.Tier, out.ValidUntil = string(p.Granted.Tier), Time(p.Granted.ValidUntil)
	}
	if !t.TrialEnds.IsZero() {
		out.TrialEndsAt = Time(t.TrialEnds)
	}
	if !t.NextBilling.IsZero() {
		out.NextBillingAt = Time(t.NextBilling)
	}
	if ch := p.Pending; !ch.At.IsZero() && !ch.Taken && ch.At.After(p.UpdatedAt) {
		out.PendingAt, out.Pending = Time(ch.At), ch.Offer.Name
		if ch.Cancels {
			out.Pending = "cancelled"
		}
	}
	return out
}

// Purchases is a page of purchases.
func Purchases(list []billing.Purchase, limit int) api.PurchasePage {
	list, next := cut(list, limit, func(p billing.Purchase) string { return p.Ref.String() })
	return api.PurchasePage{Items: Each(list, Purchase), NextCursor: next}
}

// Delivery is a delivery of GitHub's.
func Delivery(d in.Record) api.GitHubDelivery {
	return api.GitHubDelivery{
		ID: d.ID, Event: d.Event, Action: d.Action, State: string(d.State), Error: d.Error, Attempts: d.Attempts,
		ReceivedAt: Time(d.ReceivedAt), ProcessedAt: Optional(d.ProcessedAt), DueAt: Optional(d.DueAt),
	}
}

// Deliveries is a page of deliveries of GitHub's.
func Deliveries(list []in.Record, limit int) api.DeliveryPage {
	list, next := cut(list, limit, func(d in.Record) string { return d.ID })
	return api.DeliveryPage{Items: Each(list, Delivery), NextCursor: next}
}
