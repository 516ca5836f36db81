package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
)

// accountReads is group commit for reads: accounts that are asked for while the database is busy with
// those before are read together, by one statement. After a right has changed every bearer is looked
// up anew, and on PostgreSQL a look-up costs as much as a refresh.
type accountReads struct {
	db       *pool
	patience time.Duration // for one statement

	mu      sync.Mutex
	waiting []*accountRead
	reading int // goroutines that read
}

// accountRead is one caller's. done is closed when the rest is set.
type accountRead struct {
	ctx   context.Context // of the caller: for one who has left nothing is read
	id    string
	done  chan struct{}
	found account.Account
	err   error
}

const (
	readingAtOnce    = 2               // goroutines that read accounts at most
	accountsTogether = 64              // accounts that share a statement at most
	accountPatience  = 5 * time.Second // for one statement
)

func newAccountReads(db *pool) *accountReads { return &accountReads{db: db, patience: accountPatience} }

// get reads an account as it is after the call began.
func (g *accountReads) get(ctx context.Context, id string) (account.Account, error) {
	r := &accountRead{ctx: ctx, id: id, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, r)
	if g.reading < readingAtOnce {
		g.reading++
		go g.readAll()
	}
	g.mu.Unlock()
	select {
	case <-r.done:
		return r.found, r.err
	case <-ctx.Done():
		return account.Account{}, fmt.Errorf("account %s: %w", id, context.Cause(ctx))
	}
}

// readAll reads until nobody waits.
func (g *accountReads) readAll() {
	for {
		runtime.Gosched() // those who could ask now do, see group.gather
		batch := g.take()
		if batch == nil {
			return
		}
		g.read(batch)
	}
}

// take takes those who waited longest; nil: nobody waits, and the caller is told to end.
func (g *accountReads) take() []*accountRead {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(r *accountRead) bool { return r.ctx.Err() != nil })
	n := min(len(g.waiting), accountsTogether)
	if n == 0 {
		g.reading--
		return nil
	}
	batch := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return batch
}

// read reads for a batch. One that the database fails at harms no other: each is tried alone then.
// When the database itself cannot be used, all who wait learn that at once.
func (g *accountReads) read(batch []*accountRead) {
	for together := len(batch); len(batch) > 0; {
		rows, err := g.ask(batch[:together])
		if errors.Is(err, failure.ErrUnavailable) {
			answer(append(batch, g.giveUp()...), nil, err)
			return
		}
		if err != nil && together > 1 {
			together = 1
			continue
		}
		answer(batch[:together], rows, err)
		batch = batch[together:]
	}
}

// giveUp is all who wait, and they wait no more.
func (g *accountReads) giveUp() []*accountRead {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.waiting
	g.waiting = nil
	return all
}

// answer gives each caller its account, or its error.
func answer(batch []*accountRead, rows map[string]*accountRow, err error) {
	for _, r := range batch {
		row := rows[r.id]
		switch {
		case err != nil:
			r.err = err
		case row == nil:
			r.err = failure.ErrNotFound
		default:
			r.found, r.err = row.account()
		}
		if r.err != nil {
			r.err = fmt.Errorf("account %s: %w", r.id, r.err)
		}
		close(r.done)
	}
}

// ask asks the database. ErrUnavailable, also when it takes too long.
func (g *accountReads) ask(batch []*accountRead) (found map[string]*accountRow, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), g.patience)
	defer cancel()
	defer func() {
		if err = storeError(err); err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: it took longer than %s to look up accounts", failure.ErrUnavailable, g.patience)
		}
	}()
	ids := make([]string, len(batch))
	for i, r := range batch {
		ids[i] = r.id
	}
	var f filter
	text := `SELECT ` + accountColumns + ` FROM accounts a WHERE a.id IN (` + oneOf(&f, ids) + `)`
	rows, err := g.db.QueryContext(ctx, text, f.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found = map[string]*accountRow{}
	for rows.Next() {
		r := &accountRow{}
		if err := rows.Scan(r.into()...); err != nil {
			return nil, err
		}
		found[r.ID] = r
	}
	return found, rows.Err()
}
