package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/license"
)

// Stock counts what there is at a time.
func (s *Store) Stock(ctx context.Context, now time.Time) (license.Stock, error) {
	const day = 24 * time.Hour
	out := license.Stock{IssuerKeys: map[string]time.Time{}}
	err := s.read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM policies WHERE removed_at IS NULL),
		count(CASE WHEN valid_until <= $1 THEN 1 END), count(*)
		FROM accounts WHERE status = $2 AND valid_until > $3 AND valid_until <= $4`,
		millis(now.Add(7*day)), account.Active, millis(now), millis(now.Add(30*day))).
		Scan(&out.Policies, &out.EndingWeek, &out.EndingMonth)
	if err != nil {
		return license.Stock{}, fmt.Errorf("count policies and licenses: %w", storeError(err))
	}
	err = s.read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM hook_deliveries WHERE state = 'received'),
		(SELECT count(*) FROM hook_deliveries WHERE state = 'failed'), (SELECT count(*) FROM hook_deliveries WHERE due_at <= $1),
		(SELECT count(*) FROM purchases WHERE unmatched <> '')`, millis(now.Add(-license.LateAfter))).
		Scan(&out.Waiting, &out.Failed, &out.Late, &out.Unmatched)
	if err != nil {
		return license.Stock{}, fmt.Errorf("count deliveries and purchases: %w", storeError(err))
	}
	rows, err := s.read.QueryContext(ctx, `SELECT issuer, fetched_at FROM issuer_keys`)
	if err != nil {
		return license.Stock{}, fmt.Errorf("list keys of issuers: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var issuer string
		var at int64
		if err := rows.Scan(&issuer, &at); err != nil {
			return license.Stock{}, fmt.Errorf("list keys of issuers: %w", storeError(err))
		}
		out.IssuerKeys[issuer] = fromMillis(at)
	}
	if err := rows.Err(); err != nil {
		return license.Stock{}, fmt.Errorf("list keys of issuers: %w", storeError(err))
	}
	if out.Bytes, err = s.size(ctx); err != nil {
		return license.Stock{}, err
	}
	out.BackedUp, err = s.backedUp()
	return out, err
}

// size is how much room the database takes, in bytes.
func (s *Store) size(ctx context.Context) (bytes int64, err error) {
	if s.read.engine == postgres {
		err = s.read.QueryRowContext(ctx, `SELECT pg_database_size(current_database())`).Scan(&bytes)
		return bytes, storeError(err)
	}
	for _, file := range []string{s.path, s.path + "-wal"} {
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return 0, err
		default:
			bytes += info.Size()
		}
	}
	return bytes, nil
}
