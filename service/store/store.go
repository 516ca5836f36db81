// Package store is all SQL of the License service: one text for SQLite and PostgreSQL.
//
// It decides how things are stored and that what it acknowledges is durable. What may be stored is
// decided in service/license, whose Store interface this package meets; its errors are that
// package's.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
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
	"github.com/pageflare/ci/service/store/ledger"
	"github.com/pageflare/ci/service/upkeep"
	"github.com/pageflare/ci/service/webhook/out"
)

// Store is a database of the License service. It is safe for use by several goroutines, and several
// processes can share one database.
type Store struct {
	read     *pool
	write    *pool
	group    *group
	recent   *recent
	accounts *accountReads
	trying   sync.Mutex  // held by the one caller of Ready that tries a write
	path     string      // of SQLite's file; empty on PostgreSQL
	file     os.FileInfo // what was at path when it was opened

	limitClock func() time.Time // see SetLimitClock
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
	_ upkeep.Store         = (*Store)(nil)
	_ account.NoticeStore  = (*Store)(nil)
	_ out.Store            = (*Store)(nil)
	_ out.FeedStore        = (*Store)(nil)
)

// ErrNewer says that the database was made by a newer version of the service.
var ErrNewer = errors.New("the database is from a newer version of pageflare-license: run that version, or restore a backup of before")

// ErrOlder says that the database was made by an older version of the service, and that who opened
// it may not change that.
var ErrOlder = errors.New("the database is from an older version of pageflare-license, and only `serve` and `migrate` bring it up to date: " +
	"make a backup, then start the service of this version, or run `pageflare-license migrate`")

// Open opens the database that url names (sqlite:PATH or postgres://…), creates its file or its
// tables if they are not there, and brings the tables up to date. The error says what is wrong with
// the database in one line; ErrNewer is one of them.
func Open(ctx context.Context, url string) (*Store, error) { return open(ctx, url, true, migrations) }

// OpenCurrent is Open for those who must not change the tables of a database that is in use:
// ErrOlder. One that is not there is created.
func OpenCurrent(ctx context.Context, url string) (*Store, error) {
	return open(ctx, url, false, migrations)
}

func open(ctx context.Context, url string, mayChange bool, files fs.FS) (*Store, error) {
	s, err := openEngine(ctx, url)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.write, mayChange, files); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", opaque.HideUserInfo(url), damaged(err)), s.Close())
	}
	s.recent = newRecent(func(ctx context.Context) ([]ledger.Record, error) {
		return s.newestRecords(ctx, time.Now().Add(-recentAge), maxRecent)
	})
	s.write.recent, s.write.rights, s.write.used = s.recent, newRightsKnown(), &usedRepositories{}
	s.write.published = newPublication()
	s.group, s.accounts = startGroup(s.write), newAccountReads(s.read)
	return s, nil
}

// openEngine opens the database as it is.
func openEngine(ctx context.Context, url string) (*Store, error) {
	if IsPostgres(url) {
		s, err := openPostgres(url)
		if err != nil {
			return nil, err
		}
		if err := s.checkPlace(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("database %s: %w", opaque.HideUserInfo(url), err), s.Close())
		}
		return s, nil
	}
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	if err := checkOurs(ctx, path); err != nil {
		return nil, fmt.Errorf("database %s: %w", url, err)
	}
	return openSQLite(path)
}

// sqlitePath is the file that a URL names.
func sqlitePath(url string) (string, error) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	if !ok || path == "" {
		return "", fmt.Errorf("database url %q is neither sqlite:PATH nor postgres://…", opaque.HideUserInfo(url))
	}
	return path, nil
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
