package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

// Restored is a backup that was put in the place of a database.
type Restored struct {
	Audit    audit.Head // where its audit log ends
	Before   audit.Head // where that of the database ended that was there; zero when that could not be read
	Replaced string     // where that one is now; empty when there was none
}

// Restore puts a backup, read from copy, in the place of the database that url names, whose owner
// it gets. No process may work on the database. What was there is kept beside it, with .replaced
// added. The backup was checked before anything is changed, and appears whole or not at all.
func Restore(ctx context.Context, copy io.Reader, url string) (done Restored, err error) {
	to, err := sqlitePath(url)
	if err != nil {
		return Restored{}, err
	}
	temp, err := os.CreateTemp(filepath.Dir(to), ".pageflare-license-*.restore") // mode 0600
	if err != nil {
		return Restored{}, err
	}
	defer func() {
		if fault := os.Remove(temp.Name()); !errors.Is(fault, fs.ErrNotExist) {
			err = errors.Join(err, fault)
		}
	}()
	_, err = io.Copy(temp, copy)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return Restored{}, fmt.Errorf("read the backup: %w", err)
	}
	if info, err := os.Stat(temp.Name()); err == nil && info.Size() == 0 {
		return Restored{}, errors.New("the backup is empty")
	}
	if err := checkOurs(ctx, temp.Name()); err != nil {
		return Restored{}, fmt.Errorf("the backup: %w", err)
	}
	if done.Audit, err = readBack(ctx, temp.Name()); err != nil {
		return Restored{}, fmt.Errorf("the backup: %w", damaged(err))
	}
	like := filepath.Dir(to)
	if _, err := os.Stat(to); err == nil {
		like, done.Replaced = to, to+".replaced"
		if head, err := endOf(ctx, to); err == nil {
			done.Before = head
		}
	}
	if err := giveTo(temp.Name(), like); err != nil {
		return Restored{}, err
	}
	for _, part := range []string{"", "-wal", "-shm"} { // the log of the old database must not be taken for one of the new
		if err := os.Rename(to+part, to+".replaced"+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Restored{}, err
		}
	}
	return done, errors.Join(os.Rename(temp.Name(), to), syncFolder(filepath.Dir(to)))
}

// endOf says where the audit log of a database ends, its newest changes included.
func endOf(ctx context.Context, path string) (audit.Head, error) {
	db, err := openToLook(path)
	if err != nil {
		return audit.Head{}, err
	}
	defer db.Close()
	return (&Store{read: &pool{DB: db}}).AuditHead(ctx)
}

// giveTo lets a file belong to the user that another file belongs to, which only root can.
func giveTo(path, like string) error {
	uid, gid, known := failure.Owner(like)
	if !known || os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, uid, gid)
}
