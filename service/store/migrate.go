package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the tables up to date; ErrOlder when it may not change those that there are.
// Several processes may start on one new database at once: each migration is one transaction, so
// the second one fails on it, looks again, and finds it done.
//
// On PostgreSQL they take the lock of a table first, which a pooler does not break, and only when
// there is something to do: who starts on a database that is up to date waits for nobody.
//
// all has the migrations in its folder of that name.
func migrate(ctx context.Context, db *pool, mayChange bool, all fs.FS) error {
	files, err := fs.Sub(all, "migrations")
	if err != nil {
		return err
	}
	dialect := database.DialectSQLite3
	var options []goose.ProviderOption
	if db.engine == postgres {
		dialect = database.DialectPostgres
		locker, err := lock.NewPostgresTableLocker(lock.WithTableName("migration_lock"), lock.WithTableLockTimeout(migrationPoll, migrationPolls),
			lock.WithTableLeaseDuration(30*time.Second), lock.WithTableHeartbeatInterval(5*time.Second), lock.WithTableRetryPolicy(worthRetry))
		if err != nil {
			return fmt.Errorf("read the migrations: %w", err)
		}
		options = append(options, goose.WithLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db.DB, files, options...)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", storeError(err))
	}
	// SQLite does not wait for its lock while it changes to WAL, so we do: pauses of 10 ms to 640
	// ms, about five seconds in all
	const tries = 14
	for try := 1; ; try++ {
		err := up(ctx, db, p, mayChange || !inUse(ctx, db))
		if err == nil || try == tries || errors.Is(err, ErrNewer) || errors.Is(err, ErrOlder) || damaged(err) != err || !worthRetry(err) {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond << min(try-1, 6)):
		case <-ctx.Done():
			return err
		}
	}
}

// newestMigration is the version of a database that is up to date.
func newestMigration() (newest int64, err error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			return 0, err
		}
		newest = max(newest, version)
	}
	return newest, err
}

// A starter that finds another one migrating looks again every migrationPoll, for two minutes.
const (
	migrationPoll  = 200 * time.Millisecond
	migrationPolls = 600
)

// inUse tells a database that serves somebody from one that another process is just making: it has
// a signing key.
func inUse(ctx context.Context, db *pool) (used bool) {
	err := db.DB.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM signing_keys)`).Scan(&used)
	return err == nil && used // without that table it is new
}

func up(ctx context.Context, db *pool, p *goose.Provider, mayChange bool) error {
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the database: %w", storeError(err))
	}
	if current > target {
		return ErrNewer
	}
	if current == target {
		return nil
	}
	if current > 0 && !mayChange {
		return ErrOlder
	}
	err = db.unhurried(func() error {
		_, err := p.Up(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("bring the database up to date: %w", storeError(err))
	}
	return nil
}
