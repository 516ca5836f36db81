// Package rotation keeps the license tokens in secrets at GitHub alive: the service writes a fresh
// one long before the stored one expires, so that a workflow which runs once a year finds a token
// that works.
//
// It decides which secrets those are, when each is written (rules.go), what a failure means and when
// it is tried again (failure.go), and how much of GitHub's limits is used (budget.go). How a secret
// is written is decided in github/secret, who may hold a token in service/license, which replica
// does it in service/upkeep.
//
// Rules of this package:
//   - A secret holds the first token of a family of its own: whoever revokes a leaked one with its
//     family ends no other.
//   - GitHub is looked at first, then the token is recorded, then it is written, then that is noted.
//     A crash in between costs nothing: the token that was recorded is made once more and written.
//   - A repository is known by its id and that of its owner. What belongs to another owner gets
//     nothing any more.
package rotation

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

// Rotation is the secrets of one name, of a repository or an organization, that hold license tokens
// of an account and are kept fresh.
type Rotation struct {
	ID         string // "rot_" and 16 letters or digits
	AccountID  string
	Repository string // OWNER/NAME as GitHub called it last; empty: it is of an organization
	RepositoryID,
	OwnerID int64 // what counts at GitHub; RepositoryID is 0 of an organization
	Owner      string
	SecretName string
	CreatedAt  time.Time
	Stopped    string // why nothing is written any more, until it is added again; empty: it is
	Targets    []Target

	// What the account is; only read.
	AccountStatus account.Status
	ValidUntil    time.Time
}

// Target is one place of a rotation that keeps the secret.
type Target struct {
	Name    string // as secret.ParseTargets reads it: "repository", "environment:prod"
	OwnerID int64  // whose secrets those are: of an organization that is named, else the repository's owner
	Due     time.Time

	// The token that was written last; zero before the first.
	JTI       opaque.TokenID
	ExpiresAt time.Time
	WrittenAt time.Time
	Says      Says

	Pending opaque.TokenID // a token that was recorded for it, and is not known to be written; empty: none
	TriedAt time.Time
	Failure *Failure // of the last try; nil: it went well, or there was none
}

// Says is what of the account is in a token, and makes it worth another one when it changes.
type Says struct {
	Tier       account.Tier
	Features   []string
	ValidUntil time.Time
}

// Work is a target that was claimed for a try. The fence tells the claim from later ones.
type Work struct {
	Rotation // without its Targets
	Target   Target
	Fence    int64
}

// Apps gives the GitHub App. failure.ErrNotFound: none is set up.
type Apps interface {
	Installations(ctx context.Context) (*github.Installations, error)
}

// Tokens gives license tokens; see license.Service.
type Tokens interface {
	IssueBy(ctx context.Context, account, by string,
		record func(context.Context, license.TokenRecord, audit.Act) error) (license.Issued, account.Account, error)
	Again(ctx context.Context, id opaque.TokenID) (license.Issued, account.Account, error)
}

// Config is what Rotations are made of. All fields must be set unless they say what nil means.
type Config struct {
	Store  Store
	Tokens Tokens
	Apps   Apps // nil: no App can be set up here
	Log    *audit.Log
	Now    func() time.Time // in the resolution that is stored
	Rand   io.Reader        // cryptographic randomness
	Events *slog.Logger     // gets what a run comes across; nil: nobody
}

// Rotations is the managed rotation of a database. It is safe for use by several goroutines.
type Rotations struct {
	cfg        Config
	store      Store
	budget     *budget
	soon       chan struct{}
	quietUntil atomic.Int64 // in milliseconds; see quiet
	rights     atomic.Int64 // the state of rights of which accounts and tokens were looked at

	written, failed, limited atomic.Int64 // see Counts
}

// New returns the managed rotation of a database.
func New(c Config) *Rotations {
	if c.Events == nil {
		c.Events = slog.New(slog.DiscardHandler)
	}
	return &Rotations{cfg: c, store: c.Store, budget: newBudget(), soon: make(chan struct{}, 1)}
}

// Soon says that a run is wanted before its time.
func (r *Rotations) Soon() <-chan struct{} { return r.soon }

func (r *Rotations) wake() {
	select {
	case r.soon <- struct{}{}:
	default:
	}
}

// Counts are how many tries of this process ended in which way.
type Counts struct{ Written, Failed, Limited int64 }

// Counts counts the tries of this process.
func (r *Rotations) Counts() Counts {
	return Counts{r.written.Load(), r.failed.Load(), r.limited.Load()}
}

// OverdueAfter is how long after its time a target that is still due is overdue.
const OverdueAfter = time.Hour

// Stock is how many targets are in which state.
type Stock struct {
	States  map[State]int64
	Overdue int64 // of those that are due
}

// Stock counts the targets in the database.
func (r *Rotations) Stock(ctx context.Context) (Stock, error) {
	return r.store.RotationStock(ctx, r.cfg.Now())
}
