package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup copies the database.
type Backup struct {
	Output
	Replace bool   `help:"Let an older copy of that name give way."`
	File    string `arg:"" name:"file" help:"The copy; there must be no file of that name yet. - is standard output."`
}

// Run copies the database, also while servers work on it. It needs no key, and changes nothing: a newer version can back up before it upgrades.
func (c Backup) Run(ctx context.Context, a *App) error {
	if c.File == "-" {
		return c.stream(ctx, a)
	}
	if err := a.CheckPlace(c.File); err != nil {
		return Usagef("backup %s: %w", c.File, err)
	}
	made, err := c.make(ctx, a, c.File, c.Replace)
	if err != nil {
		return err
	}
	return c.say(a.Stdout, filepath.Clean(c.File), made)
}

func (c Backup) make(ctx context.Context, a *App, to string, replace bool) (Copied, error) {
	if !a.HaveDatabase() {
		return Copied{}, Usagef("there is no database at %s: set LICENSE_DATABASE_URL to the one to back up", a.Database)
	}
	made, err := a.Backup(ctx, to, replace)
	switch {
	case errors.Is(err, fs.ErrExist):
		return Copied{}, Usagef("backup %s: it is there already, and a backup overwrites nothing: name a new file, or add --replace", c.File)
	case err != nil:
		return Copied{}, fmt.Errorf("backup %s: %w", c.File, err)
	}
	return made, nil
}

// stream writes the copy to standard output, for a container whose files are out of reach: it is made beside the database first, and read back. What there
// is to say of it goes to standard error.
func (c Backup) stream(ctx context.Context, a *App) (err error) {
	folder, err := os.MkdirTemp(filepath.Dir(a.File), ".pageflare-license-*")
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
	_, err = io.Copy(a.Stdout, copied)
	if err := errors.Join(err, copied.Close()); err != nil {
		return fmt.Errorf("backup -: %w", err)
	}
	return c.say(a.Stderr, "-", made)
}

func (c Backup) say(w io.Writer, file string, made Copied) error {
	j := struct {
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
		End   string `json:"audit_end"`
	}{file, made.Bytes, made.End.String()}
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
	if a.Runs(ctx) != "" {
		return Usagef("restore %s: a License service answers at %s: stop it first, or what it writes is lost", c.File, a.Runs(ctx))
	}
	if err := a.CheckPlace(a.File); err != nil {
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
	j := restoredJSON{Database: a.Database, End: done.End.String(), Replaced: done.Replaced}
	if done.Before.Seq > 0 {
		n := max(done.Before.Seq-done.End.Seq, 0)
		j.Forgotten = &n
	}
	return c.Print(a.Stdout, j, j.text)
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
