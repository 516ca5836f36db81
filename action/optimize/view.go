package optimize

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// misread says whether the CLI takes a name for another one: it turns \ into /, so that it would write
// sub\page.html over sub/page.html, and x\..\..\package.json outside of the site.
func misread(name string) bool { return strings.Contains(name, `\`) }

// view is the source as the CLI gets it: the source itself, or without the names that it misreads a
// copy of the rest. What is left out comes into the stage as other files do that the CLI drops.
//
// The copy is in dir, which is made when it is needed. Files are linked where that is possible: the CLI must not be able to write there.
func (p *Plan) view(site tree, dir string) (string, error) {
	clean := true
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
		switch n.kind {
		case fs.ModeDir:
			err = to.MkdirAll(n.path, 0o700)
		case fs.ModeSymlink: // the CLI makes a file of a link to a file, and drops all others
			if file, ok := site.file(n); ok {
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
