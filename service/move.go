package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/pageflare/ci/service/command"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store"
)

// move moves the database from one engine to the other. Errors of what a person gave are usage
// errors.
func (a *app) move(ctx context.Context, from, to string, report func(command.Progress)) (command.Moved, error) {
	var faults []error
	for _, url := range [][2]string{{"--from", from}, {"--to", to}} {
		if err := checkDatabaseURL(url[1]); err != nil {
			faults = append(faults, fmt.Errorf("migrate-engine: %s %q %w", url[0], opaque.HideUserInfo(url[1]), err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return command.Moved{}, command.UsageError{Err: err}
	}
	if path, ok := strings.CutPrefix(to, "sqlite:"); ok {
		if err := command.CheckPlace(path); err != nil {
			return command.Moved{}, command.Usagef("migrate-engine: --to %s: %w", to, err)
		}
	}
	key, source, err := a.keyOf(from)
	if err != nil {
		return command.Moved{}, command.Usagef("migrate-engine: %w", err)
	}
	moved, err := store.Move{
		From: from, To: to,
		Check: func(keys []keyring.SealedKey) error {
			if err := key.Opens(keys); err != nil {
				return fmt.Errorf("%s does not open the signing keys in %s: %w: give the key that this database was made with",
					source, opaque.HideUserInfo(from), err)
			}
			return nil
		},
		Progress: func(p store.MoveProgress) { report(command.Progress(p)) },
	}.Run(ctx)
	switch {
	case ctx.Err() != nil:
		return command.Moved{}, context.Canceled
	case errors.Is(err, failure.ErrUnavailable):
		return command.Moved{}, fmt.Errorf("migrate-engine: %w", err)
	case err != nil:
		return command.Moved{}, command.Usagef("migrate-engine: %w", err)
	}
	done := command.Moved{
		From: opaque.HideUserInfo(from), To: opaque.HideUserInfo(to), Audit: moved.Audit, Resumed: moved.Resumed,
	}
	for _, t := range moved.Tables {
		done.Tables = append(done.Tables, command.MovedTable{Name: t.Name, Rows: t.Rows, SHA256: hex.EncodeToString(t.SHA256[:])})
	}
	return done, nil
}

// keyOf is the key-encryption key of a database, and where it comes from, for messages. None is made.
func (a *app) keyOf(url string) (keyring.MasterKey, string, error) {
	file := a.cfg.KeyFile
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok && (file == "" || file == defaultKeyFile(a.cfg.DatabaseURL)) {
		file = path + ".key"
	}
	if a.cfg.Key != "" {
		key, err := keyring.ParseMasterKey(a.cfg.Key.Reveal())
		return key, "LICENSE_KEY", err
	}
	key, err := readKeyFile(file)
	return key, "key file " + file, err
}
