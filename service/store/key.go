package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/license"
)

// Keys meets license.Store.
func (s *Store) Keys(ctx context.Context) ([]license.SealedKey, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, sealed, created_at, signs_from FROM signing_keys WHERE retired_at IS NULL ORDER BY signs_from, id`)
	if err != nil {
		return nil, fmt.Errorf("list signing keys: %w", err)
	}
	defer rows.Close()
	var list []license.SealedKey
	for rows.Next() {
		var k license.SealedKey
		var sealed string
		var created, from int64
		if err := rows.Scan(&k.ID, &sealed, &created, &from); err != nil {
			return nil, fmt.Errorf("list signing keys: %w", err)
		}
		if k.Sealed, err = base64.StdEncoding.DecodeString(sealed); err != nil {
			return nil, fmt.Errorf("signing key %s: %w", k.ID, err)
		}
		k.CreatedAt, k.SignsFrom = fromMillis(created), fromMillis(from)
		list = append(list, k)
	}
	return list, rows.Err()
}

// AddKey meets license.Store.
func (s *Store) AddKey(ctx context.Context, k license.SealedKey, act license.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		t.log(act)
		_, err := t.ExecContext(ctx, `INSERT INTO signing_keys (id, sealed, created_at, signs_from) VALUES ($1, $2, $3, $4)`,
			k.ID, base64.StdEncoding.EncodeToString(k.Sealed), millis(k.CreatedAt), millis(k.SignsFrom))
		if err != nil {
			return fmt.Errorf("add signing key %s: %w", k.ID, storeError(err))
		}
		return nil
	})
}

// RetireKey meets license.Store.
func (s *Store) RetireKey(ctx context.Context, id string, act license.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		t.log(act)
		err := changedOne(t.ExecContext(ctx, `UPDATE signing_keys SET retired_at = $2, sealed = '' WHERE id = $1 AND retired_at IS NULL`, id, millis(act.At)))
		if err != nil {
			return fmt.Errorf("signing key %s: %w", id, err)
		}
		return nil
	})
}

// LiveTokens meets license.Store.
func (s *Store) LiveTokens(ctx context.Context, key string, now time.Time) (int64, error) {
	var n int64
	err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM tokens WHERE key_id = $1 AND expires_at > $2`, key, millis(now)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the tokens of key %s: %w", key, err)
	}
	return n, nil
}
