package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pageflare/ci/service/store"
)

type backupCmd struct {
	asJSON
	Replace bool   `help:"Let an older copy of that name give way."`
	File    string `arg:"" name:"file" help:"The copy; there must be no file of that name yet. - is standard output."`
}

// Run copies the database, also while servers work on it. It needs no key, and changes nothing: a newer version can back up before it upgrades.
func (c backupCmd) Run(ctx context.Context, a *app) error {
	if c.File == "-" {
		return c.stream(ctx, a)
	}
	if err := checkPlace(c.File); err != nil {
		return usagef("backup %s: %w", c.File, err)
	}
	made, err := c.make(ctx, a, c.File, c.Replace)
	if err != nil {
		return err
	}
	return c.say(a.stdout, filepath.Clean(c.File), made)
}

func (c backupCmd) make(ctx context.Context, a *app, to string, replace bool) (store.Copy, error) {
	if !a.haveDatabase() {
		return store.Copy{}, usagef("there is no database at %s: set LICENSE_DATABASE_URL to the one to back up", hideUserInfo(a.cfg.DatabaseURL))
	}
	made, err := store.Backup(ctx, a.cfg.DatabaseURL, to, replace)
	switch {
	case errors.Is(err, fs.ErrExist):
		return store.Copy{}, usagef("backup %s: it is there already, and a backup overwrites nothing: name a new file, or add --replace", c.File)
	case err != nil:
		return store.Copy{}, fmt.Errorf("backup %s: %w", c.File, err)
	}
	return made, nil
}

// stream writes the copy to standard output, for a container whose files are out of reach: it is made beside the database first, and read back. What there
// is to say of it goes to standard error.
func (c backupCmd) stream(ctx context.Context, a *app) (err error) {
	folder, err := os.MkdirTemp(filepath.Dir(a.databasePath()), ".pageflare-license-*")
	if err != nil {
		return fmt.Errorf("backup -: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	file := filepath.Join(folder, "copy.db")
	made, err := c.make(ctx, a, file, false)
	if err != nil {
		return err
	}
	copied, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("backup -: %w", err)
	}
	_, err = io.Copy(a.stdout, copied)
	if err := errors.Join(err, copied.Close()); err != nil {
		return fmt.Errorf("backup -: %w", err)
	}
	return c.say(a.stderr, "-", made)
}

func (c backupCmd) say(w io.Writer, file string, made store.Copy) error {
	j := struct {
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
		End   string `json:"audit_end"`
	}{file, made.Bytes, made.Audit.String()}
	return c.print(w, j, func(w io.Writer) {
		row(w, "file", j.File)
		row(w, "bytes", j.Bytes)
		row(w, "end of the audit log", j.End)
	})
}

type restoreCmd struct {
	asJSON
	File string `arg:"" name:"file" help:"The backup; - is standard input."`
}

// Run puts a backup in the place of the database. The service must not run.
func (c restoreCmd) Run(ctx context.Context, a *app) error {
	if askHealth(ctx, a.cfg.Listen) == nil {
		return usagef("restore %s: a License service answers at %s: stop it first, or what it writes is lost", c.File, a.cfg.Listen)
	}
	if err := checkPlace(a.databasePath()); err != nil {
		return usagef("database %s: %w", hideUserInfo(a.cfg.DatabaseURL), err)
	}
	from := a.stdin
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return usagef("restore: %w", err)
		}
		defer file.Close()
		from = file
	}
	done, err := store.Restore(ctx, from, a.cfg.DatabaseURL)
	if err != nil {
		return usagef("restore %s: %w", c.File, err)
	}
	j := restoredJSON{Database: hideUserInfo(a.cfg.DatabaseURL), End: done.Audit.String(), Replaced: done.Replaced}
	if done.Before.Seq > 0 {
		n := max(done.Before.Seq-done.Audit.Seq, 0)
		j.Forgotten = &n
	}
	return c.print(a.stdout, j, j.text)
}

type restoredJSON struct {
	Database  string `json:"database"`
	End       string `json:"audit_end"`
	Forgotten *int64 `json:"forgotten"` // changes after the backup; null when nobody can tell
	Replaced  string `json:"replaced,omitempty"`
}

func (j restoredJSON) text(w io.Writer) {
	row(w, "database", j.Database)
	row(w, "end of the audit log", j.End)
	if j.Replaced != "" {
		row(w, "what was there", j.Replaced)
	}
	forgotten := "all changes after the backup"
	if j.Forgotten != nil {
		forgotten = fmt.Sprintf("%d changes after the backup", *j.Forgotten)
	}
	row(w, "forgotten", forgotten+": what was revoked, suspended or deleted then works again; do that once more")
}
