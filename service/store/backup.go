package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pageflare/ci/service/audit"
)

// Copy is a backup that was made.
type Copy struct {
	Bytes int64
	Audit audit.Head // where its audit log ends
}

// Backup copies the database that url names (sqlite:PATH) to a new file that its owner alone can
// read. It is the database as it was at one moment; servers and commands go on writing meanwhile,
// and the tables are not brought up to date. The copy was read back, is durable, and appears whole
// or not at all: fs.ErrExist when there is a file of that name, fs.ErrNotExist when there is no
// database. With replace an older copy of that name gives way.
func Backup(ctx context.Context, url, to string, replace bool) (made Copy, err error) {
	from, err := sqlitePath(url)
	if err != nil {
		return Copy{}, err
	}
	if _, err := os.Stat(from); err != nil {
		return Copy{}, fmt.Errorf("database %s: %w", url, err)
	}
	if err := checkOurs(ctx, from); err != nil {
		return Copy{}, fmt.Errorf("database %s: %w", url, err)
	}
	if _, err := os.Lstat(to); err == nil && !replace {
		return Copy{}, &fs.PathError{Op: "make", Path: to, Err: fs.ErrExist}
	}
	temp, err := os.CreateTemp(filepath.Dir(to), ".pageflare-license-*.backup") // mode 0600
	if err != nil {
		return Copy{}, err
	}
	defer func() {
		err = errors.Join(err, temp.Close())
		if fault := os.Remove(temp.Name()); !errors.Is(fault, fs.ErrNotExist) {
			err = errors.Join(err, fault)
		}
	}()
	if err := copyTo(ctx, from, temp.Name()); err != nil {
		return Copy{}, fmt.Errorf("copy database %s: %w", url, damaged(storeError(err)))
	}
	if made.Audit, err = readBack(ctx, temp.Name()); err != nil {
		return Copy{}, fmt.Errorf("read back the copy of database %s: %w", url, damaged(err))
	}
	info, err := temp.Stat()
	if err != nil {
		return Copy{}, err
	}
	made.Bytes = info.Size()
	// SQLite leaves it to us to bring the copy to the disk
	put := os.Link
	if replace {
		put = os.Rename
	}
	return made, errors.Join(temp.Sync(), put(temp.Name(), to), syncFolder(filepath.Dir(to)))
}

// backupTime is what the name of a database ends with in that of an empty file beside it, which was
// changed when the newest backup was made. A file, for a backup changes nothing in the database and
// is also made by a version that is newer than its tables.
const backupTime = ".backup-time"

// RecordBackup notes for the metrics of a running service that a backup of the database that url
// names was made just now, and has come to where it belongs. The file takes the place of the one
// before, which may be another user's.
func RecordBackup(url string) error {
	path, err := sqlitePath(url)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".pageflare-license-*")
	if err != nil {
		return err
	}
	if err := errors.Join(temp.Close(), os.Rename(temp.Name(), path+backupTime)); err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

// backedUp is when the newest backup was made; zero when none was, and on PostgreSQL, whose backups
// others make.
func (s *Store) backedUp() (time.Time, error) {
	if s.read.engine == postgres {
		return time.Time{}, nil
	}
	info, err := os.Stat(s.path + backupTime)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// copyTo writes the database as it is now into an empty file.
func copyTo(ctx context.Context, from, to string) (err error) {
	name, err := dataSource(from)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", name+"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, `VACUUM INTO $1`, to)
	return err
}

// readBack proves that a copy is a whole database and says where its audit log ends.
func readBack(ctx context.Context, path string) (audit.Head, error) {
	name, err := dataSource(path)
	if err != nil {
		return audit.Head{}, err
	}
	db, err := sql.Open("sqlite", name+"?mode=ro&immutable=1")
	if err != nil {
		return audit.Head{}, err
	}
	defer db.Close()
	if err := quickCheck(ctx, db); err != nil {
		return audit.Head{}, err
	}
	return (&Store{read: &pool{DB: db}}).AuditHead(ctx)
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
