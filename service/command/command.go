// Package command is the commands of pageflare-license that work on the database directly, also
// beside a running server: each binds its flags, calls one act, prints.
//
// What they print with --json is what the API answers (service/show). Settings, serve and doctor
// are in the program itself.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/parts"
)

// App is what the commands share: the world outside, and how they reach the service. All must be
// set.
type App struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	Terminal     bool         // a person types what comes on Stdin
	Watched      bool         // a person sees what is written to Stderr
	Database     string       // its URL for messages, without a password
	DatabaseFile string       // empty when it is on a server
	DumpURL      string       // of a database on a server, for pg_dump and pg_restore; empty when it is a file
	Issuers      []string     // of identities that are trusted
	HTTP         *http.Client // by which the running service is asked
	NoLink       string       // why a link that begins with the public URL would lead nowhere; "" when it leads somewhere

	// Getenv is a variable of the environment.
	Getenv func(string) string
	// APIURL is the base path of the API of a service with these settings.
	APIURL string
	// HaveDatabase tells whether there is a database, which an empty file is not, nor one of a
	// server without the tables of this service.
	HaveDatabase func(context.Context) bool
	// Backup copies the database to a new file, and returns its size and where its audit log ends.
	// fs.ErrExist: there is a file of that name.
	// With replace an older copy gives way.
	Backup func(ctx context.Context, to string, replace bool) (bytes int64, end audit.Head, err error)
	// RecordBackup notes that a backup has come to where it belongs, for the metrics of the
	// service.
	RecordBackup func() error
	// Restore puts a backup in the place of the database.
	Restore func(ctx context.Context, backup io.Reader) (Restored, error)
	// Move moves the database from one engine to the other. context.Canceled: it was interrupted.
	Move func(ctx context.Context, from, to string, report func(Progress)) (Moved, error)
	// Open opens the database, and makes it where there is none. The function that it returns
	// closes it.
	Open func(context.Context) (*parts.Parts, func() error, error)
	// OpenToMigrate is Open, and brings the tables of a database that is in use up to date.
	OpenToMigrate func(context.Context) (*parts.Parts, func() error, error)
	// Runs is the address where a License service answers with these settings; "" when none does.
	Runs func(context.Context) string
	// Verifier explains identity tokens that were made for this service.
	Verifier func() (*oidc.Verifier, error)
	// Repository finds the ids of a repository and of its owner by the name OWNER/NAME.
	Repository func(ctx context.Context, name string) (repositoryID, ownerID string, err error)
}

// UsageError is an error that a person has to fix: a setting, a file, an argument.
type UsageError struct{ Err error }

// Error is the text of the error.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap is the error.
func (e UsageError) Unwrap() error { return e.Err }

// ErrRefused says that what was asked about would be refused. All that is to be said of it was
// printed; only the exit status has to tell.
var ErrRefused = errors.New("refused")

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// with runs f on the service. In the audit log the user of the operating system did it. A command
// in the wrong folder must not make a database there and work on that: only those that begin
// something use WithNew.
func (a *App) with(ctx context.Context, f func(context.Context, *parts.Parts) error) error {
	if !a.HaveDatabase(ctx) {
		return a.noDatabase()
	}
	return a.WithNew(ctx, f)
}

// wasMade says that there was no database, and that there is one now.
func (a *App) wasMade() string {
	if a.DatabaseFile == "" {
		return a.Database + " had no tables of this service: they were made"
	}
	return "there was no database at " + a.Database + ": a new one was made"
}

// noDatabase says that there is none, and where one may be.
func (a *App) noDatabase() error {
	if a.DatabaseFile == "" {
		return Usagef("there are no tables of this service in %s: set LICENSE_DATABASE_URL as the server has it; its first start makes them", a.Database)
	}
	return Usagef("there is no database at %s: run this in the folder of the server, or set LICENSE_DATABASE_URL", a.Database)
}

// WithNew runs f on the service as with does, and makes a database where there is none.
func (a *App) WithNew(ctx context.Context, f func(context.Context, *parts.Parts) error) error {
	ctx = audit.WithActor(ctx, commandLine())
	l, closeStore, err := a.Open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, l), closeStore())
}
