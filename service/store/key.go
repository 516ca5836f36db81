package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/keyring"
)

func (s *Store) Keys(ctx context.Context) ([]keyring.SealedKey, error) {
	rows, err := s.read.QueryContext(ctx,
		`SELECT id, algorithm, sealed, created_at, signs_from FROM signing_keys WHERE retired_at IS NULL ORDER BY number, id`)
	if err != nil {
		return nil, fmt.Errorf("list signing keys: %w", storeError(err))
	}
	defer rows.Close()
	var list []keyring.SealedKey
	for rows.Next() {
		var k keyring.SealedKey
		var sealed string
		var created, from int64
		if err := rows.Scan(&k.ID, &k.Algorithm, &sealed, &created, &from); err != nil {
			return nil, fmt.Errorf("list signing keys: %w", storeError(err))
		}
		if k.Sealed, err = base64.StdEncoding.DecodeString(sealed); err != nil {
			return nil, fmt.Errorf("signing key %s: %w", k.ID, err)
		}
		k.CreatedAt, k.SignsFrom = fromMillis(created), fromMillis(from)
		list = append(list, k)
	}
	return list, storeError(rows.Err())
}

func (s *Store) AddKey(ctx context.Context, k keyring.SealedKey, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error { return t.addKey(ctx, k, act) })
}

func (s *Store) AddFirstKey(ctx context.Context, k keyring.SealedKey, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		var there bool
		err := t.QueryRowContext(ctx,
			`SELECT EXISTS (SELECT 1 FROM signing_keys WHERE algorithm = $1 AND retired_at IS NULL)`, k.Algorithm).Scan(&there)
		if err != nil {
			return fmt.Errorf("look for signing keys: %w", storeError(err))
		}
		if there {
			return nil
		}
		return t.addKey(ctx, k, act)
	})
}

func (t *tx) addKey(ctx context.Context, k keyring.SealedKey, act audit.Act) error {
	t.log(act)
	_, err := t.ExecContext(ctx, `INSERT INTO signing_keys (id, algorithm, sealed, created_at, signs_from, number)
		VALUES ($1, $2, $3, $4, $5, (SELECT coalesce(max(number), 0) + 1 FROM signing_keys))`,
		k.ID, k.Algorithm, base64.StdEncoding.EncodeToString(k.Sealed), millis(k.CreatedAt), millis(k.SignsFrom))
	if err != nil {
		return fmt.Errorf("add signing key %s: %w", k.ID, storeError(err))
	}
	return nil
}

func (s *Store) RetireKey(ctx context.Context, id string, alive time.Time,
	act audit.Act) (live int64, err error) {
	err = inTx(ctx, s.write, func(t *tx) error {
		if !alive.IsZero() {
			if live, err = liveTokens(ctx, t, id, alive); err != nil || live > 0 {
				return err
			}
		}
		t.log(act)
		err := changedOne(t.ExecContext(ctx,
			`UPDATE signing_keys SET retired_at = $2, sealed = '' WHERE id = $1 AND retired_at IS NULL`, id, millis(act.At)))
		if err != nil {
			return fmt.Errorf("signing key %s: %w", id, storeError(err))
		}
		return nil
	})
	return live, err
}

func (s *Store) LiveTokens(ctx context.Context, key string, now time.Time) (int64, error) {
	return liveTokens(ctx, s.read, key, now)
}

func liveTokens(ctx context.Context, q querier, key string, now time.Time) (n int64, err error) {
	recorded, err := ledgerLives(ctx, q, key, millis(now))
	if err != nil {
		return 0, err
	}
	err = q.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM tokens WHERE key_id = $1 AND expires_at > $2)
		+ (SELECT count(*) FROM leases WHERE key_id = $1 AND expires_at > $2)`, key, millis(now)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count what key %s signed: %w", key, storeError(err))
	}
	return n + recorded, nil
}

// mayRecord refuses what a retired key signed. It is asked in the transaction that records: nothing
// is handed out that was not recorded, and a key with something on record is not retired, so no
// clock and no cache can bring a token into the world whose key is gone.
func (t *tx) mayRecord(ctx context.Context, key string) error {
	if t.alive[key] { // as it was a moment ago in this transaction
		return nil
	}
	var retired bool
	err := t.QueryRowContext(ctx,
		`SELECT EXISTS (SELECT 1 FROM signing_keys WHERE id = $1 AND retired_at IS NOT NULL)`, key).Scan(&retired)
	if err != nil {
		return fmt.Errorf("signing key %s: %w", key, storeError(err))
	}
	if retired {
		return fmt.Errorf("signing key %s: %w", key, keyring.ErrRetired)
	}
	t.alive[key] = true
	return nil
}
