package license

import (
	"context"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
)

// Jobs is what jobs of GitHub Actions leave behind in a database: which repositories had a token,
// and which jobs were refused.
type Jobs struct {
	store    JobStore
	policies *Policies
	log      *audit.Log
	now      func() time.Time
	lines    refusalLines
}

// NewJobs returns the jobs of a database, which its policies allow or refuse.
func NewJobs(s JobStore, p *Policies, c auth.Config) *Jobs {
	return &Jobs{store: s, policies: p, log: c.Log, now: c.Now}
}

// JobStore is what Jobs need of a database.
type JobStore interface {
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error
	// Repositories returns the repositories that are asked for, in the order of their keys. What
	// Store.RecordExchange notes of one, it notes once an hour, and when its name or owner changes.
	Repositories(ctx context.Context, q RepositoryQuery) ([]Repository, error)
	// AddRefusal adds the line of a refused job to the audit log; it is durable when it returns
	// nil.
	AddRefusal(ctx context.Context, act audit.Act) error
	// Refusal returns the line of a refused job, by the id of its request. ErrNotFound.
	Refusal(ctx context.Context, requestID string) (audit.Line, error)
}
