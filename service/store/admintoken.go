package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
)

const adminTokenColumns = `id, name, hash, scopes, created_at, expires_at, revoked_at`

func scanAdminToken(scan func(...any) error) (auth.AdminToken, error) {
	var t auth.AdminToken
	var scopes string
	var created int64
	var expires, revoked sql.NullInt64
	if err := scan(&t.ID, &t.Name, &t.Hash, &scopes, &created, &expires, &revoked); err != nil {
		return auth.AdminToken{}, notFound(err)
	}
	t.CreatedAt, t.ExpiresAt, t.RevokedAt = fromMillis(created), fromNullMillis(expires), fromNullMillis(revoked)
	if err := json.Unmarshal([]byte(scopes), &t.Scopes); err != nil {
		return t, fmt.Errorf("scopes of %s: %w", t.ID, err)
	}
	return t, nil
}

func (s *Store) AddAdminToken(ctx context.Context, a auth.AdminToken, act audit.Act) error {
	scopes, err := json.Marshal(a.Scopes)
	if err != nil {
		return err
	}
	return inTx(ctx, s.write, func(t *tx) error {
		t.log(act)
		_, err := t.ExecContext(ctx, `INSERT INTO admin_tokens (`+adminTokenColumns+
			`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			a.ID, a.Name, a.Hash, string(scopes), millis(a.CreatedAt), nullMillis(a.ExpiresAt), nullMillis(a.RevokedAt))
		return storeError(err)
	})
}

func (s *Store) AdminToken(ctx context.Context, hash string) (auth.AdminToken, error) {
	t, err := scanAdminToken(s.read.QueryRowContext(ctx,
		`SELECT `+adminTokenColumns+` FROM admin_tokens WHERE hash = $1`, hash).Scan)
	if err != nil {
		return t, fmt.Errorf("admin token: %w", err)
	}
	return t, nil
}

func (s *Store) AdminTokens(ctx context.Context, after string,
	limit int) ([]auth.AdminToken, error) {
	since, err := madeAt(s.read.QueryRowContext(ctx,
		`SELECT created_at FROM admin_tokens WHERE id = $1`, after), after)
	if err != nil {
		return nil, fmt.Errorf("list admin tokens: %w", storeError(err))
	}
	rows, err := s.read.QueryContext(ctx, `SELECT `+adminTokenColumns+` FROM admin_tokens
		WHERE created_at > $1 OR created_at = $1 AND id > $2 ORDER BY created_at, id LIMIT $3`, since, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list admin tokens: %w", storeError(err))
	}
	defer rows.Close()
	var list []auth.AdminToken
	for rows.Next() {
		t, err := scanAdminToken(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list admin tokens: %w", storeError(err))
		}
		list = append(list, t)
	}
	return list, storeError(rows.Err())
}

func (s *Store) RevokeAdminToken(ctx context.Context, id string, act audit.Act) error {
	return inTx(ctx, s.write,
		func(t *tx) error {
			return t.end(ctx, "admin token", "admin_tokens", "revoked_at", id,
				act)
		})
}
