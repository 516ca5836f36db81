package store

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
)

// forgotten is how many uses of identities that can be forgotten are forgotten with each
// transaction at most: more than come in with it.
const forgotten = 2 * maxGroup

func (s *Store) RecordExchange(ctx context.Context, use license.IdentityUse, r license.TokenRecord,
	by license.Repository, act audit.Act) (first license.IdentityUse, err error) {
	if err := s.recent.remember(ctx); err != nil {
		return license.IdentityUse{}, err
	}
	var found license.IdentityUse
	err = s.group.do(ctx, func(ctx context.Context, t *tx) error {
		if err := t.forgetIdentities(ctx, millis(use.At)); err != nil {
			return err
		}
		done, err := t.ExecContext(ctx, `INSERT INTO used_identities (hash, at, until, token_id) VALUES ($1, $2, $3, $4) ON CONFLICT (hash) DO NOTHING`,
			use.Hash, millis(use.At), millis(use.Until), use.Token)
		if err != nil {
			return fmt.Errorf("remember an identity: %w", storeError(err))
		}
		n, err := done.RowsAffected()
		if err != nil {
			return err
		}
		if n == 1 {
			found = use
			if err := t.recordToken(ctx, r, act); err != nil {
				return err
			}
			return t.useRepository(ctx, by)
		}
		found, err = identityUse(ctx, t, use.Hash)
		return err
	})
	if err != nil {
		return license.IdentityUse{}, err
	}
	return found, nil
}

// forgetIdentities forgets uses that can be forgotten, once in a transaction.
func (t *tx) forgetIdentities(ctx context.Context, now int64) error {
	if t.forgot {
		return nil
	}
	t.forgot = true
	_, err := t.ExecContext(ctx, `DELETE FROM used_identities WHERE hash IN (SELECT hash FROM used_identities WHERE until < $1 LIMIT $2)`, now, forgotten)
	if err != nil {
		return fmt.Errorf("forget old identities: %w", storeError(err))
	}
	return nil
}

func (s *Store) IdentityUse(ctx context.Context, hash string) (license.IdentityUse, error) {
	return identityUse(ctx, s.read, hash)
}

func identityUse(ctx context.Context, q querier, hash string) (license.IdentityUse, error) {
	var at, until int64
	use := license.IdentityUse{Hash: hash}
	err := q.QueryRowContext(ctx, `SELECT at, until, token_id FROM used_identities WHERE hash = $1`,
		hash).Scan(&at, &until, &use.Token)
	if err != nil {
		return license.IdentityUse{},
			fmt.Errorf("use of an identity: %w", notFound(storeError(err)))
	}
	use.At, use.Until = fromMillis(at), fromMillis(until)
	return use, nil
}
