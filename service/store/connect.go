package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pageflare/ci/service/failure"
)

// How a PostgreSQL server is reached, and why it cannot be used, in one line: what it is about, the
// reason, the remedy. A URL holds a password, and no one knows where in it when it is malformed: so
// of a URL that cannot be parsed nothing is repeated.

// IsPostgres says whether a database URL names a PostgreSQL database.
func IsPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// execMode is the parameter of a URL that says how statements are sent.
const execMode = "default_query_exec_mode"

// postgresConfig reads a URL as libpq does, with what we add. The error never quotes the URL.
func postgresConfig(text string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("is not a URL of PostgreSQL such as postgres://user@host/database: %w",
			urlFault(text, err))
	}
	if u, err := url.Parse(text); err != nil || !u.Query().Has(execMode) {
		// prepared statements that have a name do not survive a pooler in transaction mode
		c.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectPatience
	}
	if c.ValidateConnect == nil {
		// of several hosts the one that is the primary now; and never a primary of before, which
		// answers reads as if nothing had happened
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "pageflare-license"
	}
	return c, nil
}

// urlFault says why a URL cannot be parsed, without a part of it.
func urlFault(text string, err error) error {
	if _, fault := url.Parse(text); fault != nil {
		return errors.New("a character of the user, the password or the port has another meaning: " +
			"write / as %2F, @ as %40 and % as %25 in a password, and the port as a number")
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	var fault *pgconn.ParseConfigError
	if errors.As(err, &fault) || strings.ContainsAny(err.Error(), `"'`) { // it may quote a value
		return errors.New("it cannot be parsed")
	}
	return err
}

// CheckURL says what is wrong with the URL of a PostgreSQL database, without asking anybody.
func CheckURL(url string) error {
	_, err := postgresConfig(url)
	return err
}

// dumpParameters are those that say where a server is, and hold no secret.
var dumpParameters = []string{
	"host", "port", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs",
}

// DumpURL is the URL of a database for the tools of PostgreSQL, such as pg_dump: without user and
// password, which must not stand on a command line, and without what only we understand.
func DumpURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "postgres://HOST/DATABASE"
	}
	keep := url.Values{}
	for name, values := range u.Query() {
		if slices.Contains(dumpParameters, name) {
			keep[name] = values
		}
	}
	u.User, u.RawQuery, u.Fragment = nil, keep.Encode(), ""
	return u.String()
}

// HasTables says whether a database has the tables of this service: false for a new one. One that
// cannot be asked passes as one that has them, for Open says what is wrong with it.
func HasTables(ctx context.Context, url string) bool {
	s, err := openPostgres(url)
	if err != nil {
		return true
	}
	defer s.Close()
	p, err := s.lookAtPlace(ctx)
	return err != nil || p.Ours
}

// place is what a database is before anything in it is changed.
type place struct {
	User      string // who we are there
	Schema    string // where tables are made; empty: nowhere
	MayCreate bool   // tables in the schema
	Used      bool   // there are tables in the schema
	Ours      bool   // ours are among them
	HalfMoved bool   // see ErrHalfMoved
}

func (s *Store) lookAtPlace(ctx context.Context) (p place, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*connectPatience)
	defer cancel()
	// pg_tables, unlike information_schema, has the tables too that we may not read
	err = s.write.DB.QueryRowContext(ctx, `SELECT current_user, coalesce(current_schema(), ''),
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), FALSE),
		EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema()),
		EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema()
			AND tablename IN ('goose_db_version', 'migration_lock')),
		EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'engine_move')`).
		Scan(&p.User, &p.Schema, &p.MayCreate, &p.Used, &p.Ours, &p.HalfMoved)
	if fault := connectFault(err); fault != nil {
		return place{}, fault
	}
	return p, storeError(err)
}

// checkPlace refuses a database that cannot be used, one in which another program has its tables,
// and one in which ours cannot be made.
func (s *Store) checkPlace(ctx context.Context) error {
	p, err := s.lookAtPlace(ctx)
	switch {
	case err != nil:
		return err
	case p.Schema == "":
		return fmt.Errorf("no schema that the search_path of user %[1]s names is there and may be used: "+
			"run GRANT USAGE, CREATE ON SCHEMA public TO %[1]s, "+
			"or name a schema by search_path in LICENSE_DATABASE_URL", p.User)
	case p.Used && !p.Ours:
		return fmt.Errorf("its schema %s has the tables of another program: "+
			"name another database in LICENSE_DATABASE_URL, or a schema by search_path", p.Schema)
	case p.HalfMoved:
		return ErrHalfMoved
	case !p.Ours && !p.MayCreate:
		return fmt.Errorf("user %[1]s may not make tables in schema %[2]s: "+
			"run GRANT USAGE, CREATE ON SCHEMA %[2]s TO %[1]s as the owner of the database", p.User, p.Schema)
	}
	return nil
}

// noRight is unavailable for want of a right: to try again does not help.
type noRight struct{ unavailable }

// missingRight says which right we lack, and what helps.
func missingRight(said *pgconn.PgError) error {
	return noRight{unavailable(said.Message +
		": let the user in LICENSE_DATABASE_URL own the tables of the service, or GRANT it the right")}
}

// worthRetry says whether what failed may work when it is tried again: a right does not come by
// itself.
func worthRetry(err error) bool { return !errors.As(storeError(err), new(noRight)) }

// unavailable is a failure.ErrUnavailable that says itself what helps.
type unavailable string

func (u unavailable) Error() string { return string(u) }

func (unavailable) Is(target error) bool { return target == failure.ErrUnavailable }

// connectFault says in one line why a server cannot be used, and what helps; nil when it can, or
// when the error is none of a connection.
func connectFault(err error) error {
	if err == nil {
		return nil
	}
	var connect *pgconn.ConnectError
	atStart := errors.As(err, &connect)
	var said *pgconn.PgError
	if errors.As(err, &said) {
		if fault := refusal(said, atStart); fault != nil {
			return fault
		}
	}
	if fault := wayFault(err); fault != nil || !atStart {
		return fault
	}
	return unavailable("the server cannot be reached: " +
		strings.Join(strings.Fields(connect.Unwrap().Error()), " ") + ": check host, port and that it runs")
}

// refusal is connectFault for what a server, or the pooler before it, answers. atStart: to the
// wish for a connection.
func refusal(said *pgconn.PgError, atStart bool) error {
	text := "the server refuses the connection: " + said.Message + ": "
	switch said.Code {
	case "42501":
		return missingRight(said)
	case "28P01":
		return errors.New(text + "check user and password in LICENSE_DATABASE_URL")
	case "28000":
		remedy := "check the user in LICENSE_DATABASE_URL, and pg_hba.conf of the server"
		if strings.Contains(said.Message, "no encryption") || strings.Contains(said.Message, "SSL off") {
			remedy += "; if that wants TLS, add sslmode=verify-full to the URL"
		}
		return errors.New(text + remedy)
	case "3D000":
		return errors.New(text + "make it by CREATE DATABASE, or name another one in LICENSE_DATABASE_URL")
	case "53300":
		return unavailable(text + "raise max_connections of the server, " +
			"or put PgBouncer in front of it in transaction mode")
	case "57P03":
		return unavailable(text + "wait until it has started")
	}
	switch {
	case !atStart:
		return nil
	case strings.Contains(said.Message, "startup parameter"):
		return errors.New(text + "take it out of LICENSE_DATABASE_URL, " +
			"or add it to ignore_startup_parameters of the pooler")
	case errors.Is(storeError(said), failure.ErrUnavailable) && said.Code[:2] != "08":
		return unavailable(text + "look at the log of the server")
	}
	return errors.New(text + "check LICENSE_DATABASE_URL")
}

// wayFault is connectFault for what is found on the way: a server that only reads, and TLS.
func wayFault(err error) error {
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	switch {
	case errors.Is(err, pgconn.ErrReadOnlyConnection) || isMoved(err):
		return unavailable("the server is a standby or only reads, and the service writes: " + nameThePrimary)
	case errors.As(err, &certificate):
		return fmt.Errorf("the certificate of the server is not trusted: %w: "+
			"name its authority by sslrootcert=FILE in LICENSE_DATABASE_URL, and the server as its certificate does",
			certificateFault(certificate))
	case errors.As(err, &header), strings.Contains(err.Error(), "server refused TLS connection"):
		return errors.New("LICENSE_DATABASE_URL asks for TLS, and the server has none: " +
			"turn it on there (ssl = on); within one machine sslmode=disable will do")
	}
	return nil
}

const nameThePrimary = "name the primary in LICENSE_DATABASE_URL, " +
	"or all hosts as in postgres://user@host1,host2/database"

// certificateFault is why a certificate is refused.
func certificateFault(err *tls.CertificateVerificationError) error {
	var host x509.HostnameError
	if errors.As(err, &host) {
		return fmt.Errorf("it is not for host %s", host.Host)
	}
	return err.Err
}

// isLoopback says whether an address is of this machine: the path of a socket is.
func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}
