package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
)

const policyColumns = `id, version, account_id, repository, issuer, repository_id, owner_id, narrowing, created_at`

// narrowing is the part of a policy that is kept as JSON: nothing is ever asked for by it.
type narrowing struct {
	Refs            []string `json:"ref,omitempty"`
	Environments    []string `json:"environment,omitempty"`
	Events          []string `json:"event,omitempty"`
	JobWorkflowRefs []string `json:"job_workflow_ref,omitempty"`
	Visibilities    []string `json:"visibility,omitempty"`
}

// AddPolicy meets license.Store.
func (s *Store) AddPolicy(ctx context.Context, p license.TrustPolicy, act audit.Act) (license.TrustPolicy, error) {
	narrow, err := json.Marshal(narrowing{p.Refs, p.Environments, p.Events, p.JobWorkflowRefs, p.Visibilities})
	if err != nil {
		return license.TrustPolicy{}, err
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		t.log(act)
		// removed ones count too: a version never comes back
		err := t.QueryRowContext(ctx, `SELECT count(*) + 1 FROM policies WHERE account_id = $1 AND repository_id = $2`, p.AccountID, p.RepositoryID).Scan(&p.Version)
		if err != nil {
			return fmt.Errorf("add policy: %w", storeError(err))
		}
		_, err = t.ExecContext(ctx, `INSERT INTO policies (`+policyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			p.ID, p.Version, p.AccountID, p.Repository, p.Issuer, p.RepositoryID, p.OwnerID, string(narrow), millis(p.CreatedAt))
		return storeError(err)
	})
	return p, err
}

// Policies meets license.Store.
func (s *Store) Policies(ctx context.Context, account, after string, limit int) ([]license.TrustPolicy, error) {
	return s.policies(ctx, `removed_at IS NULL AND ($1 = '' OR account_id = $1) AND id > $2 ORDER BY id LIMIT $3`, account, after, limit)
}

// PoliciesFor meets license.Store.
func (s *Store) PoliciesFor(ctx context.Context, repositoryID string) ([]license.TrustPolicy, error) {
	return s.policies(ctx, `removed_at IS NULL AND repository_id = $1 ORDER BY created_at, id`, repositoryID)
}

func (s *Store) policies(ctx context.Context, where string, args ...any) ([]license.TrustPolicy, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+policyColumns+` FROM policies WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list policies: %w", storeError(err))
	}
	defer rows.Close()
	var list []license.TrustPolicy
	for rows.Next() {
		var p license.TrustPolicy
		var n narrowing
		var narrow string
		var created int64
		if err := rows.Scan(&p.ID, &p.Version, &p.AccountID, &p.Repository, &p.Issuer, &p.RepositoryID, &p.OwnerID, &narrow, &created); err != nil {
			return nil, fmt.Errorf("list policies: %w", storeError(err))
		}
		if err := json.Unmarshal([]byte(narrow), &n); err != nil { // never less narrow than it was meant
			return nil, fmt.Errorf("policy %s: %w", p.ID, err)
		}
		p.Refs, p.Environments, p.Events, p.JobWorkflowRefs, p.Visibilities = n.Refs, n.Environments, n.Events, n.JobWorkflowRefs, n.Visibilities
		p.CreatedAt = fromMillis(created)
		list = append(list, p)
	}
	return list, storeError(rows.Err())
}

// RemovePolicy meets license.Store.
func (s *Store) RemovePolicy(ctx context.Context, id string, act audit.Act, issued *audit.Act) (families int64, err error) {
	err = inTx(ctx, s.write, func(t *tx) error {
		if err := t.end(ctx, "policy", "policies", "removed_at", id, act); err != nil {
			return err
		}
		families, err = t.revokeIssuedBy(ctx, id, issued)
		return err
	})
	return families, err
}

// forgotten is how many uses of identities that can be forgotten are forgotten with each new one: more than come in.
const forgotten = 10

// RecordExchange meets license.Store.
func (s *Store) RecordExchange(ctx context.Context, use license.IdentityUse, r license.TokenRecord, act audit.Act) (first license.IdentityUse, err error) {
	var found license.IdentityUse
	err = s.group.do(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.ExecContext(ctx, `DELETE FROM used_identities WHERE hash IN (SELECT hash FROM used_identities WHERE until < $1 LIMIT $2)`,
			millis(use.At), forgotten)
		if err != nil {
			return fmt.Errorf("forget old identities: %w", storeError(err))
		}
		done, err := t.ExecContext(ctx, `INSERT INTO used_identities (hash, at, until, token_id) VALUES ($1, $2, $3, $4) ON CONFLICT (hash) DO NOTHING`,
			use.Hash, millis(use.At), millis(use.Until), use.Token)
		if err != nil {
			return fmt.Errorf("remember an identity: %w", storeError(err))
		}
		n, err := done.RowsAffected()
		if err != nil {
			return err
		}
		if n == 1 {
			found = use
			return t.recordToken(ctx, r, act)
		}
		found, err = identityUse(ctx, t, use.Hash)
		return err
	})
	if err != nil {
		return license.IdentityUse{}, err
	}
	return found, nil
}

// IdentityUse meets license.Store.
func (s *Store) IdentityUse(ctx context.Context, hash string) (license.IdentityUse, error) {
	return identityUse(ctx, s.read, hash)
}

func identityUse(ctx context.Context, q querier, hash string) (license.IdentityUse, error) {
	var at, until int64
	use := license.IdentityUse{Hash: hash}
	err := q.QueryRowContext(ctx, `SELECT at, until, token_id FROM used_identities WHERE hash = $1`, hash).Scan(&at, &until, &use.Token)
	if err != nil {
		return license.IdentityUse{}, fmt.Errorf("use of an identity: %w", notFound(storeError(err)))
	}
	use.At, use.Until = fromMillis(at), fromMillis(until)
	return use, nil
}
