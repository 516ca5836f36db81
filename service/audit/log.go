package audit

import (
	"context"
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
	// AuditAfter returns up to limit lines of the audit log that come after the given number,
	// oldest first.
	AuditAfter(ctx context.Context, seq int64, limit int) ([]Line, error)
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
	Hash string
}

// Head is the end of a log whose last line this is.
func (l Line) Head() Head { return Head{l.Seq, l.Hash} }

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
