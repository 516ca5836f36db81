package store_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/postgrestest"
	"github.com/pageflare/ci/service/store/sqlitetest"
)

// Those who ask while the database hangs hear together that it does, and not one after the other.
func TestThoseWhoWaitForTheStateOfRightsShareAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		hangs := make(chan struct{})
		fault := errors.New("the database does not answer")
		rights := store.RightsBy(func(context.Context) (int64, error) {
			if reads.Add(1) > 1 {
				return 7, nil
			}
			<-hangs
			return 0, fault
		})
		errs := make(chan error, 9)
		for range 8 {
			go func() { _, err := rights(t.Context()); errs <- err }()
		}
		ctx, leave := context.WithCancel(t.Context())
		synctest.Wait()
		go func() { _, err := rights(ctx); errs <- err }()
		synctest.Wait()
		leave()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("Rights for a caller who left = %v, want its reason at once", err)
		}
		close(hangs)
		for range 8 {
			if err := <-errs; !errors.Is(err, fault) {
				t.Errorf("Rights = %v, want the failure", err)
			}
		}
		if n := reads.Load(); n != 1 {
			t.Errorf("read %d times, want once", n)
		}
		if state, err := rights(t.Context()); state != 7 || err != nil {
			t.Errorf("Rights afterwards = %d, %v, want what the database says", state, err)
		}
	})
}

// The state that a transaction made is as old as its COMMIT, however late the answer comes: another
// replica may have ended something meanwhile.
func TestAStateOfRightsIsAsOldAsTheCommitThatMadeIt(t *testing.T) {
	t.Parallel()
	database := postgrestest.New(t)
	others := open(t, database)
	account := backupAccount(t, others)
	revoke := func(s *store.Store, subject string) error {
		at := time.Now()
		return s.Revoke(context.Background(), license.Revocation{Subject: subject, AccountID: account, At: at}, audit.Act{At: at, Action: audit.FamilyRevoked, Details: "{}"})
	}
	slow := newSlowCommit(t, database)
	s := open(t, slow.url)
	slow.hold.Store(true)
	ended := make(chan error, 1)
	go func() { ended <- revoke(s, "first") }()
	<-slow.held
	watch := open(t, database) // knows nothing yet, so it reads the state now
	before, err := watch.Rights(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := revoke(others, "second"); err != nil {
		t.Fatal(err)
	}
	after := before
	for after == before { // until what it read is too old, and so what s read earlier
		if after, err = watch.Rights(t.Context()); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	close(slow.goOn)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got, err := s.Rights(t.Context()); got != after || err != nil {
		t.Errorf("Rights when the answer to COMMIT came late = %d, %v, want %d", got, err, after)
	}
}

// What a transaction learns of rights that ended elsewhere, the whole process knows at once: a request
// is not told that a token is good right after another one was told that it is revoked.
func TestAProcessKnowsWhatItsTransactionsLearn(t *testing.T) {
	t.Parallel()
	for engine, database := range map[string]string{"PostgreSQL": postgrestest.New(t), "SQLite": sqlitetest.New(t)} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s, other := open(t, database), open(t, database)
			s.KnowRightsFor(time.Hour)
			account := backupAccount(t, s)
			before, err := s.Rights(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			at := time.Now()
			err = other.Revoke(t.Context(), license.Revocation{Subject: "family", AccountID: account, At: at},
				audit.Act{At: at, Action: audit.FamilyRevoked, Details: "{}"})
			if err != nil {
				t.Fatal(err)
			}
			want, err := other.Rights(t.Context())
			if err != nil || want <= before {
				t.Fatalf("Rights where it ended = %d, %v, want more than %d", want, err, before)
			}
			if err := s.SealAuditEnd(t.Context(), func(audit.End) string { return "" }); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Rights(t.Context()); got != want || err != nil {
				t.Errorf("Rights behind a transaction = %d, %v, want %d", got, err, want)
			}
		})
	}
}

// slowCommit is a way to a database on which an answer to COMMIT is held up.
type slowCommit struct {
	url        string
	hold       atomic.Bool
	held, goOn chan struct{}
}

func newSlowCommit(t *testing.T, database string) *slowCommit {
	t.Helper()
	s := &slowCommit{held: make(chan struct{}), goOn: make(chan struct{})}
	s.url = proxied(t, database, func(message []byte) ([]byte, bool) {
		if bytes.Contains(message, []byte("COMMIT\x00")) && s.hold.CompareAndSwap(true, false) {
			close(s.held)
			<-s.goOn
		}
		return message, true
	})
	return s
}
