//go:build e2e

package container_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// hostedUser owns the workspace on a hosted runner.
const hostedUser = 1001

// newWorkspace makes a workspace with the built demo site in dist. It belongs to the user of a
// hosted runner, or to us where we may not give it away.
func newWorkspace(t *testing.T) string {
	t.Helper()
	ws := filepath.Join(t.TempDir(), "site")
	must(t, os.CopyFS(filepath.Join(ws, "dist"), os.DirFS(filepath.Join(repositoryRoot(t), "e2e", "site"))))
	giveAway(t, ws)
	return ws
}

func giveAway(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	for _, p := range walk(t, dir) {
		must(t, os.Lchown(p, hostedUser, hostedUser))
	}
}

// walk lists a folder and all that is below it.
func walk(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		paths = append(paths, p)
		return err
	}))
	return paths
}

// tree gives a line for every file and folder: name, mode, and hash of the content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var lines strings.Builder
	for _, p := range walk(t, dir) {
		info, err := os.Lstat(p)
		must(t, err)
		rel, err := filepath.Rel(dir, p)
		must(t, err)
		fmt.Fprintf(&lines, "%s %s", rel, info.Mode())
		if info.Mode().IsRegular() {
			fmt.Fprintf(&lines, " %x", sha256.Sum256([]byte(read(t, p))))
		}
		lines.WriteString("\n")
	}
	return lines.String()
}

// size gives the number and the bytes of the files in a folder.
func size(t *testing.T, dir string) (files int, bytes int64) {
	t.Helper()
	for _, p := range walk(t, dir) {
		if info, err := os.Lstat(p); err == nil && info.Mode().IsRegular() {
			files, bytes = files+1, bytes+info.Size()
		}
	}
	return files, bytes
}

// strangers lists what does not belong to the owner of the folder: later steps of a job could not
// remove it.
func strangers(t *testing.T, dir string) []string {
	t.Helper()
	owner := ownerOf(t, dir)
	var found []string
	for _, p := range walk(t, dir) {
		if got := ownerOf(t, p); got != owner {
			found = append(found, fmt.Sprintf("%s belongs to %s, not to %s", p, got, owner))
		}
	}
	return found
}

func ownerOf(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	s := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", s.Uid, s.Gid)
}
