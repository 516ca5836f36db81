//go:build e2e

package faults_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// A server that stops, in whatever way, or lets nobody in: the service says so, goes on running, and
// issues tokens again as soon as the server does.
func TestPostgresRestarts(t *testing.T) {
	t.Parallel()
	s := server(t, postgrestest.Options{Durable: true})
	in := install(t, s.URL("postgres"))
	r := in.serve()
	token, _ := r.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)
	for _, mode := range []string{"fast", "immediate"} {
		must(t, s.Command(t.Context(), "pg_ctl", "-D", filepath.Join(s.Dir(), "data"), "-w", "-m", mode, "stop").Run())
		for _, path := range []string{issuePath, validatePath} {
			if a := until503(t, r, "POST", path, token); a.took > 10*time.Second {
				t.Errorf("stopped (%s): %s took %s to say that the database is away", mode, path, a.took)
			}
		}
		must(t, s.Resume(t.Context()))
		t.Logf("stopped (%s) and started: issues again after %s", mode, r.recovers(in.apiToken).Round(time.Millisecond))
		r.want(http.StatusOK, "POST", validatePath, token)
	}
	r.wantSaid("level=WARN", "msg=unavailable")
	in.wantWhole()
}

// The disk that has the tables is full. That of the write-ahead log is another one here: a server
// without room for it stops, which is TestPostgresRestarts.
func TestTheDiskOfPostgresFills(t *testing.T) {
	t.Parallel()
	s := server(t, postgrestest.Options{Durable: true})
	dir := filepath.Join(s.Dir(), "small")
	must(t, os.Mkdir(dir, 0o700))
	smallDisk(t, dir, "24m")
	must(t, s.Own(dir))
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	must(t, err)
	for _, text := range []string{`CREATE TABLESPACE small LOCATION '` + dir + `'`, `CREATE DATABASE small TABLESPACE small`} {
		_, err := conn.Exec(t.Context(), text)
		must(t, err)
	}
	must(t, conn.Close(t.Context()))
	install(t, s.URL("small")).outlastsAFullDisk(filepath.Join(dir, "filler"))
}

// until503 calls until the answer is that the database is away; anything but the right answer before
// that is an error.
func until503(t *testing.T, r *replica, method, path, bearer string) (a answer) {
	t.Helper()
	until(t, "the database is away", func() bool {
		a = r.call(method, path, bearer)
		if a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
			t.Fatalf("%s while the database goes away = %d %s", path, a.status, a.body)
		}
		return a.status == http.StatusServiceUnavailable
	})
	return a
}

// A server that hangs: every process of it is stopped, connections stay open.
func TestPostgresHangs(t *testing.T) {
	t.Parallel()
	s := server(t, postgrestest.Options{Durable: true})
	in := install(t, s.URL("postgres"))
	r := in.serve()
	token, _ := r.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)
	awake := haltServer(t, s)
	// all learn it in time, also those who come together
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			a, err := r.send(t.Context(), "POST", issuePath, in.apiToken, nil, nil)
			if err != nil || a.status != http.StatusServiceUnavailable || a.took > 12*time.Second {
				t.Errorf("issue on a server that hangs = %d %s after %s, %v, want 503 within 12 s", a.status, a.body, a.took, err)
			}
		})
	}
	callers.Wait()
	until503(t, r, "POST", validatePath, token)
	awake()
	t.Logf("went on after it hung: issues again after %s", r.recovers(in.apiToken).Round(time.Millisecond))
	r.want(http.StatusOK, "POST", validatePath, token)
	r.wantSaid("level=WARN", "msg=unavailable")
	in.wantWhole()
}

// haltServer stops all processes of a server: the first one before the others are counted, for it
// starts one for each connection.
func haltServer(t *testing.T, s *postgrestest.Server) (awake func()) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir(), "data", "postmaster.pid"))
	must(t, err)
	line, _, _ := strings.Cut(string(text), "\n")
	first, err := strconv.Atoi(line)
	must(t, err)
	stopped := []int{first}
	awake = sync.OnceFunc(func() {
		for _, pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	})
	t.Cleanup(awake)
	halt(t, first)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", first, first))
	must(t, err)
	for _, field := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(field)
		must(t, err)
		stopped = append(stopped, pid)
		halt(t, pid)
	}
	return awake
}

// A server without a free connection lets the service in when there is one again.
func TestPostgresHasNoConnectionLeft(t *testing.T) {
	t.Parallel()
	s := server(t, postgrestest.Options{Settings: []string{"superuser_reserved_connections=0"}})
	in := install(t, s.URL("postgres"))
	r := in.serve()
	admin, err := pgx.Connect(t.Context(), s.URL("postgres"))
	must(t, err)
	var taken []*pgx.Conn
	for { // until the server has no more
		conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
		if err != nil {
			break
		}
		taken = append(taken, conn)
	}
	_, err = admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pageflare-license'`)
	must(t, err)
	for { // those that the service has just left
		conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
		if err != nil {
			break
		}
		taken = append(taken, conn)
	}
	a := until503(t, r, "POST", issuePath, in.apiToken)
	t.Logf("no connection: said so after %s", a.took.Round(time.Millisecond))
	r.wantSaid("level=WARN", "msg=unavailable")
	for _, conn := range taken {
		must(t, conn.Close(context.Background()))
	}
	t.Logf("connections are free: issues again after %s", r.recovers(in.apiToken).Round(time.Millisecond))
	must(t, admin.Close(context.Background()))
	in.wantWhole()
}

// A replica that stops inside its transaction holds the lock of all writers. The others go on when
// the server has ended its transaction; when it runs again it does no harm.
func TestAWriterThatStopsInsideItsTransaction(t *testing.T) {
	t.Parallel()
	in := install(t, postgrestest.New(t))
	l := newLink(t, in.database)
	stopped, other := in.serveOn(l.url), in.serve()
	token, _ := stopped.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)
	good, _ := stopped.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)

	inside := make(chan struct{})
	var once sync.Once
	l.judge(func(_ net.Conn, m pgproto3.BackendMessage) verdict {
		if row, ok := m.(*pgproto3.RowDescription); ok && len(row.Fields) > 5 && string(row.Fields[0].Name) == "seq" && string(row.Fields[2].Name) == "seal" { // it has got the lock
			once.Do(func() { halt(t, stopped.cmd.Process.Pid); close(inside) })
		}
		return pass
	})
	answers := make(chan answer, 2)
	for _, bearer := range []string{token, good} {
		go func() {
			a, err := stopped.send(t.Context(), "GET", refreshPath, bearer, nil, nil)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	<-inside
	t.Cleanup(func() { _ = stopped.cmd.Process.Signal(syscall.SIGCONT) })
	held := other.issue(in.apiToken)
	if held.status != http.StatusOK || held.took > 3*time.Second {
		t.Errorf("issue on another replica = %d %s after %s, want 200 soon", held.status, held.body, held.took)
	}
	t.Logf("a writer stopped inside its transaction: another one went on after %s", held.took.Round(time.Millisecond))
	other.mustRevoke(in.apiToken, token)
	l.judge(nil)
	stopped.signal(syscall.SIGCONT)
	statuses := map[int]int{}
	for range 2 {
		statuses[(<-answers).status]++
	}
	// its transaction is tried again: what was revoked meanwhile is refused, the other one is given
	if statuses[http.StatusOK] != 1 || statuses[http.StatusForbidden] != 1 {
		t.Errorf("answers of the replica that was stopped = %v, want one 200 and, for what was revoked meanwhile, one 403", statuses)
	}
	t.Logf("answers to what it was asked before: %v", statuses)
	stopped.want(http.StatusForbidden, "GET", refreshPath, token)
	stopped.want(http.StatusForbidden, "POST", validatePath, token)
	stopped.want(http.StatusOK, "GET", refreshPath, good)
	in.wantWhole()
}

// A replica that cannot reach the database does not guess: what was revoked elsewhere is good there
// for a second at most.
func TestAReplicaThatIsPartitioned(t *testing.T) {
	t.Parallel()
	for name, partition := range map[string]func(*link){"silent": (*link).hang, "refused": (*link).refuse} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := install(t, postgrestest.New(t))
			l := newLink(t, in.database)
			apart, other := in.serveOn(l.url), in.serve()
			token, _ := apart.want(http.StatusOK, "POST", issuePath, in.apiToken).Token(t)
			apart.want(http.StatusOK, "POST", validatePath, token)
			partition(l)
			other.mustRevoke(in.apiToken, token)
			revoked := time.Now()
			until(t, "the partitioned replica knows that it cannot know", func() bool {
				a := apart.validate(token)
				if at := time.Since(revoked); a.status == http.StatusOK && at > time.Second {
					t.Fatalf("a partitioned replica calls a token good %s after its revocation", at)
				}
				return a.status != http.StatusOK
			})
			for _, ask := range []func() answer{
				func() answer { return apart.validate(token) }, func() answer { return apart.refresh(token) },
				func() answer { return apart.issue(token) },
			} {
				if a := ask(); a.status != http.StatusServiceUnavailable || a.took > 16*time.Second {
					t.Errorf("a partitioned replica answers %d %s after %s, want 503", a.status, a.body, a.took)
				}
			}
			l.heal()
			t.Logf("partition (%s) over: issues again after %s", name, apart.recovers(in.apiToken).Round(time.Millisecond))
			apart.want(http.StatusForbidden, "POST", validatePath, token)
			apart.wantSaid("level=WARN", "msg=unavailable")
		})
	}
}
