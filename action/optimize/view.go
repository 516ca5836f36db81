package optimize

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pageflare/ci/action/guard"
)

// misread says whether the CLI takes a name for another one: it turns \ into /, so that it would
// write sub\page.html over sub/page.html, and x\..\..\package.json outside of the site.
func misread(name string) bool { return strings.Contains(name, `\`) }

// view is the source as the CLI gets it: the source itself, or without the names that it misreads a
// copy of the rest. What is left out comes into the stage as other files do that the CLI drops.
//
// The copy is in dir, which is made when it is needed. Files are linked where that is possible: the
// CLI must not be able to write there. With unlinked, what link elements of pages name is hidden,
// too (apart.go).
func (p *Plan) view(site tree, dir string, unlinked bool) (string, error) {
	clean := !unlinked
	for _, n := range site.nodes {
		clean = clean && !misread(n.path)
	}
	if clean {
		return p.Source, nil
	}
	from, err := os.OpenRoot(p.Source)
	if err != nil {
		return "", err
	}
	defer from.Close()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	to, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer to.Close()
	for _, n := range site.nodes {
		if misread(n.path) {
			continue
		}
		file, isFile := site.file(n)
		if unlinked && isFile && guard.IsPage(n.path) {
			if changed, err := copyApart(from, file, to, n.path); err != nil {
				return "", err
			} else if changed {
				continue
			}
		}
		switch n.kind {
		case fs.ModeDir:
			err = to.MkdirAll(n.path, 0o700)
		case fs.ModeSymlink: // the CLI makes a file of a link to a file, and drops all others
			if isFile {
				err = copyFile(from, file, to, n.path)
			}
		default:
			if err = os.Link(filepath.Join(p.Source, n.path), filepath.Join(dir, n.path)); err != nil { // on another file system
				err = copyFile(from, n.path, to, n.path)
			}
		}
		if err != nil {
			return "", err
		}
	}
	if err := copyFile(from, configName, to, configName); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, nil
}

// copyApart writes the page with what its link elements name hidden, if there is such an element.
func copyApart(from *os.Root, name string, to *os.Root, dest string) (changed bool, err error) {
	f, info, err := openFile(from, name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info.Size() > guard.MaxFile {
		return false, nil
	}
	page, err := readAll(f, info.Size())
	if err != nil {
		return false, err
	}
	hidden := apart(page)
	if bytes.Equal(hidden, page) {
		return false, nil
	}
	return true, to.WriteFile(dest, hidden, 0o600)
}
