package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/githubapp"
)

var _ githubapp.Store = (*Store)(nil)

func (s *Store) GitHubApp(ctx context.Context) (githubapp.SealedApp, error) {
	var a githubapp.SealedApp
	var created int64
	err := s.read.QueryRowContext(ctx, `SELECT app_id, client_id, slug, name, html_url, owner, private_key, webhook_secret, created_at
		FROM github_app WHERE id = 1`).Scan(&a.ID, &a.ClientID, &a.Slug, &a.Name, &a.HTMLURL, &a.Owner, &a.SealedKey, &a.SealedWebhook, &created)
	if err != nil {
		return a, fmt.Errorf("GitHub App: %w", notFound(err))
	}
	a.CreatedAt = fromMillis(created)
	return a, nil
}

func (s *Store) PutGitHubApp(ctx context.Context, a githubapp.SealedApp, replace bool, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		what := `DO NOTHING`
		if replace {
			what = `DO UPDATE SET app_id = excluded.app_id, client_id = excluded.client_id, slug = excluded.slug, name = excluded.name,
				html_url = excluded.html_url, owner = excluded.owner, private_key = excluded.private_key,
				webhook_secret = excluded.webhook_secret, created_at = excluded.created_at`
		}
		done, err := t.ExecContext(ctx, `INSERT INTO github_app (id, app_id, client_id, slug, name, html_url, owner, private_key, webhook_secret, created_at)
			VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) `+what,
			a.ID, a.ClientID, a.Slug, a.Name, a.HTMLURL, a.Owner, a.SealedKey, a.SealedWebhook, millis(a.CreatedAt))
		if err != nil {
			return storeError(err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("another one: %w", failure.ErrConflict)
		}
		t.log(act)
		return nil
	})
}

func (s *Store) AddSetup(ctx context.Context, n githubapp.Setup, act audit.Act) error {
	stores, err := json.Marshal(n.Ask.Stores)
	if err != nil {
		return err
	}
	return inTx(ctx, s.write, func(t *tx) error {
		if err := t.purge(ctx, "github_setups", "hash", millis(n.ExpiresAt.Add(-githubapp.SetupTTL))); err != nil {
			return err
		}
		t.log(act)
		replace := 0
		if n.Ask.Replace {
			replace = 1
		}
		_, err := t.ExecContext(ctx, `INSERT INTO github_setups (hash, state, organization, stores, name, replace_app, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, n.Hash, n.State, n.Ask.Organization, string(stores), n.Ask.Name, replace, millis(n.ExpiresAt))
		return storeError(err)
	})
}

func (s *Store) SetupOf(ctx context.Context, hash string) (githubapp.Setup, error) {
	var n githubapp.Setup
	var stores string
	var replace, expires int64
	err := s.read.QueryRowContext(ctx, `SELECT hash, state, organization, stores, name, replace_app, expires_at FROM github_setups
		WHERE hash = $1 OR state = $1`, hash).Scan(&n.Hash, &n.State, &n.Ask.Organization, &stores, &n.Ask.Name, &replace, &expires)
	if err != nil {
		return n, fmt.Errorf("link to make the GitHub App: %w", notFound(err))
	}
	n.Ask.Replace, n.ExpiresAt = replace == 1, fromMillis(expires)
	return n, json.Unmarshal([]byte(stores), &n.Ask.Stores)
}

func (s *Store) UseSetup(ctx context.Context, hash string) error {
	return inTx(ctx, s.write, func(t *tx) error {
		if err := changedOne(t.ExecContext(ctx, `DELETE FROM github_setups WHERE hash = $1`, hash)); err != nil {
			return fmt.Errorf("link to make the GitHub App: %w", storeError(err))
		}
		return nil
	})
}
