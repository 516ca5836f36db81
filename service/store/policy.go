package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
)

const policyColumns = `id, version, account_id, repository, issuer, repository_id, owner_id, narrowing, created_at`

// conditions is the part of a policy that is kept as JSON: nothing is ever asked for by it.
type conditions struct {
	Refs            []string `json:"ref,omitempty"`
	Environments    []string `json:"environment,omitempty"`
	Events          []string `json:"event,omitempty"`
	JobWorkflowRefs []string `json:"job_workflow_ref,omitempty"`
	Visibilities    []string `json:"visibility,omitempty"`
}

func (s *Store) AddPolicy(ctx context.Context, p license.TrustPolicy,
	act audit.Act) (license.TrustPolicy, error) {
	narrow, err := json.Marshal(conditions{
		p.Refs, p.Environments, p.Events, p.JobWorkflowRefs, p.Visibilities,
	})
	if err != nil {
		return license.TrustPolicy{}, err
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		t.log(act)
		// removed ones count too: a version never comes back
		err := t.QueryRowContext(ctx,
			`SELECT count(*) + 1 FROM policies WHERE account_id = $1 AND repository_id = $2`, p.AccountID, p.RepositoryID).Scan(&p.Version)
		if err != nil {
			return fmt.Errorf("add policy: %w", storeError(err))
		}
		_, err = t.ExecContext(ctx, `INSERT INTO policies (`+policyColumns+
			`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			p.ID, p.Version, p.AccountID, p.Repository, p.Issuer, p.RepositoryID, p.OwnerID, string(narrow), millis(p.CreatedAt))
		return storeError(err)
	})
	return p, err
}

func (s *Store) Policies(ctx context.Context, q license.PolicyQuery) ([]license.TrustPolicy, error) {
	f := filter{conditions: []string{"removed_at IS NULL"}}
	byID := license.IsRepositoryID(q.Repository)
	f.where("repository_id = %s", q.Repository, byID)
	f.where("lower(repository) = %s", strings.ToLower(q.Repository), q.Repository != "" && !byID)
	f.where("account_id = %s", q.Account, q.Account != "")
	f.where("id > %s", q.After, q.After != "")
	return s.policies(ctx, f.list("id", q.Limit), f.args...)
}

func (s *Store) PoliciesFor(ctx context.Context,
	repositoryID string) ([]license.TrustPolicy, error) {
	return s.policies(ctx, ` WHERE removed_at IS NULL AND repository_id = $1 ORDER BY created_at, id`,
		repositoryID)
}

func (s *Store) policies(ctx context.Context, which string,
	args ...any) ([]license.TrustPolicy, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+policyColumns+` FROM policies`+which,
		args...)
	if err != nil {
		return nil, fmt.Errorf("list policies: %w", storeError(err))
	}
	defer rows.Close()
	var list []license.TrustPolicy
	for rows.Next() {
		var p license.TrustPolicy
		var n conditions
		var narrow string
		var created int64
		if err := rows.Scan(&p.ID, &p.Version, &p.AccountID, &p.Repository, &p.Issuer,
			&p.RepositoryID, &p.OwnerID, &narrow, &created); err != nil {
			return nil, fmt.Errorf("list policies: %w", storeError(err))
		}
		if err := json.Unmarshal([]byte(narrow),
			&n); err != nil { // never less narrow than it was meant
			return nil, fmt.Errorf("policy %s: %w", p.ID, err)
		}
		p.Refs, p.Environments, p.Events, p.JobWorkflowRefs, p.Visibilities = n.Refs, n.Environments, n.Events, n.JobWorkflowRefs, n.Visibilities
		p.CreatedAt = fromMillis(created)
		list = append(list, p)
	}
	return list, storeError(rows.Err())
}

func (s *Store) RemovePolicy(ctx context.Context, id string, act audit.Act,
	issued *audit.Act) (families int64, err error) {
	found := &issuedFamilies{}
	if issued != nil {
		if found, err = s.issuedBy(ctx, id); err != nil {
			return 0, err
		}
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		if err := t.end(ctx, "policy", "policies", "removed_at", id, act); err != nil {
			return err
		}
		families, err = t.revokeIssuedBy(ctx, found, issued)
		return err
	})
	return families, err
}
