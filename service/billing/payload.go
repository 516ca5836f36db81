package billing

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// The payloads of GitHub's webhooks. What is not read here may be anything, and what is read may be
// null or missing wherever GitHub's schemas or its history allow it; only what a notice cannot do
// without makes an ErrPayload.

// moment is a time as GitHub writes it: RFC 3339, a day, seconds since 1970, or null.
type moment struct{ time.Time }

// UnmarshalJSON reads any of them; what cannot be read is no time.
func (m *moment) UnmarshalJSON(text []byte) error {
	m.Time = time.Time{}
	var s string
	if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		m.Time = time.Unix(seconds, 0)
	} else if json.Unmarshal(text, &s) == nil {
		for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02 15:04:05 MST"} {
			if t, err := time.Parse(layout, s); err == nil {
				m.Time = t
				break
			}
		}
	}
	if y := m.Year(); y < 1971 || y > 9998 {
		m.Time = time.Time{}
		return nil
	}
	m.Time = m.UTC().Truncate(time.Millisecond)
	return nil
}

// person is an account of GitHub: a user or an organization.
type person struct {
	ID           int64  `json:"id"`
	Login        string `json:"login"`
	Email        string `json:"email"`
	BillingEmail string `json:"organization_billing_email"`
}

type marketplacePlan struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Monthly int64  `json:"monthly_price_in_cents"`
	Yearly  int64  `json:"yearly_price_in_cents"`
}

type marketplacePurchase struct {
	Account     *person          `json:"account"`
	Cycle       string           `json:"billing_cycle"`
	Units       int64            `json:"unit_count"`
	OnTrial     bool             `json:"on_free_trial"`
	TrialEnds   moment           `json:"free_trial_ends_on"`
	NextBilling moment           `json:"next_billing_date"`
	Plan        *marketplacePlan `json:"plan"`
}

func (p marketplacePurchase) offer() Offer {
	return Offer{PlanID: p.Plan.ID, Name: short(p.Plan.Name), Cents: max(p.Plan.Monthly, p.Plan.Yearly/12)}
}

// terms are what is bought from a time on.
func (p marketplacePurchase) terms(from time.Time, rank int) Terms {
	t := Terms{
		Active: true, Offer: p.offer(), Units: p.Units, Yearly: p.Cycle == "yearly", Since: from, NextBilling: p.NextBilling.Time,
	}
	t.Order = Order{At: from, Rank: rank, Cents: t.Offer.Cents, Units: t.Units, Plan: t.Offer.PlanID, Next: t.NextBilling}
	if p.OnTrial {
		t.TrialEnds = p.TrialEnds.Time
	}
	if t.TrialEnds.IsZero() {
		t.Order.Paid = 1
	}
	return t
}

// ParseMarketplace reads the payload of marketplace_purchase. ErrPayload. False: an action that is
// not known.
func ParseMarketplace(body []byte) (n Notice, known bool, err error) {
	var in struct {
		Action    string              `json:"action"`
		Effective moment              `json:"effective_date"`
		Sender    *person             `json:"sender"`
		Purchase  marketplacePurchase `json:"marketplace_purchase"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return n, false, fmt.Errorf("%w: marketplace_purchase is not as GitHub describes it", ErrPayload)
	}
	p, at := in.Purchase, in.Effective.Time
	if p.Account == nil || p.Account.ID <= 0 || p.Plan == nil || p.Plan.ID <= 0 || at.IsZero() {
		return n, false, fmt.Errorf("%w: marketplace_purchase needs account.id, plan.id and effective_date", ErrPayload)
	}
	n = Notice{Ref: Ref{Marketplace, strconv.FormatInt(p.Account.ID, 10)}, Buyer: p.Account.buyer(in.Sender, p.terms(at, rankChange).Order)}
	switch in.Action {
	case "purchased":
		n.Terms = p.terms(at, rankBegin)
	case "changed":
		n.Terms = p.terms(at, rankChange)
	case "cancelled":
		n.Terms = p.terms(at, rankEnd)
		n.Terms.Active, n.Terms.Ended = false, at
	case "pending_change", "pending_change_cancelled":
		n.Pending = Pending{At: at, Offer: p.offer(), Taken: in.Action == "pending_change_cancelled"}
		n.Pending.Order = p.terms(at, rankChange).Order
		if n.Pending.Taken {
			n.Pending.Order.Rank = rankEnd
		}
	default:
		return n, false, nil
	}
	return n, true, nil
}

// buyer is the account as the buyer, with the address where GitHub tells one.
func (p person) buyer(sender *person, o Order) Buyer {
	b := Buyer{Order: o, ID: p.ID, Login: short(p.Login), Email: p.BillingEmail}
	if b.Email == "" {
		b.Email = p.Email
	}
	if b.Email == "" && sender != nil && sender.ID == p.ID {
		b.Email = sender.Email
	}
	return b
}

// ParseSponsorship reads the payload of sponsorship, which was received at a time: most of its
// actions have no date. ErrPayload. False: an action that is not known.
func ParseSponsorship(body []byte, received time.Time) (n Notice, known bool, err error) {
	var in struct {
		Action      string `json:"action"`
		Effective   moment `json:"effective_date"`
		Sponsorship struct {
			NodeID      string           `json:"node_id"`
			CreatedAt   moment           `json:"created_at"`
			Sponsor     *person          `json:"sponsor"`
			Sponsorable *person          `json:"sponsorable"`
			Maintainer  *person          `json:"maintainer"`
			Tier        *sponsorshipTier `json:"tier"`
		} `json:"sponsorship"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return n, false, fmt.Errorf("%w: sponsorship is not as GitHub describes it", ErrPayload)
	}
	s := in.Sponsorship
	if ref, err := ParseRef(string(Sponsors) + ":" + s.NodeID); err != nil || s.CreatedAt.IsZero() || s.Tier == nil {
		return n, false, fmt.Errorf("%w: sponsorship needs node_id, created_at and tier", ErrPayload)
	} else {
		n.Ref = ref
	}
	order := Order{At: s.CreatedAt.Time, Seen: received.UTC().Truncate(time.Millisecond)}
	if s.Sponsor != nil && s.Sponsor.ID > 0 {
		n.Buyer = s.Sponsor.buyer(nil, order)
	}
	for _, m := range []*person{s.Maintainer, s.Sponsorable} {
		if m != nil {
			n.Maintainer = short(m.Login)
		}
	}
	terms := s.Tier.terms(s.CreatedAt.Time)
	switch in.Action {
	case "created":
		terms.Order = Order{At: order.At, Rank: rankBegin}
		n.Terms = terms
	case "tier_changed":
		order.Rank = rankChange
		terms.Order = order
		n.Terms = terms
	case "cancelled":
		order.Rank = rankEnd
		terms.Order, terms.Active, terms.Ended = order, false, order.Seen
		n.Terms = terms
	case "pending_cancellation", "pending_tier_change":
		n.Pending = Pending{
			Order: order, At: in.Effective.Time, Offer: terms.Offer, Cancels: in.Action == "pending_cancellation",
		}
	case "edited": // who may see it; it tells the tier of now, if no change of tier was told
		terms.Order = Order{At: order.At, Rank: rankBegin, Seen: order.Seen}
		n.Terms = terms
	default:
		return n, false, nil
	}
	return n, true, nil
}

type sponsorshipTier struct {
	Name  string `json:"name"`
	Cents int64  `json:"monthly_price_in_cents"`
	Once  bool   `json:"is_one_time"`
}

// terms are what a sponsor of the tier has since it began.
func (t sponsorshipTier) terms(since time.Time) Terms {
	return Terms{Active: true, Offer: Offer{Name: short(t.Name), Cents: t.Cents, Once: t.Once}, Since: since}
}

// short bounds a name that is stored for people.
func short(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:100])
	}
	return s
}
