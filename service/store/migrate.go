package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the tables up to date; ErrOlder when it may not change those that there are.
// Several processes may start on one new database at once: each migration is one transaction, so
// the second one fails on it, looks again, and finds it done.
func migrate(ctx context.Context, db *sql.DB, mayChange bool) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(database.DialectSQLite3, db, files)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", storeError(err))
	}
	// SQLite does not wait for its lock while it changes to WAL, so we do: pauses of 10 ms to 640
	// ms, about five seconds in all
	const tries = 14
	for try := 1; ; try++ {
		err := up(ctx, p, mayChange || !inUse(ctx, db))
		if err == nil || try == tries || errors.Is(err, ErrNewer) || errors.Is(err, ErrOlder) || damaged(err) != err {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond << min(try-1, 6)):
		case <-ctx.Done():
			return err
		}
	}
}

// inUse tells a database that serves somebody from one that another process is just making: it has a
// signing key.
func inUse(ctx context.Context, db *sql.DB) (used bool) {
	err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM signing_keys)`).Scan(&used)
	return err == nil && used // without that table it is new
}

func up(ctx context.Context, p *goose.Provider, mayChange bool) error {
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
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	return nil
}
