package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

// Backup copies the database.
type Backup struct {
	Output
	Replace bool   `help:"Let an older copy of that name give way."`
	File    string `arg:"" name:"file" help:"The copy; there must be no file of that name yet. - is standard output."`
}

// Run copies the database, also while servers work on it. It needs no key, and changes nothing in
// it: a newer version can back up before it upgrades.
func (c Backup) Run(ctx context.Context, a *App) error {
	if a.DumpURL != "" {
		return Usagef("backup: a PostgreSQL server has its own way: run pg_dump --format=custom --file=%s '%s', "+
			"on the server itself and not by a pooler, with PGUSER and PGPASSWORD in the environment; "+
			"and store LICENSE_KEY in another place, for without it the copy is of no use",
			fileOr(c.File, "license.dump"), a.DumpURL)
	}
	if c.File == "-" {
		return c.stream(ctx, a)
	}
	if err := CheckPlace(c.File); err != nil {
		return Usagef("backup %s: %w", c.File, err)
	}
	made, err := c.make(ctx, a, c.File, c.Replace)
	if err != nil {
		return err
	}
	if err := recordBackup(a); err != nil {
		return err
	}
	return c.say(a.Stdout, filepath.Clean(c.File), made)
}

// fileOr is the file that was named, or another name where that is none.
func fileOr(file, otherwise string) string {
	if file == "-" {
		return otherwise
	}
	return file
}

// copied is a backup that was made: its size, and where its audit log ends.
type copied struct {
	bytes int64
	end   audit.Head
}

func (c Backup) make(ctx context.Context, a *App, to string, replace bool) (made copied, err error) {
	if !a.HaveDatabase(ctx) {
		return made, Usagef("there is no database at %s: set LICENSE_DATABASE_URL to the one to back up",
			a.Database)
	}
	made.bytes, made.end, err = a.Backup(ctx, to, replace)
	switch {
	case errors.Is(err, fs.ErrExist):
		return made, Usagef("backup %s: it is there already, and a backup overwrites nothing: name a new file, or add --replace", c.File)
	case err != nil:
		return made, fmt.Errorf("backup %s: %w", c.File, err)
	}
	return made, nil
}

// stream writes the copy to standard output, for a container whose files are out of reach: it is
// made beside the database first, and read back. What there is to say of it goes to standard error.
func (c Backup) stream(ctx context.Context, a *App) (err error) {
	folder, err := os.MkdirTemp(filepath.Dir(a.DatabaseFile), ".pageflare-license-*")
	if err != nil {
		return fmt.Errorf("backup -: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	file := filepath.Join(folder, "copy.db")
	made, err := c.make(ctx, a, file, false)
	if err != nil {
		return err
	}
	copy, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("backup -: %w", err)
	}
	_, err = io.Copy(a.Stdout, copy)
	if err := errors.Join(err, copy.Close()); err != nil {
		return fmt.Errorf("backup -: %w", err)
	}
	if err := recordBackup(a); err != nil {
		return err
	}
	return c.say(a.Stderr, "-", made)
}

func recordBackup(a *App) error {
	if err := a.RecordBackup(); err != nil {
		return fmt.Errorf("the backup was made, but its time cannot be noted beside the database, so that the metrics do not know of it: %w", err)
	}
	return nil
}

func (c Backup) say(w io.Writer, file string, made copied) error {
	j := struct {
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
		End   string `json:"audit_end"`
	}{file, made.bytes, made.end.String()}
	return c.Print(w, j, func(w io.Writer) {
		Row(w, "file", j.File)
		Row(w, "bytes", j.Bytes)
		Row(w, "end of the audit log", j.End)
	})
}

// Restore puts a copy back.
type Restore struct {
	Output
	File string `arg:"" name:"file" help:"The backup; - is standard input."`
}

// Run puts a backup in the place of the database. The service must not run.
func (c Restore) Run(ctx context.Context, a *App) error {
	if a.DumpURL != "" {
		return Usagef("restore: a PostgreSQL server has its own way: stop all replicas, make an empty database, and run "+
			"pg_restore --exit-on-error --no-owner --dbname='%s' %s, "+
			"on the server itself and not by a pooler, with PGUSER and PGPASSWORD in the environment; "+
			"then give LICENSE_DATABASE_URL and the LICENSE_KEY of the backup, and run pageflare-license audit verify",
			a.DumpURL, fileOr(c.File, "license.dump"))
	}
	if a.Runs(ctx) != "" {
		return Usagef("restore %s: a License service answers at %s: stop it first, or what it writes is lost", c.File, a.Runs(ctx))
	}
	if err := CheckPlace(a.DatabaseFile); err != nil {
		return Usagef("database %s: %w", a.Database, err)
	}
	from := a.Stdin
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return Usagef("restore: %w", err)
		}
		defer file.Close()
		from = file
	}
	done, err := a.Restore(ctx, from)
	if err != nil {
		return Usagef("restore %s: %w", c.File, err)
	}
	j := restoredJSON{Database: a.Database, End: done.Audit.String(), Replaced: done.Replaced}
	if done.Before.Seq > 0 {
		n := max(done.Before.Seq-done.Audit.Seq, 0)
		j.Forgotten = &n
	}
	return c.Print(a.Stdout, j, j.text)
}

// Restored is a backup that was put in the place of a database.
type Restored struct {
	Audit    audit.Head // where its audit log ends
	Before   audit.Head // where that of the database ended that was there; zero when that could not be read
	Replaced string     // where that one is now; empty when there was none
}

type restoredJSON struct {
	Database  string `json:"database"`
	End       string `json:"audit_end"`
	Forgotten *int64 `json:"forgotten"` // changes after the backup; null when nobody can tell
	Replaced  string `json:"replaced,omitempty"`
}

func (j restoredJSON) text(w io.Writer) {
	Row(w, "database", j.Database)
	Row(w, "end of the audit log", j.End)
	if j.Replaced != "" {
		Row(w, "what was there", j.Replaced)
	}
	forgotten := "all changes after the backup"
	if j.Forgotten != nil {
		forgotten = fmt.Sprintf("%d changes after the backup", *j.Forgotten)
	}
	Row(w, "forgotten", forgotten+": what was revoked, suspended or deleted then works again; do that once more")
}

// CheckPlace makes sure that a file can be at path and others beside it: SQLite keeps its log
// there. It asks by writing, for only that is sure to know of read-only file systems and of who we
// are.
func CheckPlace(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return errors.New("is a folder: name a file in it")
	}
	dir := filepath.Dir(path)
	probe, err := os.CreateTemp(dir, ".pageflare-license-*")
	var fault *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: make it", dir)
	case errors.As(err, &fault) && errors.Is(err, fs.ErrPermission) && failure.NotOurs(dir) != "":
		return fmt.Errorf("nothing can be written to folder %s (%w): %s", dir, fault.Err, failure.NotOurs(dir))
	case errors.As(err, &fault):
		return fmt.Errorf("nothing can be written to folder %s (%w): give this user the right to write there", dir, fault.Err)
	case err != nil:
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
