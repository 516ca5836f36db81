package store

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
)

func (s *Store) AddSignInLink(ctx context.Context, l auth.SignInLink, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		if err := t.purge(ctx, "sign_in_links", "hash", millis(act.At)); err != nil {
			return err
		}
		t.log(act)
		_, err := t.ExecContext(ctx,
			`INSERT INTO sign_in_links (hash, account_id, expires_at) VALUES ($1, $2, $3)`, l.Hash, l.AccountID, millis(l.ExpiresAt))
		return storeError(err)
	})
}

func (s *Store) SignInLink(ctx context.Context, hash string) (auth.SignInLink, error) {
	l := auth.SignInLink{Hash: hash}
	var expires int64
	if err := s.read.QueryRowContext(ctx,
		`SELECT account_id, expires_at FROM sign_in_links WHERE hash = $1`, hash).Scan(&l.AccountID,
		&expires); err != nil {
		return auth.SignInLink{}, fmt.Errorf("sign-in link: %w", notFound(err))
	}
	l.ExpiresAt = fromMillis(expires)
	return l, nil
}

// BeginSession deletes the link: of two that use it, one finds no row to delete.
func (s *Store) BeginSession(ctx context.Context, link string, n auth.Session,
	act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		if err := changedOne(t.ExecContext(ctx, `DELETE FROM sign_in_links WHERE hash = $1`,
			link)); err != nil {
			return fmt.Errorf("sign-in link: %w", storeError(err))
		}
		if err := t.purge(ctx, "sessions", "id", millis(n.CreatedAt)); err != nil {
			return err
		}
		t.log(act)
		_, err := t.ExecContext(ctx, `INSERT INTO sessions (id, hash, account_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)`,
			n.ID, n.Hash, n.AccountID, millis(n.CreatedAt), millis(n.ExpiresAt))
		return storeError(err)
	})
}

func (s *Store) Session(ctx context.Context, hash string) (auth.Session, account.Account, error) {
	n := auth.Session{Hash: hash}
	var a accountRow
	var created, expires int64
	err := s.read.QueryRowContext(ctx, `SELECT n.id, n.account_id, n.created_at, n.expires_at, `+
		accountColumns+`
		FROM sessions n JOIN accounts a ON a.id = n.account_id WHERE n.hash = $1`, hash).Scan(append([]any{&n.ID, &n.AccountID, &created, &expires}, a.into()...)...)
	if err != nil {
		return auth.Session{}, account.Account{}, fmt.Errorf("session: %w", notFound(err))
	}
	n.CreatedAt, n.ExpiresAt = fromMillis(created), fromMillis(expires)
	owner, err := a.account()
	return n, owner, err
}

func (s *Store) EndSession(ctx context.Context, id string, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		done, err := t.ExecContext(ctx, `DELETE FROM sessions WHERE id = $1`, id)
		if err != nil {
			return fmt.Errorf("session %s: %w", id, storeError(err))
		}
		return t.logIf(done, act)
	})
}
