package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/billing"
)

// billingTx is what billing does in one transaction.
type billingTx struct{ *tx }

var (
	_ billing.Tx    = billingTx{}
	_ billing.Store = (*Store)(nil)
)

func (s *Store) Bill(ctx context.Context, f func(billing.Tx) error) error {
	return inTx(ctx, s.write, func(t *tx) error { return f(billingTx{t}) })
}

func (t billingTx) Note(acts ...audit.Act) { t.log(acts...) }

func (t billingTx) Plans(ctx context.Context) ([]billing.Plan, error) { return plans(ctx, t.tx) }

func (s *Store) Plans(ctx context.Context) ([]billing.Plan, error) { return plans(ctx, s.read) }

func plans(ctx context.Context, q querier) ([]billing.Plan, error) {
	rows, err := q.QueryContext(ctx, `SELECT source, number, days, tier, features, created_at FROM plans ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list plans: %w", storeError(err))
	}
	defer rows.Close()
	var list []billing.Plan
	for rows.Next() {
		var p billing.Plan
		var features string
		var created int64
		if err := rows.Scan(&p.Source, &p.Number, &p.Days, &p.Tier, &features, &created); err != nil {
			return nil, fmt.Errorf("list plans: %w", storeError(err))
		}
		if err := json.Unmarshal([]byte(features), &p.Features); err != nil {
			return nil, fmt.Errorf("plan %s: %w", p.ID(), err)
		}
		p.CreatedAt = fromMillis(created)
		list = append(list, p)
	}
	return list, storeError(rows.Err())
}

func (s *Store) AddPlan(ctx context.Context, p billing.Plan, act audit.Act) error {
	features, err := json.Marshal(p.Features)
	if err != nil {
		return err
	}
	return inTx(ctx, s.write, func(t *tx) error {
		done, err := t.ExecContext(ctx, `INSERT INTO plans (id, source, number, days, tier, features, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE SET days = excluded.days, tier = excluded.tier, features = excluded.features
			WHERE plans.days <> excluded.days OR plans.tier <> excluded.tier OR plans.features <> excluded.features`,
			p.ID(), p.Source, p.Number, p.Days, p.Tier, string(features), millis(p.CreatedAt))
		if err != nil {
			return fmt.Errorf("add plan: %w", storeError(err))
		}
		return t.logIf(done, act)
	})
}

func (s *Store) RemovePlan(ctx context.Context, id string, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		var there bool
		if err := t.QueryRowContext(ctx, `SELECT TRUE FROM plans WHERE id = $1`, id).Scan(&there); err != nil {
			return fmt.Errorf("plan %s: %w", id, notFound(err))
		}
		done, err := t.ExecContext(ctx, `DELETE FROM plans WHERE id = $1`, id)
		if err != nil {
			return fmt.Errorf("plan %s: %w", id, storeError(err))
		}
		return t.logIf(done, act)
	})
}

const purchaseColumns = `source, key, account_id, unmatched, state, updated_at`

func scanPurchase(row interface{ Scan(...any) error }) (p billing.Purchase, err error) {
	var to sql.NullString
	var state string
	var updated int64
	if err := row.Scan(&p.Ref.Source, &p.Ref.Key, &to, &p.Unmatched, &state, &updated); err != nil {
		return p, err
	}
	ref, unmatched := p.Ref, p.Unmatched
	if err := json.Unmarshal([]byte(state), &p); err != nil {
		return p, fmt.Errorf("purchase %s: %w", ref, err)
	}
	p.Ref, p.Unmatched, p.AccountID, p.UpdatedAt = ref, unmatched, to.String, fromMillis(updated)
	return p, nil
}

func (t billingTx) Purchase(
	ctx context.Context, source billing.Source, key string,
) (billing.Purchase, error) {
	p, err := scanPurchase(t.QueryRowContext(ctx,
		`SELECT `+purchaseColumns+` FROM purchases WHERE source = $1 AND key = $2`, source, key))
	if err != nil {
		return p, fmt.Errorf("purchase %s: %w", billing.Ref{Source: source, Key: key}, notFound(err))
	}
	return p, nil
}

func (t billingTx) PurchasesOf(ctx context.Context, account string) ([]billing.Purchase, error) {
	return purchases(ctx, t.tx, ` WHERE account_id = $1 ORDER BY source, key`, account)
}

func (s *Store) Purchases(ctx context.Context, q billing.Query) ([]billing.Purchase, error) {
	var f filter
	f.where("source = %s", string(q.Source), q.Source != "")
	f.where("account_id = %s", q.Account, q.Account != "")
	f.where("status = %s", "active", q.Active)
	if q.Unmatched {
		f.conditions = append(f.conditions, "unmatched <> ''")
	}
	if q.After != (billing.Ref{}) {
		f.conditions = append(f.conditions,
			fmt.Sprintf("(source, key) > (%s, %s)", f.mark(string(q.After.Source)), f.mark(q.After.Key)))
	}
	return purchases(ctx, s.read, f.list("source, key", q.Limit), f.args...)
}

func purchases(ctx context.Context, q querier, which string, args ...any) ([]billing.Purchase, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+purchaseColumns+` FROM purchases`+which, args...)
	if err != nil {
		return nil, fmt.Errorf("list purchases: %w", storeError(err))
	}
	defer rows.Close()
	var list []billing.Purchase
	for rows.Next() {
		p, err := scanPurchase(rows)
		if err != nil {
			return nil, fmt.Errorf("list purchases: %w", storeError(err))
		}
		list = append(list, p)
	}
	return list, storeError(rows.Err())
}

func (t billingTx) SavePurchase(ctx context.Context, p billing.Purchase) error {
	state, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `INSERT INTO purchases (source, key, github_id, account_id, status, unmatched, state, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (source, key) DO UPDATE SET github_id = excluded.github_id,
		account_id = excluded.account_id, status = excluded.status, unmatched = excluded.unmatched, state = excluded.state,
		updated_at = excluded.updated_at WHERE purchases.state <> excluded.state OR purchases.unmatched <> excluded.unmatched
		OR coalesce(purchases.account_id, '') <> coalesce(excluded.account_id, '')`,
		p.Ref.Source, p.Ref.Key, p.Buyer.ID, nullText(p.AccountID), p.Status(), p.Unmatched, string(state), millis(p.UpdatedAt))
	if err != nil {
		return fmt.Errorf("store purchase %s: %w", p.Ref, storeError(err))
	}
	return nil
}

func (t billingTx) Account(ctx context.Context, id string) (account.Account, error) {
	return accountByID(ctx, t, id)
}

func (t billingTx) AccountOf(ctx context.Context, githubID int64) (account.Account, error) {
	return t.account(ctx, `a.id = (SELECT account_id FROM github_accounts WHERE github_id = $1)`, githubID)
}

func (t billingTx) AccountByEmail(ctx context.Context, email string) (account.Account, error) {
	return t.account(ctx, `a.email = $1`, email)
}

func (t billingTx) account(ctx context.Context, which string, arg any) (account.Account, error) {
	var r accountRow
	if err := t.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM accounts a WHERE `+which, arg).Scan(r.into()...); err != nil {
		return account.Account{}, fmt.Errorf("account of a purchase: %w", notFound(err))
	}
	return r.account()
}

// SaveAccount stores an account. What was told of its end is looked at again, as after any change.
func (t billingTx) SaveAccount(ctx context.Context, a account.Account) error {
	features, err := json.Marshal(a.Features)
	if err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `INSERT INTO accounts (id, email, tier, features, valid_until, status, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET tier = excluded.tier, features = excluded.features, valid_until = excluded.valid_until,
		notice_at = $8`,
		a.ID, nullText(a.Email), a.Tier, string(features), millis(a.ValidUntil), a.Status, millis(a.CreatedAt), lookNow)
	if err != nil {
		return fmt.Errorf("account %s: %w", a.ID, storeError(err))
	}
	return nil
}

func (t billingTx) SaveLink(ctx context.Context, l billing.Link) error {
	_, err := t.ExecContext(ctx, `INSERT INTO github_accounts (github_id, account_id, how, linked_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (github_id) DO UPDATE SET account_id = excluded.account_id, how = excluded.how, linked_at = excluded.linked_at`,
		l.GitHubID, l.AccountID, l.How, millis(l.At))
	if err != nil {
		return fmt.Errorf("link GitHub account %d: %w", l.GitHubID, storeError(err))
	}
	return nil
}

func (t billingTx) Books(ctx context.Context, account string) (b billing.Books, there bool, err error) {
	var base, applied sql.NullString
	err = t.QueryRowContext(ctx, `SELECT base, applied FROM billed_accounts WHERE account_id = $1`, account).Scan(&base, &applied)
	if errors.Is(err, sql.ErrNoRows) {
		return b, false, nil
	}
	for text, to := range map[*sql.NullString]**billing.License{
		&base: &b.Base, &applied: &b.Applied,
	} {
		if err == nil && text.Valid {
			err = json.Unmarshal([]byte(text.String), to)
		}
	}
	if err != nil {
		return b, false, fmt.Errorf("what billing knows of account %s: %w", account, storeError(err))
	}
	return b, true, nil
}

func (t billingTx) SaveBooks(ctx context.Context, account string, b billing.Books) error {
	var texts [2]sql.NullString
	for i, l := range []*billing.License{b.Base, b.Applied} {
		if l == nil {
			continue
		}
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		texts[i] = nullText(string(text))
	}
	_, err := t.ExecContext(ctx, `INSERT INTO billed_accounts (account_id, base, applied) VALUES ($1, $2, $3)
		ON CONFLICT (account_id) DO UPDATE SET base = excluded.base, applied = excluded.applied
		WHERE coalesce(billed_accounts.base, '') <> coalesce(excluded.base, '') OR coalesce(billed_accounts.applied, '') <> coalesce(excluded.applied, '')`,
		account, texts[0], texts[1])
	if err != nil {
		return fmt.Errorf("what billing knows of account %s: %w", account, storeError(err))
	}
	return nil
}

// forgetBuyer erases what names the buyer of a deleted account's purchases.
func (t *tx) forgetBuyer(ctx context.Context, account string) error {
	list, err := purchases(ctx, t, ` WHERE account_id = $1 ORDER BY source, key`, account)
	if err != nil {
		return err
	}
	for _, p := range list {
		p.Buyer.Login, p.Buyer.Email = "", ""
		if err := (billingTx{t}).SavePurchase(ctx, p); err != nil {
			return err
		}
	}
	if _, err := t.ExecContext(ctx, `DELETE FROM github_accounts WHERE account_id = $1`, account); err != nil {
		return storeError(err)
	}
	_, err = t.ExecContext(ctx, `DELETE FROM billed_accounts WHERE account_id = $1`, account)
	return storeError(err)
}
