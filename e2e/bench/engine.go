package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/store"
)

// engine is a kind of database.
type engine interface {
	name() string
	// create makes a database and returns its URL.
	create(ctx context.Context, name string) (url string, err error)
	// size is how many bytes of disk a database takes that nobody uses now.
	size(ctx context.Context, url string) (int64, error)
	// cpu is what its own processes have used so far; 0: it has none.
	cpu() time.Duration
	stop(ctx context.Context) error
}

// sqlite keeps its databases in a folder.
type sqlite struct{ folder string }

func (sqlite) name() string { return "SQLite" }

func (s sqlite) create(_ context.Context, name string) (string, error) {
	return "sqlite:" + filepath.Join(s.folder, name+".db"), nil
}

func (sqlite) size(_ context.Context, url string) (int64, error) {
	path := strings.TrimPrefix(url, "sqlite:")
	var bytes int64
	for _, file := range []string{path, path + "-wal"} {
		info, err := os.Stat(file)
		if err == nil {
			bytes += info.Size()
		} else if !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	return bytes, nil
}

func (sqlite) cpu() time.Duration         { return 0 }
func (sqlite) stop(context.Context) error { return nil }

// database is one that a service runs on.
type database struct {
	engine engine
	url    string
	master keyring.MasterKey
	issuer string           // of identities
	now    func() time.Time // of this process's own work on it
}

// publicURL is what every service of a run calls itself: one identity is good for all of them.
const publicURL = "https://license.example.com"

func newDatabase(ctx context.Context, e engine, name, issuer string) (database, error) {
	d := database{engine: e, issuer: issuer, now: time.Now}
	var err error
	if d.master, err = keyring.NewMasterKey(rand.Reader); err != nil {
		return d, err
	}
	d.url, err = e.create(ctx, name)
	return d, err
}

// env is the environment of a service, or of a command, on the database.
func (d database) env() []string {
	return []string{
		"LICENSE_LISTEN=127.0.0.1:0", "LICENSE_DATABASE_URL=" + d.url, "LICENSE_KEY=" + d.master.Text().Reveal(), "LICENSE_LOG_FORMAT=json",
		"LICENSE_PUBLIC_URL=" + publicURL, "LICENSE_RATE_LIMITS=pro=0", "LICENSE_OIDC_ISSUERS=" + d.issuer, "HOME=" + os.TempDir(),
	}
}

// with opens the database in this process, as a service does, for as long as f runs.
func (d database) with(ctx context.Context, f func(*parts.Parts) error) error {
	return d.withStore(ctx, func(s *store.Store) error {
		p, err := d.join(ctx, s, nil)
		if err != nil {
			return err
		}
		return f(p)
	})
}

func (d database) withStore(ctx context.Context, f func(*store.Store) error) error {
	s, err := store.Open(ctx, d.url)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

// tokenTTL is the usual lifetime of a token, as the service's own default.
const tokenTTL = 8760 * time.Hour

func (d database) join(ctx context.Context, s *store.Store, identities *oidc.Verifier) (*parts.Parts, error) {
	return parts.New(ctx, parts.Config{
		Stores: parts.On(s), MasterKey: d.master, Issuer: publicURL, TokenTTL: tokenTTL, LeaseGrace: 168 * time.Hour,
		Identities: identities, Now: d.now, Rand: rand.Reader,
	})
}

// records is how many records the audit log of the database has: the number of its end.
func (d database) records(ctx context.Context) (n int64, err error) {
	err = d.with(ctx, func(p *parts.Parts) error {
		head, err := p.Log.CheckEnd(ctx)
		n = head.Seq
		return err
	})
	return n, err
}

// newEngine starts an engine by its name.
func newEngine(ctx context.Context, name, temp string) (engine, error) {
	switch name {
	case "sqlite":
		return sqlite{temp}, nil
	case "postgres":
		return startPostgres(ctx)
	}
	return nil, fmt.Errorf("-engines: %q is neither sqlite nor postgres", name)
}
