package command

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// Plan is the commands of plans and purchases.
type Plan struct {
	Add       planAdd       `cmd:"" help:"Say what a plan of GitHub's Marketplace, or a sponsorship, gives; also to those who bought it already."`
	List      planList      `cmd:"" help:"List the plans."`
	Remove    planRemove    `cmd:"" help:"Forget what a plan gives. Who has bought it keeps that to the end of what was paid."`
	Purchases planPurchases `cmd:"" help:"List what accounts of GitHub have bought, and who gets it."`
	Match     planMatch     `cmd:"" help:"Say which account gets a purchase, and what the same account of GitHub buys later."`
}

// dollars is an amount in US dollars, in cents.
type dollars int64

// UnmarshalText reads 10 or 10.50.
func (d *dollars) UnmarshalText(text []byte) error {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f < 0.01 || f > 1e6 || math.Abs(f*100-math.Round(f*100)) > 1e-6 {
		return fmt.Errorf("%.20q is not an amount in US dollars such as 10 or 10.50", text)
	}
	*d = dollars(math.Round(f * 100))
	return nil
}

type planAdd struct {
	Output
	PlanID         int64        `name:"plan-id" help:"Numeric id of a plan of the App's Marketplace listing." placeholder:"N" xor:"what"`
	SponsorMonthly dollars      `help:"Sponsorships of at least so many US dollars a month. Of several the dearest counts that is reached." placeholder:"USD" xor:"what"`
	SponsorOnce    dollars      `help:"Sponsorships of at least so many US dollars that are paid once; with --days." placeholder:"USD" xor:"what"`
	Days           int64        `help:"How long what is paid once lasts." placeholder:"N"`
	Tier           account.Tier `required:"" help:"free, pro or team."`
	Feature        []string     `help:"A feature of the license, such as critical_css. Can be given several times."`
}

// Run adds the plan.
func (c planAdd) Run(ctx context.Context, a *App) error {
	p := billing.Plan{Days: c.Days, Tier: c.Tier, Features: c.Feature}
	switch {
	case c.PlanID != 0:
		p.Source, p.Number = billing.FromMarketplace, c.PlanID
	case c.SponsorMonthly != 0:
		p.Source, p.Number = billing.FromSponsorsMonthly, int64(c.SponsorMonthly)
	case c.SponsorOnce != 0:
		p.Source, p.Number = billing.FromSponsorsOnce, int64(c.SponsorOnce)
	default:
		return Usagef("which plan? give --plan-id N, --sponsor-monthly USD, or --sponsor-once USD with --days N")
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		made, err := l.Billing.AddPlan(ctx, p)
		if err != nil {
			return refusal(err)
		}
		j := show.Plan(made)
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "for", planFor(j))
			Row(w, "tier", j.Tier)
			Row(w, "features", dash(strings.Join(j.Features, ",")))
		})
	})
}

// planFor is what a plan is about, for people.
func planFor(p api.Plan) string {
	usd := fmt.Sprintf("$%d.%02d", p.Cents/100, p.Cents%100)
	switch billing.PlanSource(p.Source) {
	case billing.FromSponsorsMonthly:
		return "sponsorships from " + usd + " a month"
	case billing.FromSponsorsOnce:
		return fmt.Sprintf("sponsorships from %s once, %d days", usd, p.Days)
	}
	return fmt.Sprintf("Marketplace plan %d", p.PlanID)
}

type planList struct{ Output }

// Run lists the plans.
func (c planList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Billing.Plans(ctx)
		if err != nil {
			return err
		}
		page := show.Plans(found)
		return c.Print(a.Stdout, page, func(w io.Writer) {
			Row(w, "ID", "FOR", "TIER", "FEATURES")
			for _, p := range page.Items {
				Row(w, p.ID, planFor(p), p.Tier, dash(strings.Join(p.Features, ",")))
			}
		})
	})
}

type planRemove struct {
	Output
	ID string `arg:"" help:"Id of the plan, such as marketplace-435."`
}

// Run removes the plan.
func (c planRemove) Run(ctx context.Context, a *App) error {
	if !billing.IsPlanID(c.ID) {
		return Usagef("that is no id of a plan, such as marketplace-435: see plan list")
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		if err := l.Billing.RemovePlan(ctx, c.ID); err != nil {
			return refusal(err)
		}
		j := api.RemovedPlan{ID: c.ID, Status: "removed"}
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "status", j.Status)
		})
	})
}

type planPurchases struct {
	Output
	Account   string `help:"Only those that this account gets." placeholder:"ID"`
	Unmatched bool   `help:"Only those that nobody gets."`
	Limit     limit  `default:"100" help:"How many to list at most."`
	After     string `help:"Continue after this purchase." placeholder:"ID"`
}

// Run lists the purchases.
func (c planPurchases) Run(ctx context.Context, a *App) error {
	q := billing.Query{Account: c.Account, Unmatched: c.Unmatched, Limit: c.Limit.andOne()}
	if c.After != "" {
		var err error
		if q.After, err = billing.ParseRef(c.After); err != nil {
			return Usagef("--after: %w", err)
		}
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Billing.Purchases(ctx, q)
		if err != nil {
			return err
		}
		page := show.Purchases(found, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
			Row(w, "PURCHASE", "BUYER", "PLAN", "STATUS", "ACCOUNT", "TIER", "VALID UNTIL", "MISSING", "PENDING")
			for _, p := range page.Items {
				pending := p.Pending
				if pending != "" {
					pending += " at " + p.PendingAt
				}
				Row(w, p.ID, dash(p.GithubLogin), dash(p.Plan), p.Status, dash(p.Account), dash(p.Tier), dash(p.ValidUntil), dash(p.Unmatched), dash(pending))
			}
		})
	})
}

type planMatch struct {
	Output
	ID      string `arg:"" help:"The purchase, such as marketplace:18404719."`
	Account string `required:"" help:"Id of the account that gets it." placeholder:"ID"`
}

// Run matches the purchase.
func (c planMatch) Run(ctx context.Context, a *App) error {
	ref, err := billing.ParseRef(c.ID)
	if err != nil {
		return Usagef("%w: see plan purchases", err)
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		p, err := l.Billing.Match(ctx, ref, c.Account)
		if err != nil {
			return refusal(err)
		}
		j := show.Purchase(p)
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "purchase", j.ID)
			Row(w, "account", dash(j.Account))
			Row(w, "tier", dash(j.Tier))
			Row(w, "valid until", dash(j.ValidUntil))
			Row(w, "missing", dash(j.Unmatched))
		})
	})
}
