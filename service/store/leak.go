package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/leak"
)

var _ leak.Store = (*Store)(nil)

// EndLeaked ends a token and all that was issued by it in one transaction, and notes the account.
func (s *Store) EndLeaked(ctx context.Context, target leak.Target, acts leak.Acts) (ended bool, err error) {
	found := &issuedFamilies{}
	if acts.Issued != nil {
		if found, err = s.issuedBy(ctx, target.ID); err != nil {
			return false, err
		}
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		ended = false // the transaction may be tried twice
		done, err := t.endLeaked(ctx, target, acts)
		if err != nil {
			return fmt.Errorf("end %s: %w", target.Kind, storeError(err))
		}
		n, err := done.RowsAffected()
		if err != nil {
			return err
		}
		if n > 0 && acts.Ended != nil {
			t.log(*acts.Ended)
		}
		t.ended = t.ended || n > 0
		families, err := t.revokeIssuedBy(ctx, found, acts.Issued)
		if err != nil || n == 0 && families == 0 {
			return err
		}
		ended = true
		t.log(acts.Leaked)
		return t.noteLeak(ctx, target.AccountID, millis(acts.Leaked.At))
	})
	return ended, err
}

// endLeaked ends the token itself. The row that it changes was not ended before.
func (t *tx) endLeaked(ctx context.Context, target leak.Target, acts leak.Acts) (sql.Result, error) {
	at := millis(acts.Leaked.At)
	switch target.Kind {
	case leak.LicenseToken:
		return t.revoke(ctx, target.Subject, target.AccountID, at)
	case leak.APIToken:
		return t.ExecContext(ctx, `UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL`, target.ID, at)
	case leak.AdminToken:
		return t.ExecContext(ctx, `UPDATE admin_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)`, target.ID, at)
	case leak.LoginToken:
		return t.ExecContext(ctx, `UPDATE device_logins SET token_ends = $2 WHERE id = $1 AND token_ends > $2`, target.ID, at)
	case leak.DeviceCode:
		return t.ExecContext(ctx, `UPDATE device_logins SET state = $3 WHERE id = $1 AND state IN ($4, $5) AND expires_at > $2`,
			target.ID, at, auth.DeviceDenied, auth.DeviceWaiting, auth.DeviceApproved)
	case leak.Session:
		return t.ExecContext(ctx, `DELETE FROM sessions WHERE id = $1 AND expires_at > $2`, target.ID, at)
	case leak.SignInLink:
		return t.ExecContext(ctx, `DELETE FROM sign_in_links WHERE hash = $1 AND expires_at > $2`, target.Subject, at)
	case leak.SetupLink:
		return t.ExecContext(ctx, `DELETE FROM github_setups WHERE hash = $1 AND expires_at > $2`, target.Subject, at)
	}
	return nil, fmt.Errorf("there is no kind of token %q", target.Kind)
}

// noteLeak notes that fresh tokens of an account are to be written.
func (t *tx) noteLeak(ctx context.Context, account string, at int64) error {
	if account == "" {
		return nil
	}
	_, err := t.ExecContext(ctx, `INSERT INTO leaks (account_id, at) VALUES ($1, $2) ON CONFLICT (account_id) DO UPDATE SET at = excluded.at`, account, at)
	return storeError(err)
}

func (s *Store) Leaks(ctx context.Context, limit int) ([]leak.Note, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT account_id, at FROM leaks ORDER BY at, account_id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("list accounts whose tokens leaked: %w", storeError(err))
	}
	defer rows.Close()
	var list []leak.Note
	for rows.Next() {
		var n leak.Note
		var at int64
		if err := rows.Scan(&n.AccountID, &at); err != nil {
			return nil, fmt.Errorf("list accounts whose tokens leaked: %w", storeError(err))
		}
		n.At = fromMillis(at)
		list = append(list, n)
	}
	return list, storeError(rows.Err())
}

func (s *Store) EndLeak(ctx context.Context, n leak.Note) error {
	return inTx(ctx, s.write, func(t *tx) error {
		_, err := t.ExecContext(ctx, `DELETE FROM leaks WHERE account_id = $1 AND at <= $2`, n.AccountID, millis(n.At))
		return storeError(err)
	})
}

func (s *Store) AddTest(ctx context.Context, n leak.Test) error {
	return inTx(ctx, s.write, func(t *tx) error {
		if err := t.purge(ctx, "leak_tests", "id", millis(n.ExpiresAt)-2*60_000); err != nil {
			return err
		}
		_, err := t.ExecContext(ctx, `INSERT INTO leak_tests (id, public_key, token_hash, expires_at) VALUES ($1, $2, $3, $4)`,
			n.ID, n.PublicKey, n.TokenHash, millis(n.ExpiresAt))
		return storeError(err)
	})
}

// UseTest looks before it writes: ids that somebody makes up cost a read.
func (s *Store) UseTest(ctx context.Context, id string) (leak.Test, error) {
	n := leak.Test{ID: id}
	var expires int64
	err := s.read.QueryRowContext(ctx, `SELECT public_key, token_hash, expires_at FROM leak_tests WHERE id = $1`, id).Scan(&n.PublicKey, &n.TokenHash, &expires)
	if err != nil {
		return n, fmt.Errorf("test of a leak: %w", notFound(err))
	}
	n.ExpiresAt = fromMillis(expires)
	err = inTx(ctx, s.write, func(t *tx) error {
		return changedOne(t.ExecContext(ctx, `DELETE FROM leak_tests WHERE id = $1`, id))
	})
	if err != nil {
		return n, fmt.Errorf("test of a leak: %w", storeError(err))
	}
	return n, nil
}
