package store_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/postgrestest"
)

const password = "hunter2secret"

// guarded is a server that wants a password of everybody but its administrator, and TLS of one.
const guarded = `
host    all postgres 127.0.0.1/32 trust
host    all service  127.0.0.1/32 scram-sha-256
host    all guest    127.0.0.1/32 trust
host    all upgrader 127.0.0.1/32 trust
hostssl all careful  127.0.0.1/32 trust
`

func TestAPostgresServerThatCannotBeUsedIsNamedWithReasonAndRemedy(t *testing.T) {
	t.Parallel()
	certificate, key := selfSigned(t)
	server := startServer(t, postgrestest.Options{Access: guarded, Certificate: certificate, Key: key})
	plain := startServer(t, postgrestest.Options{Settings: []string{"default_transaction_read_only=on"}})
	admin := connect(t, server.URL("postgres"))
	exec(t, admin, `CREATE ROLE service LOGIN PASSWORD '`+password+`'`, `CREATE ROLE guest LOGIN`, `CREATE ROLE careful LOGIN`, `CREATE ROLE upgrader LOGIN`,
		`CREATE DATABASE shop`, `CREATE DATABASE closed`, `CREATE DATABASE bare`, `CREATE DATABASE old`)
	exec(t, connect(t, server.URL("shop")), `CREATE TABLE orders (id INTEGER)`)
	exec(t, connect(t, server.URL("closed")), `REVOKE ALL ON SCHEMA public FROM PUBLIC`)
	if err := open(t, server.URL("old")).Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, connect(t, server.URL("bare")), `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	exec(t, connect(t, server.URL("old")), `DELETE FROM goose_db_version WHERE version_id > 7`,
		`GRANT ALL ON goose_db_version TO upgrader`)
	closed := postgrestest.FreePort(t)
	url := func(user, database, parameters string) string {
		return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?%s", user, password, server.Port(), database, parameters)
	}
	for _, c := range []struct{ name, url, want string }{
		{"wrong password", strings.Replace(url("service", "postgres", "sslmode=disable"), password, "wrong"+password, 1),
			`the server refuses the connection: password authentication failed for user "service": check user and password in LICENSE_DATABASE_URL`},
		{"unknown user", url("nobody", "postgres", "sslmode=disable"),
			`user "nobody", database "postgres", no encryption: check the user in LICENSE_DATABASE_URL, and pg_hba.conf of the server; if that wants TLS, add`},
		{"unknown database", url("guest", "none", "sslmode=disable"),
			`database "none" does not exist: make it by CREATE DATABASE, or name another one in LICENSE_DATABASE_URL`},
		{"no right to make tables", url("guest", "bare", "sslmode=disable"),
			`user guest may not make tables in schema public: run GRANT USAGE, CREATE ON SCHEMA public TO guest as the owner of the database`},
		{"no schema", url("guest", "closed", "sslmode=disable"),
			`no schema that the search_path of user guest names is there and may be used: run GRANT USAGE, CREATE ON SCHEMA public TO guest`},
		{"a schema that is not there", url("guest", "postgres", "sslmode=disable&search_path=license"),
			`no schema that the search_path of user guest names is there and may be used: run`},
		{"the tables of another program, which may not be read", url("guest", "shop", "sslmode=disable"),
			`its schema public has the tables of another program: name another database in LICENSE_DATABASE_URL, or a schema by search_path`},
		{"no right to change our tables", url("upgrader", "old", "sslmode=disable"),
			`permission denied for table migration_lock: let the user in LICENSE_DATABASE_URL own the tables of the service, or GRANT it the right`},
		{"not reachable", fmt.Sprintf("postgres://service:%s@127.0.0.1:%d/license", password, closed),
			`connect: connection refused: check host, port and that it runs`},
		{"an unknown host", "postgres://service:" + password + "@db.invalid/license",
			`the server cannot be reached: hostname resolving error`},
		{"TLS is required", url("careful", "postgres", "sslmode=disable"),
			`no encryption: check the user in LICENSE_DATABASE_URL, and pg_hba.conf of the server; if that wants TLS, add sslmode=verify-full to the URL`},
		{"TLS that the server has not", plain.URL("postgres") + "&sslmode=require",
			`LICENSE_DATABASE_URL asks for TLS, and the server has none: turn it on there (ssl = on); within one machine sslmode=disable will do`},
		{"an authority that nobody knows", url("careful", "postgres", "sslmode=verify-full"),
			`the certificate of the server is not trusted: x509: certificate signed by unknown authority: name its authority by sslrootcert=FILE`},
		{"a server that only reads", plain.URL("postgres"),
			`the server is a standby or only reads, and the service writes: name the primary in LICENSE_DATABASE_URL, or all hosts as in postgres://user@host1,host2/database`},
		{"a parameter that the server does not know", url("guest", "postgres", "sslmode=disable&colour=blue"),
			`the server refuses the connection: unrecognized configuration parameter "colour": check LICENSE_DATABASE_URL`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := store.Open(t.Context(), c.url)
			if err == nil {
				t.Fatal("Open = nil, want an error")
			}
			text := err.Error()
			if !strings.HasPrefix(text, "database postgres://[hidden]@") || !strings.Contains(text, c.want) {
				t.Errorf("Open = %s\nwant the database and %q", text, c.want)
			}
			for _, never := range []string{"\n", password, "SELECT", "CREATE TABLE", "try again"} {
				if strings.Contains(text, never) {
					t.Errorf("Open = %s\nwant it without %q", text, never)
				}
			}
		})
	}
}

// What cannot work now and may later is told from what somebody has to change.
func TestAServerThatCannotBeReachedIsUnavailable(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), fmt.Sprintf("postgres://127.0.0.1:%d/license", postgrestest.FreePort(t)))
	if !errors.Is(err, failure.ErrUnavailable) {
		t.Errorf("Open = %v, want ErrUnavailable", err)
	}
}

// A standby says what it is, and beside the primary in a URL it is passed over.
func TestAStandbyIsFoundAndPassedOver(t *testing.T) {
	t.Parallel()
	primary, standby := startServer(t, postgrestest.Options{}), startServer(t, postgrestest.Options{})
	if err := standby.Halt(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(standby.Dir(), "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := standby.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := store.AskServer(t.Context(), standby.URL("postgres"), time.Hour)
	if err != nil || !s.Standby || !s.ReadOnly || !slices.Equal(s.Off, []string{"fsync", "full_page_writes"}) {
		t.Errorf("AskServer(standby) = %+v, %v, want what it is", s, err)
	}
	url := func(parameters string) string {
		return fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable%s", standby.Port(), primary.Port(), parameters)
	}
	if s, err = store.AskServer(t.Context(), url(""), time.Hour); err != nil || s.Standby {
		t.Errorf("AskServer(standby and primary) = %+v, %v, want the primary", s, err)
	}
	if err := open(t, url("")).Ready(t.Context()); err != nil {
		t.Errorf("Ready(standby and primary) = %v, want nil", err)
	}
}

// Poolers that cannot do otherwise are served by what the URL says; without that nothing is prepared.
func TestTheURLMaySayHowStatementsAreSent(t *testing.T) {
	t.Parallel()
	for parameters, want := range map[string]pgx.QueryExecMode{
		"": pgx.QueryExecModeExec, "?sslmode=disable": pgx.QueryExecModeExec,
		"?default_query_exec_mode=simple_protocol": pgx.QueryExecModeSimpleProtocol,
		"?default_query_exec_mode=cache_statement": pgx.QueryExecModeCacheStatement,
	} {
		if got := store.ExecMode(t, "postgres://db/license"+parameters); got != want {
			t.Errorf("mode of %q = %s, want %s", parameters, got, want)
		}
	}
}

func TestAMalformedURLIsNotQuoted(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"a slash in the password":    "postgres://service:hunter/secret@db/license",
		"a percent sign":             "postgres://service:hunter%secret@db/license",
		"a port that is none":        "postgres://service:secret@db:hunter/license",
		"a port out of range":        "postgres://service:hunter-secret@db:99999999/license",
		"an unknown mode":            "postgres://db/license?default_query_exec_mode=hunter-secret",
		"a number that is none":      "postgres://db/license?connect_timeout=hunter-secret",
		"a file that is not there":   "postgres://service:hunter-secret@db/license?sslmode=verify-full&sslrootcert=/none",
		"attributes that are unkown": "postgres://service:x@db/license?target_session_attrs=hunter-secret",
	} {
		err := store.CheckURL(url)
		if err == nil || strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "secret") ||
			!strings.HasPrefix(err.Error(), "is not a URL of PostgreSQL such as postgres://user@host/database: ") {
			t.Errorf("CheckURL(%s) = %v, want a reason without a part of the URL", name, err)
		}
	}
}

func TestTheURLForDumpsHasNoSecret(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://me:secret@db.example:5433/license?sslmode=verify-full&default_query_exec_mode=exec": "postgres://db.example:5433/license?sslmode=verify-full",
		"postgres://db/license?user=me&password=secret&sslpassword=secret":                              "postgres://db/license",
		"postgres://me:secret@a,b:5433/license?target_session_attrs=read-write":                         "postgres://a,b:5433/license?target_session_attrs=read-write",
		"postgres:///license?host=/run/postgresql":                                                      "postgres:///license?host=%2Frun%2Fpostgresql",
	} {
		if got := store.DumpURL(url); got != want {
			t.Errorf("DumpURL(%s) = %s, want %s", url, got, want)
		}
	}
}

func startServer(t *testing.T, o postgrestest.Options) *postgrestest.Server {
	t.Helper()
	s, err := postgrestest.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// selfSigned is a certificate of this machine that nobody trusts.
func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}
