package command

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

// Backup copies the database.
type Backup struct {
	Output
	File string `arg:"" name:"file" help:"The copy; there must be no file of that name yet."`
}

// Run copies the database, also while servers work on it. It needs no key, and changes nothing: a
// newer version can back up before it upgrades.
func (c Backup) Run(ctx context.Context, a *App) error {
	if err := CheckPlace(c.File); err != nil {
		return Usagef("backup %s: %w", c.File, err)
	}
	if !a.HaveDatabase() {
		return Usagef("there is no database at %s: set LICENSE_DATABASE_URL to the one to back up",
			a.Database)
	}
	made, err := store.Backup(ctx, a.DatabaseURL, c.File)
	switch {
	case errors.Is(err, fs.ErrExist):
		return Usagef("backup %s: it is there already, and a backup overwrites nothing: name a new file", c.File)
	case err != nil:
		return fmt.Errorf("backup %s: %w", c.File, err)
	}
	j := struct {
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
		End   string `json:"audit_end"`
	}{filepath.Clean(c.File), made.Bytes, made.Audit.String()}
	return c.Print(a.Stdout, j, func(w io.Writer) {
		Row(w, "file", j.File)
		Row(w, "bytes", j.Bytes)
		Row(w, "end of the audit log", j.End)
	})
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
	case errors.As(err, &fault):
		return fmt.Errorf("nothing can be written to folder %s (%w): give this user the right to write there", dir, fault.Err)
	case err != nil:
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
