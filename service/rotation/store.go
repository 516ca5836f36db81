package rotation

import (
	"context"
	"errors"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
)

// ErrLost says that a claim is no longer held: somebody else has claimed the target since, or it is
// gone. Nothing was stored.
var ErrLost = errors.New("this target was claimed by another process, or removed")

// Query is which rotations to list.
type Query struct {
	ID           string // only this one
	Account      string // only those of this account; "": all
	Repository   string // only those of the repository of this name, OWNER/NAME, as it was called last
	RepositoryID int64  // only those of this repository
	After        string // only those whose id comes after this one
	Limit        int
}

// Claim is which targets to claim, those that are due first.
type Claim struct {
	Now, Until time.Time // a claim ends at Until, unless it is finished before
	Limit      int
	NotOf      []int64 // owners that are left out: their limits at GitHub are used up

	// Of one run that somebody waits for; zero for all others. It takes a target once: what was
	// tried since Begun is not claimed again.
	Begun    time.Time
	Rotation string // only these targets, due or not; "": what is due, and what failed, due or not
}

// Result is what a try changes.
type Result struct {
	Repository string // its name as it is called now
	Stopped    string // see Rotation
	Target     Target
}

// Store is what rotations need of a database. Every method that changes something has made it
// durable, its acts included, when it returns nil. Each is one transaction.
type Store interface {
	// Account returns one account. ErrNotFound.
	Account(ctx context.Context, id string) (account.Account, error)
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error
	// AddRotation stores a rotation with its targets. One of the same account that is for the same
	// targets is that one: it is returned as it is, and the act is not noted; one that was stopped is
	// not the same, it gives way. failure.ErrConflict: a target is that of another rotation.
	// failure.ErrNotFound: no such account; account.ErrDeleted.
	AddRotation(ctx context.Context, r Rotation, act audit.Act) (Rotation, error)
	// Rotations returns the rotations that are asked for, in the order of ids.
	Rotations(ctx context.Context, q Query) ([]Rotation, error)
	// RemoveRotation ends a rotation: nothing is recorded for it any more. One that has ended keeps
	// its first time. With issued it revokes what was issued for it, as
	// account.Store.RevokeAPIToken does. ErrNotFound: there never was one.
	RemoveRotation(ctx context.Context, id string, act audit.Act, issued *audit.Act) (families int64, err error)

	// ClaimTargets claims targets that are not claimed, of accounts whose license is good, and of
	// rotations that are not stopped. DueTargets returns the same and claims nothing.
	ClaimTargets(ctx context.Context, c Claim) ([]Work, error)
	DueTargets(ctx context.Context, c Claim) ([]Work, error)
	// RecordRotated records a token for a target as license.Store.RecordToken does, and that it is
	// its Pending one. ErrLost.
	RecordRotated(ctx context.Context, w Work, t license.TokenRecord, act audit.Act) error
	// FinishTarget stores what a try changed, and ends its claim. ErrLost.
	FinishTarget(ctx context.Context, w Work, r Result, acts ...audit.Act) error

	// HurryTargets makes due at once: all targets of an account, or of a rotation, or, with neither,
	// those whose token was revoked, or says of the account what is no longer so. It returns how
	// many.
	HurryTargets(ctx context.Context, account, rotation string, now time.Time) (int64, error)
	// RenameRepository notes the name of a repository. It returns the rotations that it changed.
	RenameRepository(ctx context.Context, repositoryID int64, name string) ([]string, error)
	// RenameOwner notes the name of an owner, also as a part of the names of its repositories.
	RenameOwner(ctx context.Context, ownerID int64, login string) error
	// StopRepository notes why the rotations of a repository are stopped that are for another owner
	// than this one (0: for any). It returns the rotations that it changed.
	StopRepository(ctx context.Context, repositoryID, ownerID int64, why string) ([]string, error)
	// RotationStock counts the targets by their state at a time.
	RotationStock(ctx context.Context, now time.Time) (Stock, error)
	// Rights returns the state of rights, at most 250 ms old; see service/rights.
	Rights(ctx context.Context) (int64, error)
}
