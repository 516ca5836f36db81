package store

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/webhook/in"
)

var _ in.Places = (*Store)(nil)

func (s *Store) SaveInstallation(ctx context.Context, i in.Installation) error {
	err := inTx(ctx, s.write, func(t *tx) error {
		_, err := t.ExecContext(ctx, `INSERT INTO github_installations (id, owner_id, login, status, updated_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id, login = excluded.login, status = excluded.status,
			updated_at = excluded.updated_at WHERE github_installations.status <> 'deleted'
			AND (github_installations.updated_at <= excluded.updated_at OR excluded.status = 'deleted')`,
			i.ID, i.OwnerID, i.Login, i.Status, millis(i.UpdatedAt))
		return storeError(err)
	})
	if err != nil {
		return fmt.Errorf("store installation %d: %w", i.ID, err)
	}
	return nil
}

func (s *Store) GitHubInstallations(ctx context.Context) ([]in.Installation, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, owner_id, login, status, updated_at FROM github_installations WHERE status <> 'deleted' ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list installations: %w", storeError(err))
	}
	defer rows.Close()
	var list []in.Installation
	for rows.Next() {
		var i in.Installation
		var updated int64
		if err := rows.Scan(&i.ID, &i.OwnerID, &i.Login, &i.Status, &updated); err != nil {
			return nil, fmt.Errorf("list installations: %w", storeError(err))
		}
		i.UpdatedAt = fromMillis(updated)
		list = append(list, i)
	}
	return list, storeError(rows.Err())
}

func (s *Store) RenameInstallations(ctx context.Context, ownerID int64, login string) error {
	err := inTx(ctx, s.write, func(t *tx) error {
		_, err := t.ExecContext(ctx, `UPDATE github_installations SET login = $2 WHERE owner_id = $1`, ownerID, login)
		return storeError(err)
	})
	if err != nil {
		return fmt.Errorf("rename the installations of owner %d: %w", ownerID, err)
	}
	return nil
}

func (s *Store) GitHubRepository(ctx context.Context, id int64) (r in.Repository, err error) {
	var updated int64
	err = s.read.QueryRowContext(ctx, `SELECT id, owner_id, name, status, updated_at FROM github_repositories WHERE id = $1`, id).
		Scan(&r.ID, &r.OwnerID, &r.Name, &r.Status, &updated)
	if err != nil {
		return r, fmt.Errorf("repository %d: %w", id, notFound(err))
	}
	r.UpdatedAt = fromMillis(updated)
	return r, nil
}

func (s *Store) SaveRepository(ctx context.Context, r in.Repository) error {
	err := inTx(ctx, s.write, func(t *tx) error {
		_, err := t.ExecContext(ctx, `INSERT INTO github_repositories (id, owner_id, name, status, updated_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id, name = excluded.name, status = excluded.status,
			updated_at = excluded.updated_at WHERE github_repositories.status <> 'deleted'
			AND (github_repositories.updated_at <= excluded.updated_at OR excluded.status = 'deleted')`,
			r.ID, r.OwnerID, r.Name, r.Status, millis(r.UpdatedAt))
		return storeError(err)
	})
	if err != nil {
		return fmt.Errorf("store repository %d: %w", r.ID, err)
	}
	return nil
}
