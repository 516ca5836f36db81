package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckPlace makes sure that a file can be at path and others beside it: SQLite keeps its log
// there. It asks by writing, for only that is sure to know of read-only file systems and of who we
// are.
func CheckPlace(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return errors.New("is a folder: name a file in it")
	}
	dir := filepath.Dir(path)
	probe, err := os.CreateTemp(dir, ".pageflare-license-*")
	var fault *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: make it", dir)
	case errors.As(err, &fault) && errors.Is(err, fs.ErrPermission) && NotOurs(dir) != "":
		return fmt.Errorf("nothing can be written to folder %s (%w): %s", dir, fault.Err, NotOurs(dir))
	case errors.As(err, &fault):
		return fmt.Errorf("nothing can be written to folder %s (%w): give this user the right to write there", dir, fault.Err)
	case err != nil:
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
