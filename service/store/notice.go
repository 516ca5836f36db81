package store

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/pageflare/ci/service/account"
)

// lookNow and lookNever are accounts.notice_at of an account that is due, and of one that is not
// until it is changed. The former is what an account begins with.
const (
	lookNow   = 0
	lookNever = math.MaxInt64
)

const accountsDue = `SELECT ` + accountColumns + `, a.told_until, a.told_days FROM accounts a WHERE a.notice_at <= $1 ORDER BY a.notice_at LIMIT $2`

func (s *Store) LookAtEnds(
	ctx context.Context, now time.Time, limit int,
	look func(account.Account, account.Notice) account.Look,
) (looked int, err error) {
	// most often nobody is due, and then nobody else has to wait
	var due bool
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM accounts WHERE notice_at <= $1)`, millis(now)).Scan(&due)
	if err != nil || !due {
		return 0, storeError(err)
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		list, err := t.accountsDue(ctx, now, limit)
		looked = len(list)
		for _, d := range list {
			if err == nil {
				err = t.looked(ctx, d.account.ID, look(d.account, d.told))
			}
		}
		return err
	})
	return looked, err
}

type dueAccount struct {
	account account.Account
	told    account.Notice
}

func (t *tx) accountsDue(ctx context.Context, now time.Time, limit int) (list []dueAccount, err error) {
	rows, err := t.QueryContext(ctx, accountsDue, millis(now), limit)
	if err != nil {
		return nil, fmt.Errorf("look for licenses that end: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var r accountRow
		var until int64
		var d dueAccount
		if err := rows.Scan(append(r.into(), &until, &d.told.Days)...); err != nil {
			return nil, fmt.Errorf("look for licenses that end: %w", storeError(err))
		}
		if until != 0 {
			d.told.ValidUntil = fromMillis(until)
		}
		if d.account, err = r.account(); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, storeError(rows.Err())
}

// looked stores what came of looking at an account.
func (t *tx) looked(ctx context.Context, id string, l account.Look) error {
	if l.Give != nil {
		t.log(*l.Give)
	}
	var until, next int64 = 0, lookNever
	if !l.Told.ValidUntil.IsZero() {
		until = millis(l.Told.ValidUntil)
	}
	if !l.Next.IsZero() {
		next = millis(l.Next)
	}
	_, err := t.ExecContext(ctx, `UPDATE accounts SET notice_at = $2, told_until = $3, told_days = $4 WHERE id = $1`, id, next, until, l.Told.Days)
	if err != nil {
		return fmt.Errorf("account %s: %w", id, storeError(err))
	}
	return nil
}
