package billing

import (
	"cmp"
	"time"
)

// A Purchase is three registers: its terms, its buyer, and what is to change. Each has the Order of
// the notice that set it, and a notice sets a register exactly when its own order comes later. The
// greatest of a set is the same however the set is gone through: so the order in which notices come
// does not matter, and one that comes again changes nothing.

// Order tells which of two notices about one purchase GitHub meant later. It is made of what a
// notice says, the more telling first.
type Order struct {
	// At is when the notice takes effect; of a sponsorship, when that was made.
	At time.Time `json:"at,omitzero"`
	// Rank tells notices of one moment apart, for GitHub's dates may be whole days: a purchase, then
	// changes of it, then its end.
	Rank int `json:"rank,omitempty"`
	// Cents, Units, Plan, Next and Paid tell changes of one moment apart: what costs less begins with a
	// new cycle, so what costs more was chosen after it.
	Cents int64     `json:"cents,omitempty"`
	Units int64     `json:"units,omitempty"`
	Plan  int64     `json:"plan,omitempty"`
	Next  time.Time `json:"next,omitzero"`
	Paid  int       `json:"paid,omitempty"` // 1 after a trial
	// Seen is when it was received, of sponsorships alone, whose notices have no date: when they
	// were stored, which is the same in whatever order they are processed.
	Seen time.Time `json:"seen,omitzero"`
}

// The ranks.
const (
	rankBegin = iota + 1
	rankChange
	rankEnd
)

// Compare is below 0 when o comes before p.
func (o Order) Compare(p Order) int {
	return cmp.Or(o.At.Compare(p.At), cmp.Compare(o.Rank, p.Rank), o.Seen.Compare(p.Seen), cmp.Compare(o.Cents, p.Cents),
		cmp.Compare(o.Units, p.Units), cmp.Compare(o.Plan, p.Plan), o.Next.Compare(p.Next), cmp.Compare(o.Paid, p.Paid))
}

// told is when what a notice says came to be: of a sponsorship, when it was heard of.
func (o Order) told() time.Time {
	if o.Seen.IsZero() {
		return o.At
	}
	return o.Seen
}

// Offer is what can be bought.
type Offer struct {
	PlanID int64  `json:"plan_id,omitempty"` // of the Marketplace
	Name   string `json:"name,omitempty"`    // for people
	Cents  int64  `json:"cents,omitempty"`   // a month
	Once   bool   `json:"once,omitempty"`    // a sponsorship that is paid once
}

// same says whether two offers are one. Neither a new name nor, of the Marketplace's plans, a new
// price makes another one.
func (o Offer) same(p Offer) bool {
	return o.PlanID == p.PlanID && o.Once == p.Once && (o.PlanID != 0 || o.Cents == p.Cents)
}

// Terms are what was bought, on which terms.
type Terms struct {
	Order       Order     `json:"order"`
	Active      bool      `json:"active,omitempty"`
	Offer       Offer     `json:"offer"`
	Units       int64     `json:"units,omitempty"`
	Yearly      bool      `json:"yearly,omitempty"`
	Since       time.Time `json:"since,omitzero"`        // when they took effect
	TrialEnds   time.Time `json:"trial_ends,omitzero"`   // zero: no trial
	NextBilling time.Time `json:"next_billing,omitzero"` // zero: not known, or never
	Ended       time.Time `json:"ended,omitzero"`        // when it is not active
}

// known says whether anything was heard but what is to change.
func (t Terms) known() bool { return t.Order != (Order{}) }

// same says whether terms are the same, whoever told them.
func (t Terms) same(o Terms) bool {
	return t.Active == o.Active && t.Offer.PlanID == o.Offer.PlanID && t.Offer.Cents == o.Offer.Cents && t.Offer.Once == o.Offer.Once &&
		t.Units == o.Units && t.Yearly == o.Yearly && t.TrialEnds.Equal(o.TrialEnds) && t.NextBilling.Equal(o.NextBilling)
}

// Buyer is who bought it.
type Buyer struct {
	Order Order  `json:"order"`
	ID    int64  `json:"id,omitempty"` // of the account of GitHub; 0: not told
	Login string `json:"login,omitempty"`
	Email string `json:"email,omitempty"` // until an account of ours was found by it
}

// after says whether a buyer was told later than another one; of two that were told at once one is
// chosen, whichever came first.
func (b Buyer) after(o Buyer) bool {
	return cmp.Or(b.Order.Compare(o.Order), cmp.Compare(b.Login, o.Login), cmp.Compare(b.Email, o.Email)) > 0
}

// Pending is what is to change. It is for people: what changes the license is the notice that the
// change took effect.
type Pending struct {
	Order   Order     `json:"order"`
	At      time.Time `json:"at,omitzero"`
	Offer   Offer     `json:"offer"`
	Cancels bool      `json:"cancels,omitempty"`
	Taken   bool      `json:"taken,omitempty"` // it was taken back
}

// Purchase is what one account of GitHub has bought, as far as we know.
type Purchase struct {
	Ref        Ref       `json:"-"`
	AccountID  string    `json:"-"` // of ours, that gets it; empty: none yet
	Unmatched  string    `json:"-"` // what is missing: MissingPlan, MissingBuyer; empty: nothing
	UpdatedAt  time.Time `json:"-"`
	Terms      Terms     `json:"terms"`
	Buyer      Buyer     `json:"buyer"`
	Pending    Pending   `json:"pending"`
	Maintainer string    `json:"maintainer,omitempty"` // login of who is sponsored
	Granted    *License  `json:"granted,omitempty"`    // what it gives, or gave last; nil: nothing so far
	Mapped     *Mapped   `json:"mapped,omitempty"`     // from what Granted follows; nil: no plan fitted so far
}

// Mapped is what a purchase gave when a plan last said so.
type Mapped struct {
	Offer   Offer   `json:"offer"` // what was bought then
	License License `json:"license"`
}

// What can be missing.
const (
	MissingPlan  = "plan"
	MissingBuyer = "buyer"
)

// Status is active, ended or unknown.
func (p Purchase) Status() string {
	switch {
	case !p.Terms.known():
		return "unknown"
	case p.Terms.Active:
		return "active"
	}
	return "ended"
}

// Notice is what GitHub said of a purchase. A register that it says nothing of has the zero Order.
type Notice struct {
	Ref        Ref
	Terms      Terms
	Buyer      Buyer
	Pending    Pending
	Maintainer string
	// Observed says that it was read from GitHub's lists and not told by a webhook: terms that are
	// known already are no news.
	Observed bool
}

// with is the purchase after a notice. It is pure, and its results are the same for every order of
// the same notices.
func (p Purchase) with(n Notice) Purchase {
	if p.Ref == (Ref{}) {
		p.Ref = n.Ref
	}
	if p.Maintainer == "" {
		p.Maintainer = n.Maintainer
	}
	if n.Terms.Order.Compare(p.Terms.Order) > 0 && !(n.Observed && p.Terms.same(n.Terms)) {
		p.Terms = n.Terms
	}
	if n.Buyer.ID != 0 && n.Buyer.after(p.Buyer) && !(n.Observed && p.Buyer.ID != 0 && p.Buyer.Login == n.Buyer.Login) {
		p.Buyer = n.Buyer
	}
	if n.Pending.Order.Compare(p.Pending.Order) > 0 {
		p.Pending = n.Pending
	}
	return p
}
