package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/pageflare/ci/service/store"
)

type backupCmd struct {
	asJSON
	File string `arg:"" name:"file" help:"The copy; there must be no file of that name yet."`
}

// Run copies the database, also while servers work on it. It needs no key, and changes nothing: a newer version can back up before it upgrades.
func (c backupCmd) Run(ctx context.Context, a *app) error {
	if err := checkPlace(c.File); err != nil {
		return usagef("backup %s: %w", c.File, err)
	}
	if !a.haveDatabase() {
		return usagef("there is no database at %s: set LICENSE_DATABASE_URL to the one to back up", hideUserInfo(a.cfg.DatabaseURL))
	}
	made, err := store.Backup(ctx, a.cfg.DatabaseURL, c.File)
	switch {
	case errors.Is(err, fs.ErrExist):
		return usagef("backup %s: it is there already, and a backup overwrites nothing: name a new file", c.File)
	case err != nil:
		return fmt.Errorf("backup %s: %w", c.File, err)
	}
	j := struct {
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
		End   string `json:"audit_end"`
	}{filepath.Clean(c.File), made.Bytes, made.Audit.String()}
	return c.print(a.stdout, j, func(w io.Writer) {
		row(w, "file", j.File)
		row(w, "bytes", j.Bytes)
		row(w, "end of the audit log", j.End)
	})
}
