package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pageflare/ci/service/command"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store"
)

// inspect finds what is wrong with the files of this start before one of them is made: all faults
// at once, and a start that cannot work leaves nothing behind. Errors are usage errors.
func (a *app) inspect() error {
	if a.databasePath() == "" {
		return a.inspectGivenKey()
	}
	database := a.databasePath()
	place := command.CheckPlace(database)
	var faults []error
	if place != nil {
		faults = append(faults, command.Usagef("database %s: %w, or set LICENSE_DATABASE_URL", opaque.HideUserInfo(a.cfg.DatabaseURL), place))
	}
	if place == nil || filepath.Dir(a.cfg.KeyFile) != filepath.Dir(database) {
		faults = append(faults, a.inspectKey(database))
	}
	return errors.Join(faults...)
}

// databasePath is the file of the database; empty when it is none but a server.
func (a *app) databasePath() string {
	if store.IsPostgres(a.cfg.DatabaseURL) {
		return ""
	}
	return strings.TrimPrefix(a.cfg.DatabaseURL, "sqlite:")
}

// dumpURL is what the tools of PostgreSQL are given to reach the database; empty when it is a file.
func (a *app) dumpURL() string {
	if a.databasePath() != "" {
		return ""
	}
	return store.DumpURL(a.cfg.DatabaseURL)
}

// inspectGivenKey looks at the key of a database on a server: all replicas need the same one, so
// none is made.
func (a *app) inspectGivenKey() error {
	if a.cfg.Key != "" {
		return nil
	}
	_, err := readKeyFile(a.cfg.KeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return command.Usagef("key file %s is missing, and on PostgreSQL none is made, for all replicas need the same one: "+
			"write the output of `openssl rand -base64 32` to it, or set LICENSE_KEY", a.cfg.KeyFile)
	}
	if err != nil {
		return command.UsageError{Err: err}
	}
	return nil
}

// inspectKey looks at the key file. One that is missing is made for a new database only.
func (a *app) inspectKey(database string) error {
	if a.cfg.Key != "" {
		return nil
	}
	_, err := readKeyFile(a.cfg.KeyFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return command.UsageError{Err: err}
	}
	if _, used := os.Stat(database); err == nil || used == nil {
		return nil
	}
	if err := command.CheckPlace(a.cfg.KeyFile); err != nil {
		return command.Usagef("key file %s: %w, or set LICENSE_KEY_FILE", a.cfg.KeyFile, err)
	}
	return nil
}
