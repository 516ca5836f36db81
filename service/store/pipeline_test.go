package store_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/postgrestest"
)

// A transaction that only adds to the audit log waits twice for the server: for the lock, and for what
// it adds together with COMMIT.
func TestPostgresTransactionTakesTwoRoundTrips(t *testing.T) {
	t.Parallel()
	via, trips := countTrips(t, postgrestest.New(t))
	s := open(t, via)
	nothing := func(runner) error { return nil }
	if err := s.InTx(t.Context(), nothing, anAct(), anAct()); err != nil { // opens the connection
		t.Fatal(err)
	}
	before := trips.Load()
	if err := s.InTx(t.Context(), nothing, anAct(), anAct()); err != nil {
		t.Fatal(err)
	}
	if got := trips.Load() - before; got != 2 {
		t.Errorf("a transaction of two lines took %d round trips, want 2", got)
	}
}

// However a transaction ends, the connection that its pool gets back is outside any: it would hold
// the lock of all writers.
func TestPostgresConnectionsComeBackOutsideATransaction(t *testing.T) {
	t.Parallel()
	const duplicate = `INSERT INTO goose_db_version (id, version_id, is_applied)
		SELECT min(id), 1, TRUE FROM goose_db_version`
	for name, c := range map[string]struct {
		acts []audit.Act
		f    func(b *badly, run runner) error
		want error // nil: the transaction is tried once more, and works
	}{
		"a rule": {nil, func(*badly, runner) error {
			return failure.ErrConflict
		}, failure.ErrConflict},
		"a constraint": {nil, func(_ *badly, run runner) error {
			return run(duplicate)
		}, failure.ErrConflict},
		"a constraint that nobody looked at": {nil, func(_ *badly, run runner) error {
			_ = run(duplicate)
			return nil
		}, errAny},
		"a line that is there already": {[]audit.Act{anAct()}, func(_ *badly, run runner) error {
			return run(`INSERT INTO audit_log
				SELECT h.seq + 1, 1, 'a', 'b', '', '', 'c', '', '', '{}', 'h' FROM audit_head h`)
		}, audit.ErrTampered},
		"a caller who leaves before the end": {[]audit.Act{anAct()}, func(b *badly, _ runner) error {
			b.leave()
			return nil
		}, context.Canceled},
		"a caller who leaves before COMMIT": {nil, func(b *badly, run runner) error {
			defer b.leave()
			return run(touch)
		}, context.Canceled},
		"a caller who leaves while a statement runs": {nil, func(b *badly, run runner) error {
			var watching sync.WaitGroup
			defer watching.Wait()
			watching.Go(func() { b.leaveWhen("PgSleep") })
			return run(`SELECT pg_sleep(4)`)
		}, context.Canceled},
		"a connection that ends between two messages": {[]audit.Act{anAct()}, (*badly).killOnce, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBadly(t)
			head := b.head()
			err := b.store.InTx(b.ctx, func(run runner) error { return c.f(b, run) }, c.acts...)
			if !errors.Is(err, c.want) && (c.want != errAny || err == nil) {
				t.Errorf("InTx = %v, want %v", err, c.want)
			}
			b.wantClean(head, c.want == nil)
		})
	}
}

// A server that recovers from a panic goes on with the same pool.
func TestPostgresConnectionsComeBackFromAPanic(t *testing.T) {
	t.Parallel()
	b := newBadly(t)
	head := b.head()
	func() {
		defer func() { _ = recover() }()
		_ = b.store.InTx(b.ctx, func(runner) error { panic("a fault of the service") }, anAct())
		t.Error("InTx hid a panic")
	}()
	b.wantClean(head, false)
}

// The lock is waited for in the message that begins the transaction.
func TestPostgresConnectionsComeBackFromWaitingForTheLock(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{
		"too long": failure.ErrUnavailable, "the caller leaves": context.Canceled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBadly(t)
			head := b.head()
			holder := connect(t, b.url)
			exec(t, holder, `BEGIN`, `SELECT 1 FROM audit_head WHERE id = 1 FOR UPDATE`)
			var watching sync.WaitGroup
			if want == context.Canceled {
				watching.Go(func() { b.leaveWhen("Lock") })
			}
			err := b.store.InTx(b.ctx, func(runner) error {
				t.Error("the transaction began without the lock")
				return nil
			}, anAct())
			if !errors.Is(err, want) {
				t.Errorf("InTx = %v, want %v", err, want)
			}
			watching.Wait()
			exec(t, holder, `ROLLBACK`)
			b.wantClean(head, false)
		})
	}
}

// runner runs a statement in a transaction.
type runner = func(text string, args ...any) error

// touch is a statement that changes something.
const touch = `UPDATE audit_head SET newest = newest + 1`

// errAny stands for an error of no kind of ours.
var errAny = errors.New("any error")

func anAct() audit.Act {
	actor := audit.Actor{Kind: audit.ActorCommand, ID: "test"}
	return audit.Act{Action: "test.act", Actor: actor, Details: "{}"}
}

// badly is a database on which a transaction goes badly.
type badly struct {
	t     *testing.T
	url   string
	store *store.Store
	ctx   context.Context // of the transaction
	leave func()          // ends it
	other *pgx.Conn       // of another program
	ends  int             // the connection that the driver closes, for its caller left while it waited
	died  bool            // see killOnce
}

func newBadly(t *testing.T) *badly {
	t.Helper()
	b := &badly{t: t, url: postgrestest.New(t)}
	b.store, b.other = open(t, b.url), connect(t, b.url)
	b.ctx, b.leave = context.WithCancel(t.Context())
	t.Cleanup(b.leave)
	return b
}

func (b *badly) head() int64 {
	b.t.Helper()
	head, err := b.store.AuditHead(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return head.Seq
}

// wantClean checks that no connection is inside a transaction, that nothing was done, unless it was
// to work, and that others can write.
func (b *badly) wantClean(head int64, done bool) {
	b.t.Helper()
	for b.count(`pid = $1`, b.ends) > 0 { // its server has not noticed yet
	}
	if n := b.count(`state LIKE 'idle in transaction%' AND $1 = $1`, 0); n > 0 {
		b.t.Errorf("%d connections are inside a transaction, want none", n)
	}
	want := head
	if done {
		want++
	}
	if got := b.head(); got != want {
		b.t.Errorf("the log ends at %d, want %d", got, want)
	}
	err := b.store.InTx(b.t.Context(), func(runner) error { return nil }, anAct())
	if err != nil || b.head() != want+1 {
		b.t.Errorf("after it: %v, and the log ends at %d, want %d", err, b.head(), want+1)
	}
}

// count is how many connections to the database the server says that of.
func (b *badly) count(condition string, value int) (n int) {
	err := b.other.QueryRow(b.t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND `+condition, value).Scan(&n)
	if err != nil {
		b.t.Error(err)
	}
	return n
}

// leaveWhen ends the context of the transaction when its connection waits for what is named.
func (b *badly) leaveWhen(event string) {
	defer b.leave()
	for { // a query at a time
		err := b.other.QueryRow(b.t.Context(), `SELECT pid FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'active'
			AND (wait_event_type = $1 OR wait_event = $1)`, event).Scan(&b.ends)
		if !errors.Is(err, pgx.ErrNoRows) {
			if err != nil {
				b.t.Error(err)
			}
			return
		}
	}
}

// killOnce ends the connection of a transaction after it has written, the first time.
func (b *badly) killOnce(run runner) error {
	if b.died {
		return nil
	}
	b.died = true
	if err := run(touch); err != nil {
		return err
	}
	var killed bool
	err := b.other.QueryRow(b.t.Context(), `SELECT pg_terminate_backend(pid, 5000)
		FROM pg_stat_activity
		WHERE datname = current_database() AND state = 'idle in transaction'`).Scan(&killed)
	if err != nil || !killed {
		b.t.Errorf("the connection was ended: %t, %v", killed, err)
	}
	return nil
}

// countTrips is the URL of a database by a proxy, and how often the server was ready for another
// message.
func countTrips(t *testing.T, database string) (via string, trips *atomic.Int64) {
	t.Helper()
	trips = &atomic.Int64{}
	return proxied(t, database, func(message []byte) ([]byte, bool) {
		if message[0] == readyForQuery {
			trips.Add(1)
		}
		return message, true
	}), trips
}

// readyForQuery is the kind of the message by which a server says that it is ready for another one.
const readyForQuery = 'Z'

// proxied is the URL of a database by a proxy. For each message of the server, which is its kind, its
// length and its text, answer is what the client gets in its place, and whether the connection goes
// on.
func proxied(t *testing.T, database string, answer func(message []byte) (instead []byte, goOn bool)) (via string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	server := u.Host
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go carry(client, server, answer)
		}
	}()
	u.Host = l.Addr().String()
	return u.String()
}

// carry serves a connection of a proxy.
func carry(client net.Conn, to string, answer func([]byte) ([]byte, bool)) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { defer server.Close(); _, _ = io.Copy(server, client) }()
	from := bufio.NewReader(server)
	for {
		start, err := from.Peek(5)
		if err != nil {
			return
		}
		message := make([]byte, 1+binary.BigEndian.Uint32(start[1:]))
		if _, err := io.ReadFull(from, message); err != nil {
			return
		}
		instead, goOn := answer(message)
		if _, err := client.Write(instead); err != nil || !goOn {
			return
		}
	}
}

// A connection that is lost after everything was sent says nothing of COMMIT, also when a pooler says
// it in the place of an answer. The transaction is not tried again: it would be done twice.
func TestPostgresTransactionIsNotTriedAgainWhenItMayHaveBeenDone(t *testing.T) {
	t.Parallel()
	pooler := &pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "server conn crashed?"}
	said, err := pooler.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, last := range map[string][]byte{"a pooler says so": said, "the connection ends": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var armed atomic.Bool // one more message is carried to the server, and what comes of it is lost
			direct := postgrestest.New(t)
			via := proxied(t, direct, func(message []byte) ([]byte, bool) {
				switch {
				case !armed.Load():
					return message, true
				case message[0] != readyForQuery:
					return nil, true
				}
				armed.Store(false)
				return last, false
			})
			s, other := open(t, via), open(t, direct)
			before, err := other.AuditHead(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = s.InTx(t.Context(), func(runner) error {
				armed.Store(true)
				return nil
			}, anAct())
			if !errors.Is(err, failure.ErrUnavailable) {
				t.Errorf("InTx = %v, want that nobody can tell", err)
			}
			after, err := other.AuditHead(t.Context())
			if err != nil || after.Seq != before.Seq+1 {
				t.Errorf("the log ends at %d, %v, want %d: it was done, and once", after.Seq, err, before.Seq+1)
			}
		})
	}
}
