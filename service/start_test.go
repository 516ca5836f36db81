package main

import (
	"database/sql"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pageflare/ci/service/store/postgrestest"
)

const (
	database = "pageflare-license.db"
	keyFile  = database + ".key"
	zeroKey  = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

// used makes a database that is in use.
func (b *box) used() {
	b.t.Helper()
	b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12")
}

// asOther lets a user run the program who may not do everything: ourselves, unless we are root.
func (b *box) asOther() {
	b.t.Helper()
	if os.Getuid() != 0 {
		return
	}
	b.user = &syscall.Credential{Uid: 65534, Gid: 65534}
	path, err := exec.LookPath(program)
	must(b.t, err)
	for _, dir := range []string{filepath.Dir(filepath.Dir(path)), filepath.Dir(b.dir)} {
		must(b.t, os.Chmod(dir, 0o755))
	}
	must(b.t, filepath.WalkDir(b.dir, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(p, 65534, 65534)
	}))
}

func TestAStartThatCannotWorkSaysWhyAndLeavesNothing(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	tests := []struct {
		name   string
		before func(*box)
		want   []string
		files  []string
	}{
		{"the folder of the database is missing",
			func(b *box) { b.env["LICENSE_DATABASE_URL"] = "sqlite:data/license.db" },
			[]string{"database sqlite:data/license.db: there is no folder data: make it, or set LICENSE_DATABASE_URL"}, nil},
		{"the database is a folder",
			func(b *box) { must(b.t, os.Mkdir(b.path(database), 0o755)) },
			[]string{"database sqlite:pageflare-license.db: is a folder: name a file in it"}, []string{database}},
		{"the folder of the database is a file",
			func(b *box) { b.write("data", ""); b.env["LICENSE_DATABASE_URL"] = "sqlite:data/license.db" },
			[]string{"database sqlite:data/license.db: nothing can be written to folder data (not a directory)"}, []string{"data"}},
		{"nobody may write in the folder",
			func(b *box) { b.asOther(); must(b.t, os.Chmod(b.dir, 0o555)) },
			[]string{"database sqlite:pageflare-license.db: nothing can be written to folder . (permission denied): give this user the right"}, nil},
		{"nobody may write in the folder of a used database",
			func(b *box) { b.used(); b.asOther(); must(b.t, os.Chmod(b.dir, 0o555)) },
			[]string{"database sqlite:pageflare-license.db: nothing can be written to folder . (permission denied)"}, []string{database, keyFile}},
		{"nobody may write to the database",
			func(b *box) { b.used(); b.asOther(); must(b.t, os.Chmod(b.path(database), 0o444)) },
			[]string{"database sqlite:pageflare-license.db: cannot be opened for writing: permission denied"}, []string{database, keyFile}},
		{"the database is no database",
			func(b *box) { b.write(database, "accounts: none\n") },
			[]string{"database sqlite:pageflare-license.db: is not a SQLite database: name another file in LICENSE_DATABASE_URL"}, []string{database}},
		{"the database is damaged",
			func(b *box) { b.used(); must(b.t, os.Truncate(b.path(database), 3000)) },
			[]string{""}, []string{database, keyFile}},
		{"the database is of a newer version",
			func(b *box) {
				b.used()
				b.alter("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
			},
			[]string{"database sqlite:pageflare-license.db: the database is from a newer version of pageflare-license: run that version, or restore a backup"}, []string{database, keyFile}},
		{"the key file is of another database",
			func(b *box) { b.used(); b.write(keyFile, zeroKey+"\n") },
			[]string{"key file pageflare-license.db.key does not open the signing keys in sqlite:pageflare-license.db: sealed by another key-encryption key: give the key"}, []string{database, keyFile}},
		{"the key is of another database",
			func(b *box) { b.used(); b.env["LICENSE_KEY"] = zeroKey },
			[]string{"LICENSE_KEY does not open the signing keys in sqlite:pageflare-license.db: sealed by another key-encryption key: give the key"}, []string{database, keyFile}},
		{"the key file is gone",
			func(b *box) { b.used(); must(b.t, os.Remove(b.path(keyFile))) },
			[]string{"key file pageflare-license.db.key is missing, and sqlite:pageflare-license.db was made with one: restore it"}, []string{database}},
		{"the key file is empty",
			func(b *box) { b.write(keyFile, "") },
			[]string{"key file pageflare-license.db.key holds no key (base64 of 32 bytes): restore it"}, []string{keyFile}},
		{"the key file was cut off",
			func(b *box) { b.used(); b.write(keyFile, b.read(keyFile)[:40]) },
			[]string{"key file pageflare-license.db.key holds no key"}, []string{database, keyFile}},
		{"the key file cannot be read",
			func(b *box) { b.write(keyFile, zeroKey); b.asOther(); must(b.t, os.Chmod(b.path(keyFile), 0)) },
			[]string{"key file pageflare-license.db.key cannot be read: permission denied: give this user the right"}, []string{keyFile}},
		{"the key file is a folder",
			func(b *box) { must(b.t, os.Mkdir(b.path("keys"), 0o755)); b.env["LICENSE_KEY_FILE"] = "keys" },
			[]string{"key file keys cannot be read: is a directory"}, []string{"keys"}},
		{"the folder of the key file is missing",
			func(b *box) { b.env["LICENSE_KEY_FILE"] = "keys/license.key" },
			[]string{"key file keys/license.key: there is no folder keys: make it, or set LICENSE_KEY_FILE"}, nil},
		{"another program has the port",
			func(b *box) { b.env["LICENSE_LISTEN"] = taken.Addr().String() },
			[]string{"LICENSE_LISTEN: " + taken.Addr().String() + " is in use by another program: stop it, or choose another address"}, nil},
		{"another program has the port of the metrics",
			func(b *box) { b.env["LICENSE_METRICS_LISTEN"] = taken.Addr().String() },
			[]string{"LICENSE_METRICS_LISTEN: " + taken.Addr().String() + " is in use by another program: stop it, or choose another address"}, nil},
		{"the address is of another machine",
			func(b *box) { b.env["LICENSE_LISTEN"] = "192.0.2.1:8080" },
			[]string{"LICENSE_LISTEN: listen tcp 192.0.2.1:8080: bind: cannot assign requested address: choose an address of this machine"}, nil},
		{"everything at once",
			func(b *box) {
				b.env["LICENSE_LISTEN"] = taken.Addr().String()
				b.env["LICENSE_DATABASE_URL"], b.env["LICENSE_KEY_FILE"] = "sqlite:data/license.db", "keys/license.key"
			},
			[]string{"LICENSE_LISTEN: ", "database sqlite:data/license.db: ", "key file keys/license.key: "}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			tt.before(b)
			if b.env["LICENSE_LISTEN"] == "" {
				b.env["LICENSE_LISTEN"] = "127.0.0.1:0"
			}
			b.run("serve").wantFaults(t, tt.want...)
			b.wantFiles(tt.files...)
			must(t, os.Chmod(b.dir, 0o755))
		})
	}
}

// alter changes the database behind the program's back.
func (b *box) alter(statement string) {
	b.t.Helper()
	db, err := sql.Open("sqlite", b.path(database))
	must(b.t, err)
	_, err = db.ExecContext(b.t.Context(), statement)
	must(b.t, err)
	must(b.t, db.Close())
}

func TestServersThatStartAtOnceOnANewFolderAllWork(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.startAtOnce(4)
	b.wantFiles(database, keyFile)
	b.ok("doctor")
}

func TestPostgresReplicasThatStartAtOnceOnANewDatabaseAllWork(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.env["LICENSE_DATABASE_URL"], b.env["LICENSE_KEY"] = postgrestest.Empty(t), zeroKey
	b.startAtOnce(3)
	b.wantFiles()
	if said := b.ok("doctor"); strings.Contains(said, "pooler") != postgrestest.Pooled() {
		t.Errorf("doctor names a pooler: %t, want %t:\n%s", !postgrestest.Pooled(), postgrestest.Pooled(), said)
	}
}

// startAtOnce starts servers on a new database at once, and ends them when each has proved that it
// works with what a command made.
func (b *box) startAtOnce(n int) {
	b.t.Helper()
	servers, errs := make([]*running, n), make([]error, n)
	var started sync.WaitGroup
	for i := range servers {
		cmd := b.command("serve", "--listen", "127.0.0.1:0")
		started.Go(func() { servers[i], errs[i] = start(cmd) })
	}
	started.Wait()
	for i, r := range servers {
		must(b.t, errs[i])
		b.t.Cleanup(r.kill)
	}
	made := b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json")
	for _, r := range servers {
		issued := r.wantCall(b.t, "POST", "/_api/license/issue", mustMember(b.t, made, "api_token"), 200)
		r.wantCall(b.t, "GET", "/_api/license/refresh", mustMember(b.t, issued, "token"), 200)
		r.wantCall(b.t, "GET", "/readyz", "", 200)
	}
	for _, r := range servers {
		exit, log, err := r.stop(syscall.SIGTERM)
		must(b.t, err)
		if exit != exitOK || strings.Contains(log, "level=ERROR") {
			b.t.Errorf("exit = %d, want 0; log:\n%s", exit, log)
		}
	}
}

func TestCommandsThatStartAtOnceOnANewFolderAllWork(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var ended sync.WaitGroup
	for i := range 6 {
		cmd := b.command("account", "create", "--email", string(rune('a'+i))+"@example.com", "--valid-until", "2099-03-12")
		ended.Go(func() {
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, text)
			}
		})
	}
	ended.Wait()
	if n := strings.Count(b.ok("account", "list", "--json"), "@example.com"); n != 6 {
		t.Errorf("accounts = %d, want 6", n)
	}
	b.wantFiles(database, keyFile)
}

func TestAKeyInTheEnvironmentNeedsNoFile(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.env["LICENSE_KEY"] = zeroKey
	b.used()
	b.wantFiles(database)
	b.env["LICENSE_LOG_FORMAT"] = "json"
	r := b.serve()
	r.wantCall(t, "GET", "/readyz", "", 200)
	b.ok("doctor")
}

func TestServeWarnsOfAVariableThatMeansNothing(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.env["LICENSE_TOKN_TTL"] = "1h"
	r := b.serve()
	exit, log, err := r.stop(syscall.SIGTERM)
	must(t, err)
	if want := `level=WARN msg="unknown setting" name=LICENSE_TOKN_TTL`; exit != exitOK || !strings.Contains(log, want) {
		t.Errorf("exit = %d, want 0 and %s in the log:\n%s", exit, want, log)
	}
}

func TestAnotherProgramIsNoLicenseService(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"<h1>It works</h1>", `{"status":"UP"}`, ""} {
		addr := anotherProgram(t, body)
		b := newBox(t)
		b.env["LICENSE_LISTEN"] = addr
		if r := b.run("healthcheck"); r.exit != exitFailure || !strings.Contains(r.err, "not as a License service") {
			t.Errorf("healthcheck of a program that says %q = exit %d, %s", body, r.exit, r.err)
		}
		want := "WRONG address " + addr + " is in use by another program: stop it, or set LICENSE_LISTEN"
		if r := b.run("doctor"); r.exit != exitFailure || !strings.Contains(oneSpaced(r.out), want) {
			t.Errorf("doctor beside a program that says %q = exit %d, want %s in\n%s", body, r.exit, want, r.out)
		}
	}
}

func TestHealthcheckOfAllAddressesAsksThisMachine(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	r := b.serve()
	_, port, err := net.SplitHostPort(r.addr)
	must(t, err)
	for _, host := range []string{"", "0.0.0.0", "[::]", "localhost"} {
		b.ok("healthcheck", "--listen", host+":"+port)
	}
}
