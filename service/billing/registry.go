package billing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/opaque"
)

// Config is what a Registry is made of. All fields must be set.
type Config struct {
	Store Store
	Log   *audit.Log
	Now   func() time.Time // in the resolution that is stored
	Rand  io.Reader        // cryptographic randomness
}

// Registry is the purchases of a database, and the plans that say what they give.
type Registry struct{ cfg Config }

// NewRegistry returns the purchases of a database.
func NewRegistry(c Config) *Registry { return &Registry{c} }

// Hear takes a notice: the purchase, the account that gets it, and the line of the audit log change
// in one transaction, so that a crash leaves all or nothing. A notice that says nothing new changes
// nothing. NotYet: it takes effect later.
func (r *Registry) Hear(ctx context.Context, n Notice) error {
	if at := n.Terms.Order.At; n.Ref.Source == Marketplace && at.After(r.cfg.Now().Add(soon)) {
		return NotYet{at}
	}
	return r.cfg.Store.Bill(ctx, func(tx Tx) error {
		before, known, err := found(tx.Purchase(ctx, n.Ref.Source, n.Ref.Key))
		if err != nil {
			return err
		}
		p := before.with(n)
		if known && equal(before, p) {
			return nil
		}
		return r.give(ctx, tx, p)
	})
}

// soon is how far GitHub's clock may be ahead of ours.
const soon = 5 * time.Minute

// equal says whether two states of a purchase are the same.
func equal(a, b Purchase) bool {
	return a.Maintainer == b.Maintainer && a.Terms.Order.Compare(b.Terms.Order) == 0 &&
		a.Buyer.Order.Compare(b.Buyer.Order) == 0 && a.Buyer.ID == b.Buyer.ID && a.Pending.Order.Compare(b.Pending.Order) == 0
}

// give stores a purchase, and gives it to its account: the one that the buyer is linked to, else the
// one with the buyer's address, else a new one.
func (r *Registry) give(ctx context.Context, tx Tx, p Purchase) error {
	plans, err := tx.Plans(ctx)
	if err != nil {
		return err
	}
	p.Unmatched, p.UpdatedAt = "", r.cfg.Now()
	p, mapped := p.mapped(plans)
	to, have, err := r.accountOf(ctx, tx, p)
	if err != nil {
		return err
	}
	p.AccountID = ""
	switch {
	case have:
		p.AccountID = to.ID
	case p.Buyer.ID == 0 && p.Terms.Active:
		p.Unmatched = MissingBuyer
	}
	if !mapped && p.Terms.Active && p.Unmatched == "" {
		p.Unmatched = MissingPlan
	}
	if !have && (p.Unmatched != "" || !mapped || !p.Granted.ValidUntil.After(r.cfg.Now())) {
		return tx.SavePurchase(ctx, p) // nobody gets anything
	}
	if !have {
		if to, err = r.find(ctx, tx, p.Buyer); err != nil {
			return err
		}
		p.AccountID = to.ID
	}
	p.Buyer.Email = "" // it has served
	if err := tx.SavePurchase(ctx, p); err != nil {
		return err
	}
	return r.settle(ctx, tx, to, p.Ref.String())
}

// accountOf is the account that gets a purchase already, unless it was deleted.
func (r *Registry) accountOf(ctx context.Context, tx Tx, p Purchase) (a account.Account, have bool, err error) {
	if p.AccountID != "" {
		a, have, err = found(tx.Account(ctx, p.AccountID))
	}
	if err == nil && p.Buyer.ID != 0 && (!have || a.Status == account.Deleted) {
		a, have, err = found(tx.AccountOf(ctx, p.Buyer.ID))
	}
	return a, have && a.Status != account.Deleted, err
}

// find links a buyer to the account with its address, or to a new one. Where GitHub tells none that
// an account can have, it is GitHub's own address of the buyer. An address is GitHub's word for whom
// an invoice goes to and proves nothing: so the link gives what is bought and no right to the account
// (decision 18).
func (r *Registry) find(ctx context.Context, tx Tx, b Buyer) (account.Account, error) {
	link := Link{GitHubID: b.ID, How: ByEmail, At: r.cfg.Now()}
	made := account.Account{
		Email: account.NormalEmail(b.Email), Tier: account.Free, Features: []string{}, ValidUntil: link.At,
		Status: account.Active, CreatedAt: link.At,
	}
	if account.Check(made) != nil {
		made.Email = account.NormalEmail(fmt.Sprintf("%d+%s@users.noreply.github.com", b.ID, b.Login))
	}
	if err := account.Check(made); err != nil {
		return made, err
	}
	a, have, err := found(tx.AccountByEmail(ctx, made.Email))
	if err != nil {
		return a, err
	}
	if !have {
		link.How = ByMaking
		if a, err = r.make(ctx, tx, b, made); err != nil {
			return a, err
		}
	}
	link.AccountID = a.ID
	return a, tx.SaveLink(ctx, link)
}

// make stores a, an account for a buyer, under a new id, without a license so far. It has no API token, for there is
// nobody here to give it to.
func (r *Registry) make(ctx context.Context, tx Tx, b Buyer, a account.Account) (account.Account, error) {
	id, err := opaque.OfAccount.New(r.cfg.Rand)
	if err != nil {
		return a, err
	}
	a.ID = id
	tx.Note(r.cfg.Log.Act(ctx, audit.AccountCreated, id, id, audit.Details{"github_id": b.ID}))
	if err := tx.SaveAccount(ctx, a); err != nil {
		return a, err
	}
	return a, tx.SaveBooks(ctx, id, Books{Applied: new(LicenseOf(a))})
}

// settle gives an account the license that follows from what the operator gave it and from all its
// purchases. because names the purchase that changed.
func (r *Registry) settle(ctx context.Context, tx Tx, a account.Account, because string) error {
	books, there, err := tx.Books(ctx, a.ID)
	if err != nil {
		return err
	}
	list, err := tx.PurchasesOf(ctx, a.ID)
	if err != nil {
		return err
	}
	has := LicenseOf(a)
	switch {
	case !there || books.Applied == nil:
		books.Base = &has
	case !books.Applied.Same(has): // the operator's doing
		books.Base = new(rebase(books.Base, *books.Applied, has, r.cfg.Now()))
	}
	var grants []License
	for _, p := range list {
		if p.Granted != nil {
			grants = append(grants, *p.Granted)
		}
	}
	next := settle(books.Base, grants, r.cfg.Now())
	if next.ValidUntil.IsZero() { // all of its purchases went to other accounts
		if next.ValidUntil = r.cfg.Now(); has.ValidUntil.Before(next.ValidUntil) {
			next.ValidUntil = has.ValidUntil
		}
	}
	books.Applied = &next
	if err := tx.SaveBooks(ctx, a.ID, books); err != nil || next.Same(has) {
		return err
	}
	a.Tier, a.Features, a.ValidUntil = next.Tier, next.Features, next.ValidUntil
	if err := account.Check(a); err != nil {
		return fmt.Errorf("account %s: %w", a.ID, err)
	}
	details := audit.Details{"tier": a.Tier, "features": a.Features, "valid_until": a.ValidUntil}
	if because != "" {
		details["purchase"] = because
	}
	tx.Note(r.cfg.Log.Act(ctx, audit.PlanChanged, a.ID, a.ID, details))
	return tx.SaveAccount(ctx, a)
}

// Settle goes through all purchases: what a plan gives may have changed, and a license that hid
// another one may have ended. Each account is a transaction of its own, so it can be ended and
// begun again; one that fails does not hold up the others.
func (r *Registry) Settle(ctx context.Context) error {
	q := Query{Limit: pageSize}
	var faults []error
	for {
		page, err := r.cfg.Store.Purchases(ctx, q)
		if err != nil {
			return errors.Join(append(faults, err)...)
		}
		for _, p := range page {
			if err := r.again(ctx, p.Ref); err != nil {
				faults = append(faults, fmt.Errorf("purchase %s: %w", p.Ref, err))
			}
			if ctx.Err() != nil {
				return errors.Join(append(faults, ctx.Err())...)
			}
		}
		if len(page) < pageSize {
			return errors.Join(faults...)
		}
		q.After = page[len(page)-1].Ref
	}
}

const pageSize = 200

// again gives a purchase once more, as the plans and the clock say now.
func (r *Registry) again(ctx context.Context, ref Ref) error {
	return r.cfg.Store.Bill(ctx, func(tx Tx) error {
		p, err := tx.Purchase(ctx, ref.Source, ref.Key)
		if err != nil {
			return err
		}
		return r.give(ctx, tx, p)
	})
}

// Purchases returns the purchases that are asked for.
func (r *Registry) Purchases(ctx context.Context, q Query) ([]Purchase, error) {
	return r.cfg.Store.Purchases(ctx, q)
}

// Match gives a purchase to an account, because the operator says so: a private sponsorship, whose
// sponsor GitHub does not tell, or one that went to the wrong account. What the same buyer buys
// later goes there too. ErrNotFound: no such purchase or account; ErrDeleted.
func (r *Registry) Match(ctx context.Context, ref Ref, accountID string) (p Purchase, err error) {
	err = r.cfg.Store.Bill(ctx, func(tx Tx) error {
		if p, err = tx.Purchase(ctx, ref.Source, ref.Key); err != nil {
			return fmt.Errorf("purchase: %w", err)
		}
		to, err := tx.Account(ctx, accountID)
		if err == nil && to.Status == account.Deleted {
			err = fmt.Errorf("account %s: %w", accountID, account.ErrDeleted)
		}
		if err != nil {
			return err
		}
		from := p.AccountID
		p.AccountID = to.ID
		if p.Buyer.ID != 0 {
			if err := tx.SaveLink(ctx, Link{GitHubID: p.Buyer.ID, AccountID: to.ID, How: ByOperator, At: r.cfg.Now()}); err != nil {
				return err
			}
		}
		tx.Note(r.cfg.Log.Act(ctx, audit.PurchaseMatched, to.ID, ref.String(), audit.Details{"from": from}))
		if err := r.give(ctx, tx, p); err != nil {
			return err
		}
		if p, err = tx.Purchase(ctx, ref.Source, ref.Key); err != nil || from == "" || from == to.ID {
			return err
		}
		old, have, err := found(tx.Account(ctx, from))
		if err != nil || !have || old.Status == account.Deleted {
			return err
		}
		return r.settle(ctx, tx, old, ref.String())
	})
	return p, err
}
