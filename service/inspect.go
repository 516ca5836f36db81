package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pageflare/ci/service/store"
)

// inspect finds what is wrong with the files of this start before one of them is made: all faults at once, and a start that cannot work
// leaves nothing behind. Errors are usage errors.
func (a *app) inspect() error {
	database := a.databasePath()
	place := checkPlace(database)
	var faults []error
	if place != nil {
		faults = append(faults, usagef("database %s: %w, or set LICENSE_DATABASE_URL", hideUserInfo(a.cfg.DatabaseURL), place))
	}
	if place == nil || filepath.Dir(a.cfg.KeyFile) != filepath.Dir(database) {
		faults = append(faults, a.inspectKey(database))
	}
	return errors.Join(faults...)
}

// databasePath is the file of the database.
func (a *app) databasePath() string { return strings.TrimPrefix(a.cfg.DatabaseURL, "sqlite:") }

// inspectKey looks at the key file. One that is missing is made for a new database only.
func (a *app) inspectKey(database string) error {
	if a.cfg.Key != "" {
		return nil
	}
	_, err := readKeyFile(a.cfg.KeyFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usageError{err}
	}
	if _, used := os.Stat(database); err == nil || used == nil {
		return nil
	}
	if err := checkPlace(a.cfg.KeyFile); err != nil {
		return usagef("key file %s: %w, or set LICENSE_KEY_FILE", a.cfg.KeyFile, err)
	}
	return nil
}

// checkPlace makes sure that a file can be at path and others beside it: SQLite keeps its log there. It asks by writing, for only that
// is sure to know of read-only file systems and of who we are.
func checkPlace(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return errors.New("is a folder: name a file in it")
	}
	dir := filepath.Dir(path)
	probe, err := os.CreateTemp(dir, ".pageflare-license-*")
	var fault *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: make it", dir)
	case errors.As(err, &fault) && errors.Is(err, fs.ErrPermission) && store.NotOurs(dir) != "":
		return fmt.Errorf("nothing can be written to folder %s (%w): %s", dir, fault.Err, store.NotOurs(dir))
	case errors.As(err, &fault):
		return fmt.Errorf("nothing can be written to folder %s (%w): give this user the right to write there", dir, fault.Err)
	case err != nil:
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
