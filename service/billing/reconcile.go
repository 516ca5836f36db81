package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/github"
)

// GitHub delivers webhooks of Marketplace and Sponsors once, and nobody can ask for them again. No
// webhook at all tells that a cycle was paid. So what is known is compared with GitHub's lists. What
// a list shows is as of the time at which it was asked for, and so later than every notice that took
// effect before. A purchase ends by it only when GitHub says of that very buyer, or to a maintainer of all
// of the own sponsorships, that there is none: an error ends nothing.

// ReconcileEvery is how often.
const ReconcileEvery = time.Hour

// lag is how long GitHub's lists may be without what a webhook told.
const lag = 10 * time.Minute

// settled says whether a purchase that is not in a list may end by that.
func (p Purchase) settled(asked time.Time) bool { return asked.Sub(p.UpdatedAt) >= lag }

// ReconcileMarketplace compares purchases with the Marketplace listing of the App whose client this
// is. An App without a listing has nothing to compare.
func (r *Registry) ReconcileMarketplace(ctx context.Context, client *github.Client) error {
	asked := r.cfg.Now()
	accounts, err := client.MarketplaceAccounts(ctx)
	if fault := github.Explain(ctx, err); err != nil && fault.Kind == github.NotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("compare purchases with GitHub's Marketplace: %w", err)
	}
	seen := map[string]bool{}
	var faults []error
	for _, a := range accounts {
		n, ok := observed(a, asked)
		if !ok {
			continue
		}
		seen[n.Ref.Key] = true
		if err := r.Hear(ctx, n); err != nil {
			faults = append(faults, fmt.Errorf("purchase %s: %w", n.Ref, err))
		}
	}
	return errors.Join(append(faults, r.endMissing(ctx, client, seen, asked))...)
}

// observed is what GitHub's list says of a buyer; false: nothing that can be used.
func observed(a github.MarketplaceAccount, asked time.Time) (Notice, bool) {
	p := a.Purchase
	if a.ID <= 0 || p == nil || p.Plan == nil || p.Plan.ID <= 0 {
		return Notice{}, false
	}
	bought := marketplacePurchase{
		Cycle: p.Cycle, Units: p.Units, OnTrial: p.OnTrial, TrialEnds: momentOf(p.TrialEnds), NextBilling: momentOf(p.NextBilling),
		Plan: &marketplacePlan{ID: p.Plan.ID, Name: p.Plan.Name, Monthly: p.Plan.Monthly, Yearly: p.Plan.Yearly},
	}
	buyer := person{ID: a.ID, Login: a.Login, Email: a.Email, BillingEmail: a.BillingEmail}
	return Notice{
		Ref: Ref{Marketplace, strconv.FormatInt(a.ID, 10)}, Terms: bought.terms(asked, rankBegin), Buyer: buyer.buyer(nil, Order{At: asked}), Observed: true,
	}, true
}

func momentOf(text string) (m moment) {
	_ = m.UnmarshalJSON([]byte(strconv.Quote(text))) // what cannot be read is no time
	return m
}

// endMissing ends purchases that are in no list, when GitHub confirms it of each.
func (r *Registry) endMissing(ctx context.Context, client *github.Client, seen map[string]bool, asked time.Time) error {
	q := Query{Source: Marketplace, Active: true, Limit: pageSize}
	for {
		page, err := r.cfg.Store.Purchases(ctx, q)
		if err != nil {
			return err
		}
		for _, p := range page {
			if seen[p.Ref.Key] || !p.Terms.Order.At.Before(asked) || !p.settled(asked) {
				continue
			}
			if err := r.confirm(ctx, client, p, asked); err != nil {
				return fmt.Errorf("purchase %s: %w", p.Ref, err)
			}
		}
		if len(page) < pageSize {
			return nil
		}
		q.After = page[len(page)-1].Ref
	}
}

func (r *Registry) confirm(ctx context.Context, client *github.Client, p Purchase, asked time.Time) error {
	found, err := client.MarketplaceAccount(ctx, p.Buyer.ID)
	if err == nil {
		if n, ok := observed(found, asked); ok {
			return r.Hear(ctx, n)
		}
		return nil
	}
	if github.Explain(ctx, err).Kind != github.NotFound {
		return err
	}
	over := p.Terms
	over.Active, over.Ended, over.Order = false, asked, Order{At: asked, Rank: rankEnd}
	return r.Hear(ctx, Notice{Ref: p.Ref, Terms: over, Observed: true})
}

// ReconcileSponsors compares sponsorships with GitHub's lists: of every maintainer whose sponsorships
// we heard of, and of the one whose token the client has. Where no plan is about sponsorships and none
// is known, nothing is asked.
func (r *Registry) ReconcileSponsors(ctx context.Context, client *github.Client) error {
	known, err := r.sponsorships(ctx)
	if err != nil {
		return err
	}
	plans, err := r.cfg.Store.Plans(ctx)
	if err != nil {
		return err
	}
	if len(known) == 0 && !slices.ContainsFunc(plans, func(p Plan) bool { return p.Source != FromMarketplace }) {
		return nil
	}
	me, err := client.Me(ctx)
	if err != nil {
		return fmt.Errorf("compare sponsorships with GitHub's: %w", err)
	}
	maintainers := []string{me}
	for _, p := range known {
		if p.Maintainer != "" && !slices.ContainsFunc(maintainers, p.of) {
			maintainers = append(maintainers, p.Maintainer)
		}
	}
	var faults []error
	for i, m := range maintainers {
		asked := r.cfg.Now()
		list, err := client.Sponsorships(ctx, m)
		if err != nil {
			sponsored := slices.ContainsFunc(known, func(p Purchase) bool { return p.of(me) })
			if fault := github.Explain(ctx, err); i == 0 && fault.Kind == github.Refused && !sponsored {
				continue // who has the token is not sponsored
			}
			faults = append(faults, fmt.Errorf("compare sponsorships with GitHub's: %w", err))
			continue
		}
		seen, err := r.hearSponsors(ctx, m, known, list, asked)
		faults = append(faults, err)
		if i == 0 { // others may not see all
			faults = append(faults, r.endAbsent(ctx, m, known, seen, asked))
		}
	}
	return errors.Join(faults...)
}

func (r *Registry) sponsorships(ctx context.Context) (all []Purchase, err error) {
	q := Query{Source: Sponsors, Limit: pageSize}
	for {
		page, err := r.cfg.Store.Purchases(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < pageSize {
			return all, nil
		}
		q.After = page[len(page)-1].Ref
	}
}

// of says whether a purchase is a sponsorship of a maintainer.
func (p Purchase) of(maintainer string) bool { return strings.EqualFold(p.Maintainer, maintainer) }

// hearSponsors hears each sponsorship of a maintainer's list, and returns which those are.
func (r *Registry) hearSponsors(ctx context.Context, maintainer string, known []Purchase, list []github.Sponsorship, asked time.Time) (map[Ref]bool, error) {
	seen := map[Ref]bool{}
	var faults []error
	for _, s := range list {
		ref, begun, ok := sameSponsorship(maintainer, known, s)
		if !ok {
			ref, begun = Ref{Sponsors, s.NodeID}, s.CreatedAt.UTC()
			if _, err := ParseRef(ref.String()); err != nil {
				continue
			}
		}
		seen[ref] = true
		n := Notice{Ref: ref, Maintainer: maintainer, Observed: true, Terms: Terms{
			Order:  Order{At: begun, Rank: rankChange, Seen: asked},
			Active: true, Offer: Offer{Name: short(s.Tier), Cents: s.Cents, Once: s.Once}, Since: begun,
		}}
		if s.SponsorID > 0 {
			n.Buyer = Buyer{Order: Order{At: begun, Seen: asked}, ID: s.SponsorID, Login: short(s.Login)}
		}
		faults = append(faults, r.Hear(ctx, n))
	}
	return seen, errors.Join(faults...)
}

// endAbsent hears that those sponsorships of a maintainer are over that are not in the list, as it was
// when it was asked for. It is a change as others are, which a later list takes back: whoever was only
// missing goes on.
func (r *Registry) endAbsent(ctx context.Context, maintainer string, known []Purchase, seen map[Ref]bool, asked time.Time) error {
	var faults []error
	for _, p := range known {
		if !p.of(maintainer) || seen[p.Ref] || !p.Terms.Active || p.Terms.Offer.Once || !p.settled(asked) {
			continue
		}
		over := p.Terms
		over.Active, over.Ended = false, asked
		over.Order = Order{At: p.Terms.Order.At, Rank: rankChange, Seen: asked}
		faults = append(faults, r.Hear(ctx, Notice{Ref: p.Ref, Terms: over, Observed: true}))
	}
	return errors.Join(faults...)
}

// sameSponsorship finds a sponsorship among those that are known: by its id, of which GitHub has two
// forms, or by when it began and who it may be of.
func sameSponsorship(maintainer string, known []Purchase, s github.Sponsorship) (Ref, time.Time, bool) {
	fits := func(p Purchase) bool {
		return p.of(maintainer) && p.Terms.Order.At.Equal(s.CreatedAt) && (p.Buyer.ID == 0 || p.Buyer.ID == s.SponsorID)
	}
	for _, by := range []func(Purchase) bool{func(p Purchase) bool { return p.Ref.Key == s.NodeID }, fits} {
		if i := slices.IndexFunc(known, by); i >= 0 {
			at := known[i].Terms.Order.At
			if at.IsZero() {
				at = s.CreatedAt.UTC()
			}
			return known[i].Ref, at, true
		}
	}
	return Ref{}, time.Time{}, false
}
