package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

// tokenColumns end with whether the token or its family (letters 9 to 24 of its id) was revoked.
const tokenColumns = `t.id, t.account_id, t.parent_id, t.issued_by, t.key_id, t.issued_at, t.expires_at, t.recorded_at,
	EXISTS (SELECT 1 FROM revocations r WHERE r.subject = t.id OR r.subject = substr(t.id, 9, 16))`

// tokenRow reads tokenColumns.
type tokenRow struct {
	license.TokenRecord
	issued, expires, recorded int64
}

func (r *tokenRow) into() []any {
	return []any{
		&r.ID, &r.AccountID, &r.Parent, &r.IssuedBy, &r.KeyID, &r.issued, &r.expires, &r.recorded,
		&r.Revoked,
	}
}

func (r *tokenRow) record() license.TokenRecord {
	t := r.TokenRecord
	t.IssuedAt, t.ExpiresAt, t.Recorded = fromMillis(r.issued), fromMillis(r.expires), fromMillis(r.recorded)
	return t
}

func (s *Store) AccountStatus(ctx context.Context, id string,
	subjects ...string) (account.Account, bool, error) {
	args := []any{id}
	marks := make([]string, 0, len(subjects))
	for _, subject := range subjects {
		args = append(args, subject)
		marks = append(marks, fmt.Sprintf("$%d", len(args)))
	}
	var a accountRow
	var revoked bool
	err := s.read.QueryRowContext(ctx, `SELECT `+accountColumns+
		`, EXISTS (SELECT 1 FROM revocations WHERE subject IN (`+strings.Join(marks, ", ")+`))
		FROM accounts a WHERE a.id = $1`, args...).Scan(append(a.into(), &revoked)...)
	if err != nil {
		return account.Account{}, false, fmt.Errorf("account %s: %w", id, notFound(err))
	}
	owner, err := a.account()
	return owner, revoked, err
}

func (s *Store) RecordToken(ctx context.Context, r license.TokenRecord, act audit.Act) error {
	return s.group.do(ctx,
		func(ctx context.Context, t *tx) error { return t.recordToken(ctx, r, act) })
}

// recordToken inserts the record of a token and notes the act, unless it is there already.
// ErrKeyRetired, and as in mayDescend.
func (t *tx) recordToken(ctx context.Context, r license.TokenRecord, act audit.Act) error {
	if err := t.mayRecord(ctx, r.KeyID); err != nil {
		return err
	}
	if err := t.mayDescend(ctx, r); err != nil {
		return err
	}
	done, err := t.ExecContext(ctx, `INSERT INTO tokens (id, account_id, parent_id, issued_by, key_id, issued_at, expires_at, recorded_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING`,
		r.ID, r.AccountID, r.Parent, r.IssuedBy, r.KeyID, millis(r.IssuedAt), millis(r.ExpiresAt), millis(r.Recorded))
	if err != nil {
		return fmt.Errorf("record a token: %w", storeError(err))
	}
	return t.logIf(done, act)
}

// mayDescend refuses a token whose right ended while it was made. The caller was looked at before;
// only in the transaction that records is it certain that what is revoked together with all that it
// issued misses nothing. ErrTokenRevoked, ErrUnauthenticated, ErrNoPolicy.
func (t *tx) mayDescend(ctx context.Context, r license.TokenRecord) error {
	if r.Parent == "" && r.IssuedBy == "" {
		return nil // by the operator
	}
	var parent, apiToken, login, policy bool
	err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM revocations WHERE subject = $1 OR subject = $2),
		EXISTS (SELECT 1 FROM api_tokens WHERE id = $3 AND revoked_at IS NOT NULL),
		EXISTS (SELECT 1 FROM device_logins WHERE id = $3 AND token_ends <= $4),
		EXISTS (SELECT 1 FROM policies WHERE id = $3 AND removed_at IS NOT NULL)`,
		r.Parent, r.Parent.Family(), r.IssuedBy, millis(r.Recorded)).Scan(&parent, &apiToken,
		&login, &policy)
	switch {
	case err != nil:
		return fmt.Errorf("look at what a token descends from: %w", storeError(err))
	case parent:
		return fmt.Errorf("token %s: %w", r.Parent, license.ErrTokenRevoked)
	case apiToken, login:
		return fmt.Errorf("%w: %s was revoked", auth.ErrUnauthenticated, r.IssuedBy)
	case policy:
		return fmt.Errorf("policy %s: %w", r.IssuedBy, auth.ErrNoPolicy)
	}
	return nil
}

func (s *Store) RecordedAt(ctx context.Context, id opaque.TokenID) (time.Time, error) {
	var at int64
	if err := s.read.QueryRowContext(ctx, `SELECT recorded_at FROM tokens WHERE id = $1`,
		id).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("token %s: %w", id, notFound(err))
	}
	return fromMillis(at), nil
}

func (s *Store) Token(ctx context.Context, id opaque.TokenID) (license.TokenRecord, error) {
	var r tokenRow
	if err := s.read.QueryRowContext(ctx, `SELECT `+tokenColumns+` FROM tokens t WHERE t.id = $1`,
		id).Scan(r.into()...); err != nil {
		return license.TokenRecord{}, fmt.Errorf("token %s: %w", id, notFound(err))
	}
	return r.record(), nil
}

func (s *Store) Tokens(ctx context.Context, q license.TokenQuery) ([]license.TokenRecord, error) {
	var f filter
	f.where("t.account_id = %s", q.Account, q.Account != "")
	f.where("t.key_id = %s", q.Key, q.Key != "")
	f.where("t.id < %s", string(q.Before), q.Before != "")
	rows, err := s.read.QueryContext(ctx,
		`SELECT `+tokenColumns+` FROM tokens t`+f.list("t.id DESC", q.Limit), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", storeError(err))
	}
	defer rows.Close()
	var list []license.TokenRecord
	for rows.Next() {
		var r tokenRow
		if err := rows.Scan(r.into()...); err != nil {
			return nil, fmt.Errorf("list tokens: %w", storeError(err))
		}
		list = append(list, r.record())
	}
	return list, storeError(rows.Err())
}

func (s *Store) Revoke(ctx context.Context, r license.Revocation, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		done, err := t.ExecContext(ctx, `INSERT INTO revocations (subject, account_id, revoked_at) VALUES ($1, $2, $3) ON CONFLICT (subject) DO NOTHING`,
			r.Subject, r.AccountID, millis(r.At))
		if err != nil {
			return fmt.Errorf("revoke %s: %w", r.Subject, storeError(err))
		}
		return t.logIf(done, act)
	})
}

// revokeIssuedBy says once more that issued_by is not empty: by that a database knows that the
// index, which holds no others, has all that is asked for.
const revokeIssuedBy = `INSERT INTO revocations (subject, account_id, revoked_at)
	SELECT DISTINCT substr(id, 9, 16), account_id, CAST($2 AS BIGINT) FROM tokens WHERE issued_by = $1 AND issued_by <> '' ON CONFLICT (subject) DO NOTHING`

// revokeIssuedBy revokes every family whose first token says that it was issued by this, and
// returns how many were not revoked before; nothing without an act.
func (t *tx) revokeIssuedBy(ctx context.Context, issuer string,
	act *audit.Act) (families int64, err error) {
	if act == nil {
		return 0, nil
	}
	done, err := t.ExecContext(ctx, revokeIssuedBy, issuer, millis(act.At))
	if err != nil {
		return 0, fmt.Errorf("revoke what %s issued: %w", issuer, storeError(err))
	}
	if families, err = done.RowsAffected(); err != nil {
		return 0, err
	}
	noted := *act
	if noted.Account, err = t.ownerOf(ctx, issuer); err != nil {
		return 0, err
	}
	return families, t.logIf(done, noted)
}
