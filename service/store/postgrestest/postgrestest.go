// Package postgrestest starts real PostgreSQL servers for tests and benchmarks: throwaway ones on
// loopback, without root.
//
// A test process starts one server when a test first asks for a database, and each test gets a
// database of its own, which has the tables of the service unless the test asks for an empty one. The flag -postgres of a test program names another server to test on, a
// pooler too: the URL of a user who may create databases there.
package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pageflare/ci/service/store"
)

var given = flag.String("postgres", "", "URL of the PostgreSQL `server` to test on, instead of one that is started for the tests")

var pooled = flag.Bool("postgres-pooled", false, "the server of -postgres is a pooler")

// Pooled says whether the databases of New are reached by a pooler.
func Pooled() bool { return *pooled }

// Options say which server to start.
type Options struct {
	Bin      string   // the folder with initdb, pg_ctl and postgres; empty: the newest that Debian's packages installed
	Durable  bool     // what is committed survives a crash of the machine; tests do without
	Settings []string // name=value, of postgresql.conf
	Access   string   // pg_hba.conf; empty: everybody on this machine may connect
	// Certificate and Key are PEM, for a server that speaks TLS; empty: it does not.
	Certificate, Key []byte
}

// Server is a server that was started.
type Server struct {
	bin, dir string
	port     int
	as       *syscall.Credential // nil: as we are
}

// Start makes a cluster and starts a server on it. Stop ends it and removes its data.
func Start(ctx context.Context, o Options) (s *Server, err error) {
	s = &Server{bin: o.Bin}
	if s.bin == "" {
		if s.bin, err = Installed(); err != nil {
			return nil, err
		}
	}
	where := ""
	if !o.Durable {
		where = memory()
	}
	if s.dir, err = os.MkdirTemp(where, "pageflare-postgres-"); err != nil {
		return nil, err
	}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Stop(ctx))
	}
	return s, nil
}

// memory is a folder whose files are in memory, where this machine has one with room for a server;
// else empty. A database is hundreds of files, and to make and remove them is most of what a test's
// own database costs on a disk.
func memory() string {
	const dir, room = "/dev/shm", 2 << 30 // a server may keep 1 GB of log
	var system syscall.Statfs_t
	if err := syscall.Statfs(dir, &system); err != nil || uint64(system.Bavail)*uint64(system.Bsize) < room {
		return ""
	}
	return dir
}

// Standby starts a server that follows this one, which knows it by the name. Stop ends it.
func (s *Server) Standby(ctx context.Context, name string) (standby *Server, err error) {
	standby = &Server{bin: s.bin, as: s.as}
	if standby.dir, err = os.MkdirTemp("", "pageflare-postgres-"); err != nil {
		return nil, err
	}
	if err := s.Own(standby.dir); err != nil {
		return nil, errors.Join(err, standby.Stop(ctx))
	}
	from := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=%s", s.port, name)
	if err := standby.run(ctx, "pg_basebackup", "-D", standby.data(), "-d", from, "-R", "-X", "stream", "-c", "fast", "--no-sync"); err != nil {
		return nil, errors.Join(err, standby.Stop(ctx))
	}
	if standby.port, err = freePort(ctx); err == nil {
		err = standby.Resume(ctx, "port="+strconv.Itoa(standby.port), "unix_socket_directories="+standby.dir)
	}
	if err != nil {
		return nil, errors.Join(err, standby.Stop(ctx))
	}
	return standby, nil
}

// Installed is the folder of the newest PostgreSQL that Debian's packages installed.
func Installed() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errors.New("there is no PostgreSQL server on this machine: install Debian's package postgresql, as `make test` does for root")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

func (s *Server) start(ctx context.Context, o Options) error {
	if os.Geteuid() == 0 { // the server refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("start PostgreSQL: %w: its package makes that user", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
	}
	if err := s.run(ctx, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"); err != nil {
		return err
	}
	if err := s.equip(&o); err != nil {
		return err
	}
	var err error
	if s.port, err = freePort(ctx); err != nil {
		return err
	}
	settings := []string{"listen_addresses=127.0.0.1", "max_connections=200", "max_prepared_transactions=5", "port=" + strconv.Itoa(s.port), "unix_socket_directories=" + s.dir}
	if !o.Durable {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	return s.Resume(ctx, append(settings, o.Settings...)...)
}

// equip writes the files that options ask for, for the server alone to read.
func (s *Server) equip(o *Options) error {
	files := map[string][]byte{}
	if o.Access != "" {
		files["pg_hba.conf"] = []byte(o.Access)
	}
	if len(o.Certificate) > 0 {
		files["server.crt"], files["server.key"] = o.Certificate, o.Key // the names that it looks for
		o.Settings = append(slices.Clone(o.Settings), "ssl=on")
	}
	for name, text := range files {
		path := filepath.Join(s.data(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
		if s.as != nil {
			if err := s.Own(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// Resume starts the server again, after Halt, with further settings.
func (s *Server) Resume(ctx context.Context, settings ...string) error {
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		if _, err := fmt.Fprintf(conf, "%s = '%s'\n", name, value); err != nil {
			return errors.Join(err, conf.Close())
		}
	}
	if err := conf.Close(); err != nil {
		return err
	}
	return s.run(ctx, "pg_ctl", "-D", s.data(), "-w", "-t", "30", "-l", filepath.Join(s.dir, "log"), "start")
}

// Halt stops the server at once, as a crash does; its data stays.
func (s *Server) Halt(ctx context.Context) error {
	return s.run(ctx, "pg_ctl", "-D", s.data(), "-w", "-m", "immediate", "stop")
}

// Stop ends the server and removes its data.
func (s *Server) Stop(ctx context.Context) error {
	var err error
	if _, missing := os.Stat(filepath.Join(s.data(), "postmaster.pid")); missing == nil {
		err = s.Halt(ctx)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// URL is that of a database of the server.
func (s *Server) URL(database string) string {
	return localURL(s.port, database)
}

func localURL(port int, database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", port, database)
}

// Port is where the server listens.
func (s *Server) Port() int { return s.port }

// Dir is the folder of the server; its data are in data below it, its log is the file log.
func (s *Server) Dir() string { return s.dir }

// Own gives a file or a folder to the user that the server runs as.
func (s *Server) Own(path string) error {
	if s.as == nil {
		return nil
	}
	return os.Chown(path, int(s.as.Uid), int(s.as.Gid))
}

// Command is a program of the server's version, to be run as its user.
func (s *Server) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"HOME=" + s.dir, "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) run(ctx context.Context, name string, args ...string) error {
	log, err := os.CreateTemp("", "pageflare-postgres-*.log")
	if err != nil {
		return err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	cmd := s.Command(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = log, log // a file: the server that pg_ctl leaves behind would hold a pipe open
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		own, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return fmt.Errorf("%s: %w: %s %s", name, err, said, own)
	}
	return nil
}

// FreePort is a port on which nobody listens.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// shared is the server of this test process, and the database in it that New copies.
var shared struct {
	start  sync.Once
	server *Server // nil: one was given
	admin  string  // the URL of who makes databases there
	err    error

	migrate  sync.Once
	template string // its name; empty: none was made
	fault    error
}

// Run runs the tests of a package, and then ends the server that they used. TestMain calls it.
func Run(m *testing.M) int {
	code := m.Run()
	if err := clean(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "end PostgreSQL:", err)
		return max(code, 1)
	}
	return code
}

// clean leaves nothing behind of what New made for all tests together.
func clean(ctx context.Context) error {
	switch {
	case shared.server != nil:
		return shared.server.Stop(ctx)
	case shared.template != "":
		return do(ctx, "DROP DATABASE "+shared.template+" WITH (FORCE)")
	}
	return nil
}

// New makes a database with the tables of the service, and nothing in them, and returns its URL. It
// is a copy: the migrations run once in a test process. What is tested of them themselves, or of a
// first start, wants Empty.
func New(t testing.TB) string {
	t.Helper()
	reach(t)
	shared.migrate.Do(func() { shared.template, shared.fault = migrated(context.Background()) })
	if shared.fault != nil {
		t.Fatal(shared.fault)
	}
	return create(t, " TEMPLATE "+shared.template)
}

// Empty makes a database without tables and returns its URL.
func Empty(t testing.TB) string {
	t.Helper()
	reach(t)
	return create(t, "")
}

// reach finds the server of this test process, or starts it.
func reach(t testing.TB) {
	t.Helper()
	shared.start.Do(func() {
		if shared.admin = *given; shared.admin != "" {
			return
		}
		if shared.server, shared.err = Start(context.Background(), Options{}); shared.err == nil {
			shared.admin = shared.server.URL("postgres")
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
}

// create makes a database that ends with the test.
func create(t testing.TB, how string) (url string) {
	t.Helper()
	name := randomName()
	if err := do(t.Context(), "CREATE DATABASE "+name+how); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := do(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	url, err := urlOf(name)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// migrated makes the database that New copies.
func migrated(ctx context.Context) (name string, err error) {
	name = randomName()
	url, err := urlOf(name)
	if err != nil {
		return "", err
	}
	if err := do(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	s, err := store.Open(ctx, url)
	if err != nil {
		return name, err
	}
	// nobody may be connected to what is copied, and a pooler keeps its connections
	return name, errors.Join(s.Close(), do(ctx, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'"))
}

func randomName() string { return "test_" + strings.ToLower(rand.Text()) }

// do runs statements as who makes databases.
func do(ctx context.Context, statements ...string) error {
	c, err := pgx.ParseConfig(shared.admin)
	if err != nil {
		return err
	}
	c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err = conn.Exec(ctx, statement); err != nil {
			break
		}
	}
	return errors.Join(err, conn.Close(ctx))
}

// urlOf is the URL of a database of the server of this test process.
func urlOf(name string) (string, error) {
	u, err := url.Parse(shared.admin)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}
