// Package atomicfile puts a file in the place of another, intact or not at all. What is written
// where is decided by its callers: action/report.go and action/command.
package atomicfile

import (
	"io/fs"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Replace puts data in the place of a file. The mode is always the one given: that of an older file
// may be too open. A link of that name is replaced, not followed.
func Replace(path string, data []byte, mode fs.FileMode) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(mode))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
