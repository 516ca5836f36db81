package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
)

// useInterval is how far the time of the last use may be behind: the row of a repository is written
// once in so long, however many jobs it runs.
const useInterval = time.Hour

// useRepository notes that a job of a repository got a token. Most uses find a row that is new
// enough, and write nothing.
func (t *tx) useRepository(ctx context.Context, r license.Repository) error {
	if t.pool.used.has(r) {
		return nil
	}
	t.used = append(t.used, r)
	_, err := t.ExecContext(ctx, `INSERT INTO repositories AS r (account_id, repository_id, issuer, owner_id, name, last_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account_id, repository_id, issuer) DO UPDATE SET
		owner_id = excluded.owner_id, name = CASE WHEN excluded.name = '' THEN r.name ELSE excluded.name END,
		last_at = CASE WHEN excluded.last_at > r.last_at THEN excluded.last_at ELSE r.last_at END
		WHERE excluded.last_at >= r.last_at + $7 OR excluded.owner_id <> r.owner_id
		OR (excluded.name <> r.name AND excluded.name <> '')`,
		r.AccountID, r.RepositoryID, r.Issuer, r.OwnerID, r.Name, millis(r.LastUsedAt), useInterval.Milliseconds())
	if err != nil {
		return fmt.Errorf("note the use of a repository: %w", storeError(err))
	}
	return nil
}

// usedRepositories is the uses that this process has noted last, so that it need not ask the
// database with each job whether its row is new enough.
type usedRepositories struct {
	mu   sync.Mutex
	last map[license.RepositoryKey]license.Repository
}

// maxUsed bounds them.
const maxUsed = 50_000

// has says whether a use says nothing that was not noted already.
func (u *usedRepositories) has(r license.Repository) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, there := u.last[r.RepositoryKey]
	return there && last.OwnerID == r.OwnerID && (r.Name == "" || r.Name == last.Name) &&
		r.LastUsedAt.Before(last.LastUsedAt.Add(useInterval))
}

// noted notes uses that are durable now.
func (u *usedRepositories) noted(list []license.Repository) {
	if len(list) == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil || len(u.last) > maxUsed {
		u.last = map[license.RepositoryKey]license.Repository{}
	}
	for _, r := range list {
		u.last[r.RepositoryKey] = r
	}
}

func (s *Store) Repositories(ctx context.Context,
	q license.RepositoryQuery) ([]license.Repository, error) {
	var f filter
	f.where("account_id = %s", q.Account, q.Account != "")
	f.where("last_at < %s", millis(q.UnusedSince), !q.UnusedSince.IsZero())
	if a := q.After; a != (license.RepositoryKey{}) {
		f.conditions = append(f.conditions, fmt.Sprintf("(account_id, repository_id, issuer) > (%s, %s, %s)",
			f.mark(a.AccountID), f.mark(a.RepositoryID), f.mark(a.Issuer)))
	}
	rows, err := s.read.QueryContext(ctx, `SELECT account_id, repository_id, issuer, owner_id, name, last_at FROM repositories`+
		f.list("account_id, repository_id, issuer", q.Limit), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list repositories: %w", storeError(err))
	}
	defer rows.Close()
	var list []license.Repository
	for rows.Next() {
		var r license.Repository
		var last int64
		if err := rows.Scan(&r.AccountID, &r.RepositoryID, &r.Issuer, &r.OwnerID, &r.Name, &last); err != nil {
			return nil, fmt.Errorf("list repositories: %w", storeError(err))
		}
		r.LastUsedAt = fromMillis(last)
		list = append(list, r)
	}
	return list, storeError(rows.Err())
}

func (s *Store) AddRefusal(ctx context.Context, act audit.Act) error {
	return s.group.do(ctx, func(_ context.Context, t *tx) error {
		t.log(act)
		return nil
	})
}

// Refusal names the action in its text, or the index of refusals would not be used.
func (s *Store) Refusal(ctx context.Context, requestID string) (audit.Line, error) {
	lines, err := readLines(ctx, s.read, ` WHERE action = '`+string(audit.ExchangeRefused)+
		`' AND request_id = $1 ORDER BY seq LIMIT 1`, requestID)
	if err == nil && len(lines) == 0 {
		err = failure.ErrNotFound
	}
	if err != nil {
		return audit.Line{}, fmt.Errorf("refusal of request %s: %w", requestID, err)
	}
	return lines[0], nil
}
