package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

// PlanSource is what a plan is about.
type PlanSource string

// What plans are about. GitHub's tiers of sponsorships have ids that its pages do not show, and a
// sponsor may choose an amount that has no tier: so sponsorships are told apart by what is paid.
const (
	FromMarketplace     PlanSource = "marketplace"      // the numeric id of a Marketplace plan
	FromSponsorsMonthly PlanSource = "sponsors-monthly" // sponsorships of so many cents a month at least
	FromSponsorsOnce    PlanSource = "sponsors-once"    // sponsorships of so many cents once at least
)

// Plan is what a plan of GitHub's gives.
type Plan struct {
	Source    PlanSource
	Number    int64 // the id, or the cents
	Days      int64 // how long one that is paid once lasts; 0 otherwise
	Tier      account.Tier
	Features  []string // never nil
	CreatedAt time.Time
}

// ID is how a plan is named: marketplace-435, sponsors-monthly-1000.
func (p Plan) ID() string { return fmt.Sprintf("%s-%d", p.Source, p.Number) }

// IsPlanID says whether a text can be the id of a plan.
func IsPlanID(text string) bool {
	for _, s := range []PlanSource{FromMarketplace, FromSponsorsMonthly, FromSponsorsOnce} {
		if n, ok := strings.CutPrefix(text, string(s)+"-"); ok {
			return n != "" && len(n) < 19 && strings.Trim(n, "0123456789") == ""
		}
	}
	return false
}

const maxDays = 3660

// check returns every fault of a plan, joined; each is an ErrInvalid.
func (p Plan) check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, failure.Invalid(fmt.Sprintf(format, args...)))
	}
	if !slices.Contains([]PlanSource{FromMarketplace, FromSponsorsMonthly, FromSponsorsOnce}, p.Source) {
		fault("give one of the id of a Marketplace plan, an amount a month, and an amount once")
	}
	if p.Number < 1 && p.Source != "" {
		fault("%d is neither the id of a plan nor an amount: give a number above 0", p.Number)
	}
	switch once := p.Source == FromSponsorsOnce; {
	case once && (p.Days < 1 || p.Days > maxDays):
		fault("what is paid once lasts for a fixed term: give days, from 1 to %d", maxDays)
	case !once && p.Days != 0:
		fault("days are for sponsorships that are paid once: the others last as long as they are paid")
	}
	if err := account.CheckTerms(p.Tier, p.Features); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// AddPlan says what a plan of GitHub's gives, in the place of what was said of it before, and gives
// it to all who bought it. ErrInvalid.
func (r *Registry) AddPlan(ctx context.Context, p Plan) (Plan, error) {
	p.Features, p.CreatedAt = account.WithoutRepeats(p.Features), r.cfg.Now()
	if err := p.check(); err != nil {
		return Plan{}, err
	}
	err := r.cfg.Store.AddPlan(ctx, p, r.cfg.Log.Act(ctx, audit.PlanMapped, "", p.ID(), audit.Details{
		"tier": p.Tier, "features": p.Features, "days": p.Days,
	}))
	if err != nil {
		return Plan{}, err
	}
	return p, r.Settle(ctx)
}

// Plans returns all plans, in the order of their ids.
func (r *Registry) Plans(ctx context.Context) ([]Plan, error) { return r.cfg.Store.Plans(ctx) }

// RemovePlan forgets what a plan gives. Who has bought it keeps what it gave, to the end of what
// was paid. ErrNotFound.
func (r *Registry) RemovePlan(ctx context.Context, id string) error {
	return r.cfg.Store.RemovePlan(ctx, id, r.cfg.Log.Act(ctx, audit.PlanUnmapped, "", id, nil))
}
