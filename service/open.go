package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/command"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/webhook/deliver"
)

// open opens the database and its key and returns the service on it, with what ends it. Errors are
// usage errors: a person has to fix the settings or the files. database opens it: only serve and
// migrate bring one that is in use up to date. identities makes what proves the identities of jobs;
// nil: none is accepted.
func (a *app) open(ctx context.Context, database openDatabase, issuer string, identities newVerifier) (*parts.Parts, func() error, error) {
	if err := a.inspect(); err != nil {
		return nil, nil, err
	}
	s, err := database(ctx, a.cfg.DatabaseURL)
	if err != nil {
		return nil, nil, command.UsageError{Err: err}
	}
	l, err := a.join(ctx, s, issuer, identities)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return l, func() error {
		_ = l.App.Revoke(ctx) // what is left of the tokens ends by itself within the hour
		return s.Close()
	}, nil
}

// openDatabase is store.Open or store.OpenCurrent.
type openDatabase func(ctx context.Context, url string) (*store.Store, error)

// newVerifier makes what proves the identities of jobs, with a place for the keys of issuers.
type newVerifier func(oidc.KeyStore) (*oidc.Verifier, error)

func (a *app) join(ctx context.Context, s *store.Store, issuer string, identities newVerifier) (*parts.Parts, error) {
	keys, err := s.Keys(ctx)
	if err != nil {
		return nil, command.Usagef("database %s: %w", opaque.HideUserInfo(a.cfg.DatabaseURL), err)
	}
	master, err := a.masterKey(len(keys) > 0)
	if err != nil {
		return nil, command.UsageError{Err: err}
	}
	c := parts.Config{
		Stores: parts.On(s), MasterKey: master, Issuer: issuer, TokenTTL: a.cfg.TokenTTL, IdentityTokenTTL: a.cfg.OIDCTokenTTL,
		LeaseGrace: a.cfg.LeaseGrace, GitHub: a.githubConfig(), WebhookAllow: a.cfg.WebhookAllow, Now: time.Now, Rand: rand.Reader,
		Guard: deliver.NewGuard(a.cfg.WebhookAllow, nil, nil),
	}
	if a.serving {
		c.Events = a.cfg.logger(a.stderr)
	}
	if c.App, err = a.givenApp(); err != nil {
		return nil, command.UsageError{Err: err}
	}
	if identities != nil {
		if c.Identities, err = identities(s); err != nil {
			return nil, command.UsageError{Err: err}
		}
	}
	l, err := parts.New(ctx, c)
	if fault, ok := errors.AsType[*github.AppError](err); ok {
		return nil, command.UsageError{Err: appFault(fault, a.cfg.GitHubAppKey)}
	}
	if errors.Is(err, keyring.ErrWrongMasterKey) {
		return nil, command.Usagef("%s does not open the signing keys in %s: %w: give the key that this database was made with",
			a.keySource(), opaque.HideUserInfo(a.cfg.DatabaseURL), keyring.ErrWrongMasterKey)
	}
	return l, err
}

// keySource names where the key-encryption key comes from, for messages.
func (a *app) keySource() string {
	if a.cfg.Key != "" {
		return "LICENSE_KEY"
	}
	return "key file " + a.cfg.KeyFile
}

// masterKey reads the key-encryption key. For a database that is in use it must be there; for a new
// one it is made.
func (a *app) masterKey(inUse bool) (keyring.MasterKey, error) {
	if a.cfg.Key != "" {
		return keyring.ParseMasterKey(a.cfg.Key.Reveal())
	}
	key, err := readKeyFile(a.cfg.KeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && inUse:
		return keyring.MasterKey{}, fmt.Errorf("key file %s is missing, and %s was made with one: restore it, or give the key in LICENSE_KEY",
			a.cfg.KeyFile, opaque.HideUserInfo(a.cfg.DatabaseURL))
	case errors.Is(err, fs.ErrNotExist):
		return makeKeyFile(a.cfg.KeyFile)
	}
	return key, err
}

// readKeyFile reads a key file. fs.ErrNotExist: there is none. The error never quotes what is in
// it.
func readKeyFile(file string) (keyring.MasterKey, error) {
	text, err := os.ReadFile(file)
	var fault *fs.PathError
	if errors.As(err, &fault) && errors.Is(err, fs.ErrPermission) && failure.NotOurs(file) != "" {
		return keyring.MasterKey{}, fmt.Errorf("key file %s cannot be read: %w: %s", file, fault.Err, failure.NotOurs(file))
	}
	if errors.As(err, &fault) {
		return keyring.MasterKey{}, fmt.Errorf("key file %s cannot be read: %w: give this user the right to read it, or set LICENSE_KEY_FILE", file, fault.Err)
	}
	if err != nil {
		return keyring.MasterKey{}, err
	}
	key, err := keyring.ParseMasterKey(string(text))
	if err != nil {
		return keyring.MasterKey{}, fmt.Errorf("key file %s holds no key (base64 of %d bytes): restore it, or set LICENSE_KEY_FILE", file, keyring.MasterKeySize)
	}
	return key, nil
}

// makeKeyFile makes a key file that its owner alone can read. It appears whole or not at all, and
// of several processes that start at once the first one makes it.
func makeKeyFile(file string) (keyring.MasterKey, error) {
	key, err := keyring.NewMasterKey(rand.Reader)
	if err != nil {
		return keyring.MasterKey{}, err
	}
	fault := func(err error) (keyring.MasterKey, error) {
		return keyring.MasterKey{}, fmt.Errorf("make key file %s: %w: give its folder the right to write, or set LICENSE_KEY_FILE", file, err)
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".pageflare-license-*.key") // mode 0600
	if err != nil {
		return fault(err)
	}
	defer os.Remove(temp.Name())
	if _, err := temp.WriteString(key.Text().Reveal() + "\n"); err != nil {
		return fault(errors.Join(err, temp.Close()))
	}
	if err := errors.Join(temp.Sync(), temp.Close()); err != nil {
		return fault(err)
	}
	if err := os.Link(temp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return fault(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fault(err)
	}
	return keyring.ParseMasterKey(string(text))
}

// haveDatabase tells whether there is a database, which an empty file is not, nor one of a server
// without our tables.
func (a *app) haveDatabase(ctx context.Context) bool {
	if a.databasePath() == "" {
		return store.HasTables(ctx, a.cfg.DatabaseURL)
	}
	info, err := os.Stat(a.databasePath())
	return err == nil && info.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) // what cannot be seen is for inspect to judge
}

// publicURL is what clients call when the API listens on addr.
func (a *app) publicURL(addr string) string {
	if a.cfg.PublicURL != "" {
		return a.cfg.PublicURL
	}
	return "http://" + addr
}

// knownSettings are the names of all variables that mean something.
func knownSettings() []string {
	names := []string{"LICENSE_KEY", "LICENSE_GITHUB_WEBHOOK_SECRET", "LICENSE_GITHUB_WEBHOOK_PREVIOUS_SECRET"}
	for f := range reflect.TypeFor[Settings]().Fields() {
		names = append(names, f.Tag.Get("env"))
	}
	return names
}
