package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
