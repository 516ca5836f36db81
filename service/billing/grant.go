package billing

import (
	"cmp"
	"slices"
	"time"

	"github.com/pageflare/ci/service/account"
)

// How long a license lasts beyond what GitHub says.
const (
	// grace bridges a payment that GitHub tries again, and an outage: no webhook tells that a cycle
	// was paid, the hourly reconciliation does.
	grace = 7 * 24 * time.Hour
	// trialGrace bridges one reconciliation, which tells that a trial was followed by a paid cycle.
	// A trial does not get more.
	trialGrace = 2 * time.Hour
	// ahead is how long before its end a license gives way to another: the next time that anyone
	// looks may be an hour away.
	ahead = 90 * time.Minute
)

// noEnd is the end of what has none: it lasts until GitHub says that it ended.
var noEnd = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// grant is what a purchase gives under the plans, until when; false: no plan says, or nothing is
// known of it.
func (p Purchase) grant(plans []Plan) (License, bool) {
	plan, ok := planOf(p.Ref.Source, p.Terms.Offer, plans)
	if !ok || !p.Terms.known() {
		return License{}, false
	}
	return License{Tier: plan.Tier, Features: plan.Features, ValidUntil: p.Terms.end(plan).UTC().Truncate(time.Millisecond)}, true
}

// mapped is the purchase with what it gives under the plans. Where none fits, it keeps what it gave
// last: to its end when it has ended, and to when it became another offer, which nobody has said of
// that it gives anything. That is worked out from what was mapped, and never from what is left of it:
// so it does not matter in what order the notices came since. What was paid once keeps its term.
func (p Purchase) mapped(plans []Plan) (_ Purchase, fits bool) {
	license, fits := p.grant(plans)
	if fits {
		p.Mapped = &Mapped{p.Terms.Offer, license}
	}
	if p.Mapped == nil {
		return p, false
	}
	license = p.Mapped.License
	var end time.Time
	switch {
	case fits, p.Mapped.Offer.Once:
	case !p.Terms.Active:
		end = p.Terms.Ended
	case !p.Mapped.Offer.same(p.Terms.Offer):
		end = p.Terms.Order.told()
	}
	if !end.IsZero() && end.Before(license.ValidUntil) {
		license.ValidUntil = end.UTC().Truncate(time.Millisecond)
	}
	p.Granted = &license
	return p, fits
}

// end is when what was bought ends.
func (t Terms) end(p Plan) time.Time {
	switch {
	case t.Offer.Once: // a fixed term, whatever comes after
		return t.Since.AddDate(0, 0, int(p.Days))
	case !t.Active:
		return t.Ended
	case !t.TrialEnds.IsZero():
		return t.TrialEnds.Add(trialGrace)
	case !t.NextBilling.IsZero():
		return t.NextBilling.Add(grace)
	case p.Source != FromMarketplace || t.Offer.Cents == 0:
		return noEnd
	case t.Yearly:
		return t.Since.AddDate(1, 0, 0).Add(grace)
	}
	return t.Since.AddDate(0, 1, 0).Add(grace)
}

// planOf finds the plan of an offer: that with its id, or for sponsorships the dearest one that it
// reaches.
func planOf(s Source, o Offer, plans []Plan) (best Plan, ok bool) {
	for _, p := range plans {
		fits := false
		switch p.Source {
		case FromMarketplace:
			fits = s == Marketplace && p.Number == o.PlanID
		case FromSponsorsMonthly:
			fits = s == Sponsors && !o.Once && p.Number <= o.Cents
		case FromSponsorsOnce:
			fits = s == Sponsors && o.Once && p.Number <= o.Cents
		}
		if fits && (!ok || p.Number > best.Number) {
			best, ok = p, true
		}
	}
	return best, ok
}

// settle is the license that an account has: of what the operator gave it and of all that its
// purchases give, the highest tier of those that last, then the one that lasts longest; with the
// features of all that last. So a purchase only adds. When nothing lasts, it is what the operator
// gave, or else the free tier, over since the last purchase ended. What the operator gave without an
// end of its own lasts as long as the purchases.
func settle(base *License, grants []License, now time.Time) License {
	all := slices.Clone(grants)
	over := License{Tier: account.Free, Features: []string{}}
	for _, g := range grants {
		if g.ValidUntil.After(over.ValidUntil) {
			over.ValidUntil = g.ValidUntil
		}
	}
	if base != nil && base.ValidUntil.IsZero() {
		all = append(all, License{base.Tier, base.Features, over.ValidUntil})
		base = nil
	}
	if base != nil {
		all = append(all, *base)
	}
	lasting := lastingAt(all, now.Add(ahead))
	if len(lasting) == 0 {
		lasting = lastingAt(all, now)
	}
	if len(lasting) == 0 {
		if base != nil {
			return *base
		}
		return over
	}
	slices.SortStableFunc(lasting, func(a, b License) int {
		return -cmp.Or(cmp.Compare(rankOf(a.Tier), rankOf(b.Tier)), a.ValidUntil.Compare(b.ValidUntil))
	})
	out := lasting[0]
	out.Features = []string{}
	for _, l := range lasting {
		for _, f := range l.Features {
			if !slices.Contains(out.Features, f) && len(out.Features) < account.MaxFeatures {
				out.Features = append(out.Features, f)
			}
		}
	}
	return out
}

// rebase is what the operator gives an account that has a license where billing had applied another
// one: of its fields only those that differ, for the others come from purchases, and would outlast
// them. Without a base that lasts, the others are the free tier, no features, and no end of its own;
// but an end that the operator sets is that of the whole license, of which nothing else says what it
// is.
func rebase(base *License, applied, has License, now time.Time) License {
	sameEnd := func(a, b License) bool { return a.ValidUntil.UnixMilli() == b.ValidUntil.UnixMilli() }
	none := base == nil || !base.ValidUntil.IsZero() && !now.Before(base.ValidUntil) && !sameEnd(*base, applied)
	moved := !sameEnd(has, applied)
	if moved && (none || base.ValidUntil.IsZero()) {
		return has
	}
	out := License{Tier: account.Free, Features: []string{}}
	if !none {
		out = *base
	}
	if has.Tier != applied.Tier {
		out.Tier = has.Tier
	}
	if !slices.Equal(has.Features, applied.Features) {
		out.Features = has.Features
	}
	if moved {
		out.ValidUntil = has.ValidUntil
	}
	return out
}

func lastingAt(all []License, t time.Time) (lasting []License) {
	for _, l := range all {
		if t.Before(l.ValidUntil) {
			lasting = append(lasting, l)
		}
	}
	return lasting
}

func rankOf(t account.Tier) int {
	return slices.Index([]account.Tier{account.Free, account.Pro, account.Team}, t)
}
