package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// StoreIssuerKeys lets the last writer win, whatever it says that the time is: a clock that was
// ahead once must not shut out all others.
func (s *Store) StoreIssuerKeys(ctx context.Context, issuer string, jwks []byte,
	fetched time.Time) error {
	return inTx(ctx, s.write, func(t *tx) error {
		_, err := t.ExecContext(ctx, `INSERT INTO issuer_keys (issuer, jwks, fetched_at) VALUES ($1, $2, $3)
			ON CONFLICT (issuer) DO UPDATE SET jwks = excluded.jwks, fetched_at = excluded.fetched_at`,
			issuer, string(jwks), millis(fetched))
		if err != nil {
			return fmt.Errorf("store the keys of an issuer: %w", storeError(err))
		}
		return nil
	})
}

func (s *Store) IssuerKeys(ctx context.Context,
	issuer string) (jwks []byte, fetched time.Time, err error) {
	var text string
	var at int64
	err = s.read.QueryRowContext(ctx, `SELECT jwks, fetched_at FROM issuer_keys WHERE issuer = $1`,
		issuer).Scan(&text, &at)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, time.Time{}, nil
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("keys of an issuer: %w", storeError(err))
	}
	return []byte(text), fromMillis(at), nil
}
