// Package store is all SQL of the License service: one text for SQLite and PostgreSQL.
//
// It decides how things are kept and that what it acknowledges is durable. What may be kept is
// decided in service/license, whose Store interface this package meets; its errors are that
// package's.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
)

// Store is a database of the License service. It is safe for use by several goroutines, and several
// processes can share one database.
type Store struct {
	read   *pool
	write  *pool
	group  *group
	trying sync.Mutex // held by the one caller of Ready that tries a write
	path   string
	file   os.FileInfo // what was at path when it was opened
}

var (
	_ audit.Store          = (*Store)(nil)
	_ keyring.Store        = (*Store)(nil)
	_ account.Store        = (*Store)(nil)
	_ auth.Store           = (*Store)(nil)
	_ auth.AdminStore      = (*Store)(nil)
	_ auth.DeviceStore     = (*Store)(nil)
	_ auth.SessionStore    = (*Store)(nil)
	_ license.PolicyStore  = (*Store)(nil)
	_ license.Store        = (*Store)(nil)
	_ license.MachineStore = (*Store)(nil)
	_ oidc.KeyStore        = (*Store)(nil)
)

// ErrNewer says that the database was made by a newer version of the service.
var ErrNewer = errors.New("the database is from a newer version of pageflare-license: run that version, or restore a backup of before")

// ErrOlder says that the database was made by an older version of the service, and that who opened
// it may not change that.
var ErrOlder = errors.New("the database is from an older version of pageflare-license, and only `serve` and `migrate` bring it up to date: " +
	"make a backup, then start the service of this version, or run `pageflare-license migrate`")

// Open opens the database that url names (sqlite:PATH), creates it if it is not there, and brings
// its tables up to date. The error says what is wrong with the database in one line; ErrNewer is
// one of them.
func Open(ctx context.Context, url string) (*Store, error) { return open(ctx, url, true) }

// OpenCurrent is Open for those who must not change the tables of a database that is in use:
// ErrOlder. One that is not there is created.
func OpenCurrent(ctx context.Context, url string) (*Store, error) { return open(ctx, url, false) }

func open(ctx context.Context, url string, mayChange bool) (*Store, error) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	if !ok || path == "" {
		return nil, fmt.Errorf("database url %q is not sqlite:PATH", opaque.HideUserInfo(url))
	}
	if err := checkOurs(ctx, path); err != nil {
		return nil, fmt.Errorf("database %s: %w", url, err)
	}
	s, err := openSQLite(path)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.write.DB, mayChange); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", url, damaged(err)), s.Close())
	}
	s.group = startGroup(s.write)
	return s, nil
}

// Close ends the store after what was begun has ended.
func (s *Store) Close() error {
	if s.group != nil {
		s.group.stop()
	}
	return errors.Join(s.read.Close(), s.write.Close())
}

// changedOne turns "no row was changed" into ErrNotFound.
func changedOne(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		return failure.ErrNotFound
	}
	return err
}

// notFound turns the driver's "no rows" into ErrNotFound, and its other errors as storeError does.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return failure.ErrNotFound
	}
	return storeError(err)
}

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func nullMillis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

func fromNullMillis(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return fromMillis(n.Int64)
}
