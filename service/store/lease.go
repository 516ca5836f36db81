package store

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
)

func (s *Store) RecordLease(ctx context.Context, r license.LeaseRecord, act audit.Act) error {
	return s.group.do(ctx, func(ctx context.Context, t *tx) error {
		of := license.TokenRecord{
			AccountID: r.AccountID, Parent: r.TokenID, KeyID: r.KeyID, Recorded: act.At, AsOf: r.AsOf,
		}
		if err := t.mayGive(ctx, of); err != nil {
			return err
		}
		done, err := t.ExecContext(ctx, `INSERT INTO leases (token_id, key_id, account_id, id, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (token_id, key_id) DO UPDATE SET id = excluded.id, issued_at = excluded.issued_at,
				expires_at = CASE WHEN excluded.expires_at > leases.expires_at THEN excluded.expires_at ELSE leases.expires_at END
			WHERE excluded.id <> leases.id`,
			r.TokenID, r.KeyID, r.AccountID, r.ID, millis(r.IssuedAt), millis(r.ExpiresAt))
		if err != nil {
			return fmt.Errorf("record a lease: %w", storeError(err))
		}
		return t.logIf(done, act)
	})
}
