package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/ledger"
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
	if err := s.recent.remember(ctx); err != nil {
		return err
	}
	return s.group.do(ctx,
		func(ctx context.Context, t *tx) error { return t.recordToken(ctx, r, act) })
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

// RecordedAt goes by what is remembered: see recent.
func (s *Store) RecordedAt(ctx context.Context, id opaque.TokenID) (time.Time, error) {
	at, known, err := s.recent.when(ctx, id)
	if err == nil && !known {
		err = failure.ErrNotFound
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("token %s: %w", id, err)
	}
	return at, nil
}

func (s *Store) Token(ctx context.Context, id opaque.TokenID) (license.TokenRecord, error) {
	r, _, err := s.find(ctx, id)
	if err != nil {
		return license.TokenRecord{}, err
	}
	list := []license.TokenRecord{r}
	err = s.markRevoked(ctx, list)
	return list[0], err
}

func (s *Store) Tokens(ctx context.Context, q license.TokenQuery) (list []license.TokenRecord, err error) {
	var from search
	from.where(ledger.OfAccount, q.Account)
	from.where(ledger.OfKey, q.Key)
	if q.Before != "" {
		if _, from.before, err = s.find(ctx, q.Before); err != nil {
			return nil, err
		}
	}
	if q.Before == "" || from.before != 0 {
		seen := map[opaque.TokenID]bool{}
		err = from.find(ctx, s.read, func(_ int64, r *ledger.Reader) bool {
			record := r.Record()
			if t := tokenOf(&record); !seen[t.ID] { // replicas that did the same at once both recorded it
				seen[t.ID] = true
				list = append(list, t)
			}
			return len(list) < q.Limit
		})
		if err != nil {
			return nil, err
		}
		if err := s.markRevoked(ctx, list); err != nil {
			return nil, err
		}
		q.Before = ""
	}
	if q.Limit -= len(list); q.Limit == 0 {
		return list, nil
	}
	older, err := s.tokenRows(ctx, q)
	return append(list, older...), err
}

// recordedWithin is how far from the time of issue in its id a token is recorded: refreshing goes by
// windows, and clocks differ.
const recordedWithin = 2*license.MaxWindow + audit.ClockSlack

// find returns the record of a token and its number in the audit log; 0 when it has a row of its own
// from before there was a ledger. ErrNotFound.
func (s *Store) find(ctx context.Context, id opaque.TokenID) (found license.TokenRecord, seq int64, err error) {
	var everywhere search
	everywhere.where(ledger.OfToken, string(id))
	tries := []search{everywhere}
	if issued, ok := id.IssuedAt(); ok { // the record was made soon after, and most often that is all that is read
		near := everywhere
		near.since, near.until = millis(issued.Add(-recordedWithin)), millis(issued.Add(recordedWithin))
		tries = []search{near, everywhere}
	}
	for _, q := range tries {
		err = q.find(ctx, s.read, func(n int64, r *ledger.Reader) bool {
			record := r.Record()
			found, seq = tokenOf(&record), n
			return false
		})
		if err != nil || seq != 0 {
			return found, seq, err
		}
	}
	var r tokenRow
	if err := s.read.QueryRowContext(ctx, `SELECT `+tokenColumns+` FROM tokens t WHERE t.id = $1`,
		id).Scan(r.into()...); err != nil {
		return license.TokenRecord{}, 0, fmt.Errorf("token %s: %w", id, notFound(err))
	}
	return r.record(), 0, nil
}

// markRevoked says of each token whether it, or its family, was revoked.
func (s *Store) markRevoked(ctx context.Context, list []license.TokenRecord) error {
	const together = 32 // tokens, so that there are few texts of this statement
	for page := range slices.Chunk(list, together) {
		subjects := make([]any, 2*together)
		for i := range together {
			t := page[min(i, len(page)-1)]
			subjects[2*i], subjects[2*i+1] = string(t.ID), t.ID.Family()
		}
		revoked, err := s.revokedOf(ctx, subjects)
		if err != nil {
			return err
		}
		for i := range page {
			page[i].Revoked = revoked[string(page[i].ID)] || revoked[page[i].ID.Family()]
		}
	}
	return nil
}

// revokedOf returns those of the subjects that were revoked.
func (s *Store) revokedOf(ctx context.Context, subjects []any) (map[string]bool, error) {
	marks := make([]string, len(subjects))
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT subject FROM revocations WHERE subject IN (`+strings.Join(marks, ", ")+`)`, subjects...)
	if err != nil {
		return nil, fmt.Errorf("look up revocations: %w", storeError(err))
	}
	defer rows.Close()
	revoked := map[string]bool{}
	for rows.Next() {
		var subject string
		if err := rows.Scan(&subject); err != nil {
			return nil, fmt.Errorf("look up revocations: %w", storeError(err))
		}
		revoked[subject] = true
	}
	return revoked, storeError(rows.Err())
}

// tokenRows is the tokens of before there was a ledger, newest first.
func (s *Store) tokenRows(ctx context.Context, q license.TokenQuery) ([]license.TokenRecord, error) {
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
		done, err := t.revoke(ctx, r.Subject, r.AccountID, millis(r.At))
		if err != nil {
			return err
		}
		return t.logIf(done, act)
	})
}

// revoke adds a revocation unless there is one.
func (t *tx) revoke(ctx context.Context, subject, account string, at int64) (sql.Result, error) {
	done, err := t.ExecContext(ctx, `INSERT INTO revocations (subject, account_id, revoked_at, rights) VALUES ($1, $2, $3, $4) ON CONFLICT (subject) DO NOTHING`,
		subject, account, at, t.head.rights+1)
	if err != nil {
		return nil, fmt.Errorf("revoke %s: %w", subject, storeError(err))
	}
	if n, err := done.RowsAffected(); err != nil || n > 0 {
		t.ended = true
		return done, err
	}
	return done, nil
}
