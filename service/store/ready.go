package store

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/pageflare/ci/service/failure"
)

// note remembers how a write went. What the rules refused says nothing of the database, and neither
// does what changed nothing. A file that is damaged stays so until somebody restores it.
func (p *pool) note(err error, wrote bool) {
	if last := p.fault.Load(); last != nil && errors.Is(*last, ErrDamaged) {
		return
	}
	err = damaged(err)
	if p.moved != nil && err != nil && (isMoved(err) || isLost(err)) {
		p.moved.Add(1)
	}
	switch {
	case err == nil && wrote:
		p.fault.Store(nil)
	case errors.Is(err, failure.ErrUnavailable), errors.Is(err, ErrDamaged):
		p.fault.Store(&err)
	}
}

// probes are what a try writes, in turn: a row that keeps its bytes is not written at all, and
// little finds room where a record does not. PostgreSQL would make little of what repeats itself.
var probes = sync.OnceValue(func() (two [2]string) {
	random := rand.NewChaCha8([32]byte{})
	for i := range two {
		var raw [48 << 10]byte
		_, _ = random.Read(raw[:]) // it has no errors
		two[i] = base64.StdEncoding.EncodeToString(raw[:])
	}
	return two
})

// tryWrite writes one of two texts.
func (t *tx) tryWrite(ctx context.Context, one, other string) error {
	t.wrote = true
	_, err := t.ExecContext(ctx, `UPDATE write_probe SET filler = CASE filler WHEN $1 THEN $2 ELSE $1 END WHERE id = 1`, one, other)
	if err != nil {
		return fmt.Errorf("try a write: %w", storeError(err))
	}
	return nil
}

// Ready tries a write on its own after one that failed: a service that gets no writes learns so
// that its disk has room again. One caller at a time tries; the others hear of the last failure
// meanwhile. A file that was exchanged or taken away under the service is a failure too: what is
// written to the old one is lost.
func (s *Store) Ready(ctx context.Context) error {
	if s.write.engine == postgres {
		return s.readyPostgres(ctx)
	}
	if there, err := os.Stat(s.path); err != nil || !os.SameFile(there, s.file) {
		return fmt.Errorf("%w: the file %s is not the one that was opened: somebody exchanged it or took it away; restart the service", failure.ErrUnavailable, s.path)
	}
	fault := s.write.fault.Load()
	if fault == nil {
		return nil
	}
	if errors.Is(*fault, ErrDamaged) || !s.trying.TryLock() {
		return *fault
	}
	defer s.trying.Unlock()
	return inTx(ctx, s.write, func(t *tx) error {
		p := probes()
		return t.tryWrite(ctx, p[0], p[1])
	})
}
