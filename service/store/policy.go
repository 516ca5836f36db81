package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
)

const policyColumns = `id, version, account_id, repository, issuer, repository_id, owner_id, narrowing, created_at`

// conditions is the part of a policy that is stored as JSON: nothing is ever asked for by it.
type conditions struct {
	Refs            []string `json:"ref,omitempty"`
	Environments    []string `json:"environment,omitempty"`
	Events          []string `json:"event,omitempty"`
	JobWorkflowRefs []string `json:"job_workflow_ref,omitempty"`
	Visibilities    []string `json:"visibility,omitempty"`
}

func (s *Store) AddPolicies(ctx context.Context, list []license.TrustPolicy,
	acts []audit.Act) ([]license.TrustPolicy, error) {
	made := make([]license.TrustPolicy, len(list))
	err := inTx(ctx, s.write, func(t *tx) (err error) {
		alive := map[string]error{}
		for i, p := range list {
			fault, checked := alive[p.AccountID]
			if !checked {
				fault = t.mayTrust(ctx, p.AccountID)
				alive[p.AccountID] = fault
			}
			if fault == nil {
				made[i], fault = t.addPolicy(ctx, p, acts[i])
			}
			if fault != nil {
				return license.PolicyFaults{{Index: i, Err: fault}}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// mayTrust refuses an account that gets no policies. license.ErrNotFound; account.ErrDeleted.
func (t *tx) mayTrust(ctx context.Context, id string) error {
	a, err := accountByID(ctx, t, id)
	if err == nil && a.Status == account.Deleted {
		err = fmt.Errorf("account %s: %w", id, account.ErrDeleted)
	}
	return err
}

// addPolicy stores a policy, or returns the one that says the same.
func (t *tx) addPolicy(ctx context.Context, p license.TrustPolicy,
	act audit.Act) (license.TrustPolicy, error) {
	there, err := policies(ctx, t, ` WHERE removed_at IS NULL AND account_id = $1 AND repository_id = $2 AND owner_id = $3 ORDER BY created_at, id`,
		p.AccountID, p.RepositoryID, p.OwnerID)
	if err != nil {
		return p, err
	}
	for _, other := range there {
		if other.Same(p.Policy) {
			return other, nil
		}
	}
	narrow, err := json.Marshal(conditions{
		p.Refs, p.Environments, p.Events, p.JobWorkflowRefs, p.Visibilities,
	})
	if err != nil {
		return p, err
	}
	// removed ones count too: a version never comes back
	err = t.QueryRowContext(ctx, `INSERT INTO policies (`+policyColumns+`) VALUES ($1,
		(SELECT count(*) + 1 FROM policies WHERE account_id = $2 AND repository_id = $3 AND (repository_id <> '*' OR owner_id = $4)),
		$2, $5, $6, $3, $4, $7, $8) RETURNING version`,
		p.ID, p.AccountID, p.RepositoryID, p.OwnerID, p.Repository, p.Issuer, string(narrow),
		millis(p.CreatedAt)).Scan(&p.Version)
	if err != nil {
		return p, fmt.Errorf("add policy: %w", storeError(err))
	}
	t.log(act)
	return p, nil
}

func (s *Store) Policies(ctx context.Context, q license.PolicyQuery) ([]license.TrustPolicy, error) {
	f := filter{conditions: []string{"removed_at IS NULL"}}
	byID := license.IsRepositoryID(q.Repository)
	f.where("repository_id = %s", q.Repository, byID)
	f.where("lower(repository) = %s", strings.ToLower(q.Repository), q.Repository != "" && !byID)
	f.where("account_id = %s", q.Account, q.Account != "")
	f.where("id > %s", q.After, q.After != "")
	return policies(ctx, s.read, f.list("id", q.Limit), f.args...)
}

const policiesFor = ` WHERE removed_at IS NULL AND (repository_id = $1 OR repository_id = '*' AND owner_id = $2)
	ORDER BY repository_id = '*', created_at, id`

func (s *Store) PoliciesFor(ctx context.Context,
	repositoryID, ownerID string) ([]license.TrustPolicy, error) {
	return policies(ctx, s.read, policiesFor, repositoryID, ownerID)
}

func policies(ctx context.Context, q querier, which string,
	args ...any) ([]license.TrustPolicy, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+policyColumns+` FROM policies`+which, args...)
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

func (s *Store) RenamePolicies(ctx context.Context, repositoryID, ownerID string,
	name func(license.TrustPolicy) string, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		which, of := ` WHERE removed_at IS NULL AND repository_id = $1 ORDER BY id`, repositoryID
		if of == "" {
			which, of = ` WHERE removed_at IS NULL AND owner_id = $1 ORDER BY id`, ownerID
		}
		list, err := policies(ctx, t, which, of)
		if err != nil {
			return err
		}
		changed := false
		for _, p := range list {
			now := name(p)
			if now == p.Repository {
				continue
			}
			if _, err := t.ExecContext(ctx, `UPDATE policies SET repository = $2 WHERE id = $1`, p.ID, now); err != nil {
				return fmt.Errorf("rename policy %s: %w", p.ID, storeError(err))
			}
			changed = true
		}
		if changed {
			t.log(act)
		}
		return nil
	})
}
