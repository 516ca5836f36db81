package audit

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pageflare/ci/service/failure"
)

// Store is what the log needs of a database. Reads see all changes that were acknowledged before,
// by this process or another. That lines are added, the database sees to itself: an act that is
// handed to it becomes a line in the transaction that does it.
type Store interface {
	ClockStore
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error
	// AuditHead returns where the audit log ends. ErrTampered: nothing says so.
	AuditHead(ctx context.Context) (Head, error)
	// AuditEnd returns what there is at the end of the audit log. ErrTampered: nothing says where
	// it ends.
	AuditEnd(ctx context.Context) (End, error)
	// SealAuditEnd stores what seal returns as the seal of an end that has none. The end of each
	// later transaction is sealed if the one before it is found with its own seal. ErrTampered as
	// above.
	SealAuditEnd(ctx context.Context, seal func(End) string) error
	// AuditAfter returns up to limit entries of the audit log whose numbers come after the given
	// one, oldest first.
	AuditAfter(ctx context.Context, seq int64, limit int) ([]Entry, error)
	// AuditLines returns the lines that a query asks for, newest first.
	AuditLines(ctx context.Context, q Query) ([]Line, error)
}

// Log is the audit log of a database. It makes the acts that other packages hand to the database
// with what they do, and proves that the log is as it was written.
type Log struct {
	store Store
	key   []byte
	now   func() time.Time
	clock clock
}

// NewLog returns the log of a database, whose lines are chained by the key. now is in the
// resolution that is stored. The end of a new database is sealed.
func NewLog(ctx context.Context, s Store, key []byte, now func() time.Time) (*Log, error) {
	l := &Log{store: s, key: key, now: now}
	return l, l.sealEnd(ctx)
}

// Act is an act at now by the actor of the context.
func (log *Log) Act(ctx context.Context, did Action, account, object string, details Details) Act {
	text := []byte("{}")
	if len(details) > 0 {
		var err error
		if text, err = json.Marshal(details); err != nil {
			panic(err) // Details hold texts, numbers and lists of them
		}
	}
	return Act{
		At: log.now(), Actor: actor(ctx), Action: did, Account: account, Object: object,
		Details: string(text), key: log.key,
	}
}

// Line is an act as it stands in the log.
type Line struct {
	Seq int64 // 1, 2, 3, …
	Act
	Hash string // empty for a line in a block, which has one hash for all
}

// Entry is what the chain is made of: a line of its own, or a block, in which a transaction stored
// all its records of tokens; each record is a line of the log.
type Entry struct {
	Line         // of a block its last number and its hash alone
	Block *Block // nil: it is a line of its own
}

// Block is the records of one transaction, as they are stored (service/store/ledger).
type Block struct {
	First  int64             // number of its first line
	Digest [sha256.Size]byte // SHA-256 of the records
	Body   []byte            // the records; nil when they were pruned
}

// First is the number of the first line.
func (e Entry) First() int64 {
	if e.Block != nil {
		return e.Block.First
	}
	return e.Seq
}

// Head is the end of a log whose last entry this is.
func (e Entry) Head() Head { return Head{e.Seq, e.Hash} }

// Query chooses lines of the audit log. What is empty does not matter.
type Query struct {
	Before  int64 // lines before this number; 0: from the newest
	Limit   int
	Account string
	Action  Action
	Actor   string    // its id
	Since   time.Time // lines of this time and later
	Until   time.Time // lines before this time

	Repository string // lines whose details name this repository: by its id, or by a name that it has or had in some line
}

// Lines returns lines of the log, newest first. What is asked for must be there to be found, or a
// mistyped name would look like a blank record: ErrInvalid, there is no such action; ErrNotFound,
// no such account. Of actors and repositories there is no list.
func (log *Log) Lines(ctx context.Context, q Query) ([]Line, error) {
	if q.Action != "" && !slices.Contains(Actions, q.Action) {
		return nil, failure.Invalid(fmt.Sprintf("action %q is none of %s", q.Action,
			failure.Names(Actions)))
	}
	if q.Account != "" {
		if err := log.store.HasAccount(ctx, q.Account); err != nil {
			return nil, err
		}
	}
	return log.store.AuditLines(ctx, q)
}
