package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
)

const deviceColumns = `d.id, d.device_hash, d.user_hash, d.client, d.address, d.state, d.account_id, d.interval_ms, d.created_at, d.expires_at,
	d.polled_at, d.token_hash, d.token_ends`

// deviceRow reads deviceColumns.
type deviceRow struct {
	auth.DeviceLogin
	account, token   sql.NullString
	interval         int64
	created, expires int64
	polled, ends     sql.NullInt64
}

func (r *deviceRow) into() []any {
	return []any{&r.ID, &r.DeviceHash, &r.UserHash, &r.Client, &r.Address, &r.State, &r.account, &r.interval, &r.created, &r.expires, &r.polled,
		&r.token, &r.ends}
}

func (r *deviceRow) login() auth.DeviceLogin {
	d := r.DeviceLogin
	d.AccountID, d.TokenHash, d.Interval = r.account.String, r.token.String, time.Duration(r.interval)*time.Millisecond
	d.CreatedAt, d.ExpiresAt, d.PolledAt, d.TokenEnds = fromMillis(r.created), fromMillis(r.expires), fromNullMillis(r.polled), fromNullMillis(r.ends)
	return d
}

// purgeBatch is how many rows that ended are deleted when one is added: more than come, so that
// they get fewer, and few, so that nobody waits.
const purgeBatch = 16

func (s *Store) AddDeviceLogin(ctx context.Context, d auth.DeviceLogin) error {
	return inTx(ctx, s.write, func(t *tx) error {
		// by then its token has ended too, which began while its codes were good
		long := millis(d.CreatedAt.Add(-auth.LoginTokenTTL))
		if err := t.purge(ctx, "device_logins", "id", long); err != nil {
			return err
		}
		_, err := t.ExecContext(ctx, `INSERT INTO device_logins (id, device_hash, user_hash, client, address, state, interval_ms, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			d.ID, d.DeviceHash, d.UserHash, d.Client, d.Address, d.State, d.Interval.Milliseconds(), millis(d.CreatedAt), millis(d.ExpiresAt))
		return storeError(err)
	})
}

// purge deletes some rows of a table that expired before a time.
func (t *tx) purge(ctx context.Context, table, key string, before int64) error {
	_, err := t.ExecContext(ctx, `DELETE FROM `+table+` WHERE `+key+` IN
		(SELECT `+key+` FROM `+table+` WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, before, purgeBatch)
	if err != nil {
		return fmt.Errorf("purge old %s: %w", table, storeError(err))
	}
	return nil
}

func deviceLogin(ctx context.Context, q querier, hash string) (auth.DeviceLogin, error) {
	var r deviceRow
	err := q.QueryRowContext(ctx,
		`SELECT `+deviceColumns+
			` FROM device_logins d WHERE d.device_hash = $1 OR d.user_hash = $1`, hash).Scan(r.into()...)
	if err != nil {
		return auth.DeviceLogin{}, fmt.Errorf("device login: %w", notFound(err))
	}
	return r.login(), nil
}

func (s *Store) DeviceLogin(ctx context.Context, hash string) (auth.DeviceLogin, error) {
	return deviceLogin(ctx, s.read, hash)
}

// ChangeDeviceLogin asks in the update for the state that it read: of two that meet, one changes
// nothing.
func (s *Store) ChangeDeviceLogin(ctx context.Context, hash string,
	change func(*auth.DeviceLogin) ([]audit.Act, error)) (auth.DeviceLogin, error) {
	var d auth.DeviceLogin
	err := inTx(ctx, s.write, func(t *tx) (err error) {
		if d, err = deviceLogin(ctx, t, hash); err != nil {
			return err
		}
		before := d
		acts, err := change(&d)
		if err != nil || d == before {
			return err
		}
		done, err := t.ExecContext(ctx, `UPDATE device_logins SET state = $3, account_id = $4, interval_ms = $5, polled_at = $6, token_hash = $7, token_ends = $8
			WHERE id = $1 AND state = $2`, d.ID, before.State, d.State, nullText(d.AccountID), d.Interval.Milliseconds(), nullMillis(d.PolledAt),
			nullText(d.TokenHash), nullMillis(d.TokenEnds))
		if err != nil {
			return fmt.Errorf("device login %s: %w", d.ID, storeError(err))
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("device login %s: %w", d.ID, failure.ErrConflict)
		}
		t.log(acts...)
		t.ended = !before.TokenEnds.IsZero() && d.TokenEnds != before.TokenEnds
		return nil
	})
	return d, err
}

func nullText(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func (s *Store) LoginToken(ctx context.Context,
	hash string) (auth.DeviceLogin, account.Account, error) {
	var d deviceRow
	var a accountRow
	err := s.read.QueryRowContext(ctx, `SELECT `+deviceColumns+`, `+accountColumns+`
		FROM device_logins d JOIN accounts a ON a.id = d.account_id WHERE d.token_hash = $1`, hash).Scan(append(d.into(), a.into()...)...)
	if err != nil {
		return auth.DeviceLogin{}, account.Account{}, fmt.Errorf("login token: %w", notFound(err))
	}
	owner, err := a.account()
	return d.login(), owner, err
}
