package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/failure"
)

var purchaseRecords = suite{
	"plans are there once, and are removed once":              plans,
	"purchases, their account and its books change together":  bill,
	"what happened to a purchase is found as it is narrowed":  findPurchases,
	"a deleted account takes the name of the buyer with it":   deletedBuyer,
	"an address and an account of GitHub lead to one account": whoBuys,
	"the end of a license that billing changed is told anew":  billedEnd,
}

func plans(t *testing.T, s Store) {
	ctx := t.Context()
	p := billing.Plan{Source: billing.FromMarketplace, Number: 435, Tier: account.Pro, Features: []string{"a"}, CreatedAt: at}
	once := billing.Plan{Source: billing.FromSponsorsOnce, Number: 5000, Days: 30, Tier: account.Team, Features: []string{}, CreatedAt: at}
	must(t, s.AddPlan(ctx, p, did(at)))
	must(t, s.AddPlan(ctx, p, did(at))) // the same
	must(t, s.AddPlan(ctx, once, did(at)))
	same(t, 2, lines(t, s))
	p.Features = []string{"a", "b"}
	must(t, s.AddPlan(ctx, p, did(at)))
	same(t, 3, lines(t, s))
	got, err := s.Plans(ctx)
	must(t, err)
	same(t, []billing.Plan{p, once}, got)
	must(t, s.RemovePlan(ctx, p.ID(), did(at)))
	wantErr(t, "RemovePlan(twice)", s.RemovePlan(ctx, p.ID(), did(at)), failure.ErrNotFound)
}

func purchase(key string, account string) billing.Purchase {
	p := billing.Purchase{Ref: billing.Ref{Source: billing.Marketplace, Key: key}, AccountID: account, UpdatedAt: at}
	p.Terms = billing.Terms{Order: billing.Order{At: at, Rank: 1}, Active: true, Offer: billing.Offer{PlanID: 1, Name: "One"}}
	p.Buyer = billing.Buyer{Order: billing.Order{At: at}, ID: 7, Login: "acme"}
	return p
}

func save(t *testing.T, s Store, list ...billing.Purchase) {
	t.Helper()
	must(t, s.Bill(t.Context(), func(tx billing.Tx) error {
		for _, p := range list {
			if err := tx.SavePurchase(t.Context(), p); err != nil {
				return err
			}
		}
		return nil
	}))
}

func bill(t *testing.T, s Store) {
	ctx := t.Context()
	a := create(t, s, 1)
	p := purchase("7", a.ID)
	base := billing.LicenseOf(a)
	books := billing.Books{Base: &base, Applied: &billing.License{Tier: account.Team, Features: []string{"x"}, ValidUntil: at}}
	stop := errors.New("stop")
	change := func(end error) error {
		return s.Bill(ctx, func(tx billing.Tx) error {
			a := a
			a.Tier = account.Team
			tx.Note(did(at))
			return errors.Join(tx.SavePurchase(ctx, p), tx.SaveAccount(ctx, a), tx.SaveBooks(ctx, a.ID, books),
				tx.SaveLink(ctx, billing.Link{GitHubID: 7, AccountID: a.ID, How: billing.ByEmail, At: at}), end)
		})
	}
	wantErr(t, "Bill(stopped)", change(stop), stop)
	got, err := s.Account(ctx, a.ID)
	must(t, err)
	same(t, account.Pro, got.Tier)
	same(t, 0, lines(t, s))
	must(t, change(nil))
	got, err = s.Account(ctx, a.ID)
	must(t, err)
	same(t, account.Team, got.Tier)
	same(t, 1, lines(t, s))
	must(t, s.Bill(ctx, func(tx billing.Tx) error {
		there, err := tx.Purchase(ctx, billing.Marketplace, "7")
		must(t, err)
		same(t, p, there)
		of, err := tx.PurchasesOf(ctx, a.ID)
		must(t, err)
		same(t, []billing.Purchase{p}, of)
		kept, known, err := tx.Books(ctx, a.ID)
		must(t, err)
		same(t, true, known)
		same(t, books, kept)
		_, known, err = tx.Books(ctx, "user_none")
		must(t, err)
		same(t, false, known)
		_, err = tx.Purchase(ctx, billing.Sponsors, "7")
		wantErr(t, "Purchase(none)", err, failure.ErrNotFound)
		return nil
	}))
}

func findPurchases(t *testing.T, s Store) {
	a := create(t, s, 1)
	held := purchase("S_1", "")
	held.Ref.Source, held.Unmatched, held.Buyer = billing.Sponsors, billing.MissingBuyer, billing.Buyer{}
	over := purchase("8", a.ID)
	over.Terms.Active = false
	mine := purchase("7", a.ID)
	save(t, s, held, over, mine)
	for about, tc := range map[string]struct {
		q    billing.Query
		want []billing.Purchase
	}{
		"all":        {billing.Query{}, []billing.Purchase{mine, over, held}},
		"unmatched":  {billing.Query{Unmatched: true}, []billing.Purchase{held}},
		"active":     {billing.Query{Active: true}, []billing.Purchase{mine, held}},
		"of account": {billing.Query{Account: a.ID}, []billing.Purchase{mine, over}},
		"of source":  {billing.Query{Source: billing.Sponsors}, []billing.Purchase{held}},
		"after":      {billing.Query{After: mine.Ref}, []billing.Purchase{over, held}},
	} {
		tc.q.Limit = 9
		got, err := s.Purchases(t.Context(), tc.q)
		must(t, err)
		t.Log(about)
		same(t, tc.want, got)
	}
	got, err := s.Purchases(t.Context(), billing.Query{Limit: 1})
	must(t, err)
	same(t, []billing.Purchase{mine}, got)
}

func deletedBuyer(t *testing.T, s Store) {
	ctx := t.Context()
	a := create(t, s, 1)
	save(t, s, purchase("7", a.ID))
	must(t, s.Bill(ctx, func(tx billing.Tx) error {
		return tx.SaveLink(ctx, billing.Link{GitHubID: 7, AccountID: a.ID, How: billing.ByEmail, At: at})
	}))
	_, err := s.ChangeAccount(ctx, a.ID, func(a *account.Account) error {
		a.Status, a.Email = account.Deleted, ""
		return nil
	}, did(at))
	must(t, err)
	got, err := s.Purchases(ctx, billing.Query{Limit: 9})
	must(t, err)
	same(t, "", got[0].Buyer.Login)
	must(t, s.Bill(ctx, func(tx billing.Tx) error {
		_, err := tx.AccountOf(ctx, 7)
		wantErr(t, "AccountOf(forgotten)", err, failure.ErrNotFound)
		return nil
	}))
}

func whoBuys(t *testing.T, s Store) {
	ctx := t.Context()
	a, b := create(t, s, 1), create(t, s, 2)
	must(t, s.Bill(ctx, func(tx billing.Tx) error {
		for _, to := range []string{a.ID, b.ID} { // the operator says another one
			if err := tx.SaveLink(ctx, billing.Link{GitHubID: 7, AccountID: to, How: billing.ByOperator, At: at}); err != nil {
				return err
			}
		}
		got, err := tx.AccountOf(ctx, 7)
		must(t, err)
		same(t, b, got)
		got, err = tx.AccountByEmail(ctx, a.Email)
		must(t, err)
		same(t, a, got)
		_, err = tx.AccountByEmail(ctx, "none@example.com")
		wantErr(t, "AccountByEmail(none)", err, failure.ErrNotFound)
		_, err = tx.AccountOf(ctx, 8)
		wantErr(t, "AccountOf(none)", err, failure.ErrNotFound)
		made := newAccount(3)
		must(t, tx.SaveAccount(ctx, made))
		got, err = tx.Account(ctx, made.ID)
		must(t, err)
		same(t, made, got)
		return nil
	}))
	taken := newAccount(4)
	taken.Email = a.Email
	err := s.Bill(ctx, func(tx billing.Tx) error { return tx.SaveAccount(ctx, taken) })
	wantErr(t, "SaveAccount(an address that is taken)", err, failure.ErrConflict)
}

func billedEnd(t *testing.T, s Store) {
	ctx := t.Context()
	a := create(t, s, 1)
	look := func() (ends []time.Time) {
		_, err := s.LookAtEnds(ctx, at, 9, func(a account.Account, _ account.Notice) account.Look {
			ends = append(ends, a.ValidUntil)
			return account.Look{} // never again, unless it is changed
		})
		must(t, err)
		return ends
	}
	same(t, 1, len(look()))
	same(t, 0, len(look()))
	a.ValidUntil = at.AddDate(0, 1, 0)
	must(t, s.Bill(ctx, func(tx billing.Tx) error { return tx.SaveAccount(ctx, a) }))
	same(t, []time.Time{a.ValidUntil}, look())
}
