package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
)

const accountColumns = `a.id, a.email, a.tier, a.features, a.valid_until, a.status, a.created_at`

// accountRow reads accountColumns.
type accountRow struct {
	account.Account
	email               sql.NullString
	features            string
	validUntil, created int64
}

func (r *accountRow) into() []any {
	return []any{&r.ID, &r.email, &r.Tier, &r.features, &r.validUntil, &r.Status, &r.created}
}

func (r *accountRow) account() (account.Account, error) {
	a := r.Account
	a.Email, a.ValidUntil, a.CreatedAt = r.email.String, fromMillis(r.validUntil), fromMillis(r.created)
	if err := json.Unmarshal([]byte(r.features), &a.Features); err != nil {
		return a, fmt.Errorf("features of account %s: %w", a.ID, err)
	}
	return a, nil
}

func (s *Store) CreateAccount(ctx context.Context, a account.Account, first account.APIToken,
	acts ...audit.Act) error {
	features, err := json.Marshal(a.Features)
	if err != nil {
		return err
	}
	return inTx(ctx, s.write, func(t *tx) error {
		_, err := t.ExecContext(ctx,
			`INSERT INTO accounts (id, email, tier, features, valid_until, status, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			a.ID, a.Email, a.Tier, string(features), millis(a.ValidUntil), a.Status, millis(a.CreatedAt))
		if err != nil {
			return storeError(err)
		}
		t.log(acts...)
		return addAPIToken(ctx, t, first)
	})
}

func (s *Store) Account(ctx context.Context, id string) (account.Account, error) {
	return s.accounts.get(ctx, id)
}

func accountByID(ctx context.Context, q querier, id string) (account.Account, error) {
	var r accountRow
	err := q.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM accounts a WHERE a.id = $1`,
		id).Scan(r.into()...)
	if err != nil {
		return account.Account{}, fmt.Errorf("account %s: %w", id, notFound(err))
	}
	return r.account()
}

func (s *Store) HasAccount(ctx context.Context, id string) error {
	var there bool
	if err := s.read.QueryRowContext(ctx, `SELECT TRUE FROM accounts WHERE id = $1`,
		id).Scan(&there); err != nil {
		return fmt.Errorf("account %s: %w", id, notFound(err))
	}
	return nil
}

func (s *Store) Accounts(ctx context.Context, q account.Query) ([]account.Account, error) {
	var f filter
	f.where("a.id > %s", q.After, q.After != "")
	f.where("a.email = %s", q.Email, q.Email != "")
	rows, err := s.read.QueryContext(ctx,
		`SELECT `+accountColumns+` FROM accounts a`+f.list("a.id", q.Limit), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", storeError(err))
	}
	defer rows.Close()
	var list []account.Account
	for rows.Next() {
		var r accountRow
		if err := rows.Scan(r.into()...); err != nil {
			return nil, fmt.Errorf("list accounts: %w", storeError(err))
		}
		a, err := r.account()
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, storeError(rows.Err())
}

func (s *Store) ChangeAccount(ctx context.Context, id string, change func(*account.Account) error,
	act audit.Act) (account.Account, error) {
	var a account.Account
	err := inTx(ctx, s.write, func(t *tx) (err error) {
		if a, err = accountByID(ctx, t, id); err != nil {
			return err
		}
		before := a
		before.Features = slices.Clone(a.Features)
		if err := change(&a); err != nil || unchanged(before, a) {
			return err
		}
		t.log(act)
		if err := updateAccount(ctx, t, a); err != nil || a.Status != account.Deleted {
			return err
		}
		if _, err = t.ExecContext(ctx,
			`UPDATE api_tokens SET revoked_at = $2 WHERE account_id = $1 AND revoked_at IS NULL`, id, millis(act.At)); err != nil {
			return err
		}
		if _, err = t.ExecContext(ctx, `UPDATE machines SET label = '' WHERE account_id = $1`,
			id); err != nil { // host names often name their owner
			return err
		}
		if _, err = t.ExecContext(ctx, `DELETE FROM repositories WHERE account_id = $1`,
			id); err != nil { // as do names of repositories
			return err
		}
		return t.forgetBuyer(ctx, id)
	})
	return a, err
}

// unchanged says whether a change altered nothing of an account that is stored.
func unchanged(before, after account.Account) bool {
	return slices.Equal(before.Features, after.Features) && before.Email == after.Email &&
		before.Tier == after.Tier && before.Status == after.Status &&
		millis(before.ValidUntil) == millis(after.ValidUntil)
}

func updateAccount(ctx context.Context, t *tx, a account.Account) error {
	features, err := json.Marshal(a.Features)
	if err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `UPDATE accounts SET email = $2, tier = $3, features = $4, valid_until = $5, status = $6, notice_at = $7 WHERE id = $1`,
		a.ID, sql.NullString{String: a.Email, Valid: a.Email != ""}, a.Tier, string(features), millis(a.ValidUntil), a.Status, lookNow)
	return storeError(err)
}
