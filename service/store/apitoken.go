package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

const apiTokenColumns = `t.id, t.account_id, t.name, t.hash, t.created_at, t.revoked_at`

// apiTokenRow reads apiTokenColumns.
type apiTokenRow struct {
	account.APIToken
	created int64
	revoked sql.NullInt64
}

func (r *apiTokenRow) into() []any {
	return []any{&r.ID, &r.AccountID, &r.Name, &r.Hash, &r.created, &r.revoked}
}

func (r *apiTokenRow) apiToken() account.APIToken {
	t := r.APIToken
	t.CreatedAt, t.RevokedAt = fromMillis(r.created), fromNullMillis(r.revoked)
	return t
}

func (s *Store) AddAPIToken(ctx context.Context, a account.APIToken, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		t.log(act)
		return addAPIToken(ctx, t, a)
	})
}

func addAPIToken(ctx context.Context, t *tx, a account.APIToken) error {
	_, err := t.ExecContext(ctx, `INSERT INTO api_tokens (id, account_id, name, hash, created_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		a.ID, a.AccountID, a.Name, a.Hash, millis(a.CreatedAt), nullMillis(a.RevokedAt))
	return storeError(err)
}

func (s *Store) APIToken(ctx context.Context,
	hash string) (account.APIToken, account.Account, error) {
	var t apiTokenRow
	var a accountRow
	err := s.read.QueryRowContext(ctx, `SELECT `+apiTokenColumns+`, `+accountColumns+`
		FROM api_tokens t JOIN accounts a ON a.id = t.account_id WHERE t.hash = $1`, hash).Scan(append(t.into(), a.into()...)...)
	if err != nil {
		return account.APIToken{}, account.Account{}, fmt.Errorf("API token: %w", notFound(err))
	}
	owner, err := a.account()
	return t.apiToken(), owner, err
}

func (s *Store) APITokens(ctx context.Context, owner, after string,
	limit int) ([]account.APIToken, error) {
	since, err := madeAt(s.read.QueryRowContext(ctx,
		`SELECT created_at FROM api_tokens WHERE id = $1 AND account_id = $2`, after, owner), after)
	if err != nil {
		return nil, fmt.Errorf("list API tokens: %w", storeError(err))
	}
	rows, err := s.read.QueryContext(ctx, `SELECT `+apiTokenColumns+` FROM api_tokens t
		WHERE t.account_id = $1 AND (t.created_at > $2 OR t.created_at = $2 AND t.id > $3) ORDER BY t.created_at, t.id LIMIT $4`, owner, since, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list API tokens: %w", storeError(err))
	}
	defer rows.Close()
	var list []account.APIToken
	for rows.Next() {
		var r apiTokenRow
		if err := rows.Scan(r.into()...); err != nil {
			return nil, fmt.Errorf("list API tokens: %w", storeError(err))
		}
		list = append(list, r.apiToken())
	}
	return list, storeError(rows.Err())
}

// madeAt reads when the row was made that a list, oldest first, continues after; before everything
// when after is empty. ErrInvalid: there is no such row.
func madeAt(row *sql.Row, after string) (at int64, err error) {
	err = row.Scan(&at)
	switch {
	case after == "":
		return math.MinInt64, nil
	case errors.Is(err, sql.ErrNoRows):
		return 0, failure.Cursor("nothing in this list has the id " + after)
	}
	return at, err
}

func (s *Store) RevokeAPIToken(ctx context.Context, id string, act audit.Act,
	issued *audit.Act) (families int64, err error) {
	found := &issuedFamilies{}
	if issued != nil {
		if found, err = s.issuedBy(ctx, id); err != nil {
			return 0, err
		}
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		if err := t.end(ctx, "API token", "api_tokens", "revoked_at", id, act); err != nil {
			return err
		}
		families, err = t.revokeIssuedBy(ctx, found, issued)
		return err
	})
	return families, err
}
