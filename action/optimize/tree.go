package optimize

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// cliManifest is a list of outputs that the CLI leaves in the site. It is never published, neither
// fresh nor stale.
const cliManifest = ".pageflare-output-manifest.json"

// maxFaults bounds what one walk reports, so that a hostile site cannot flood the log.
const maxFaults = 20

// tree is what lies below a folder, parents before children, without the folder itself.
type tree struct {
	root  string
	perm  fs.FileMode // of the root
	nodes []node
}

type node struct {
	path string      // relative to the root, with slashes
	kind fs.FileMode // type bits: 0, ModeDir or ModeSymlink
	perm fs.FileMode // of a link to a file: its target's, since the CLI makes it a file
	size int64       // of a regular file, else 0
	mod  time.Time   // of a regular file: when it was written last
	link string      // of a symlink: the text that means the same in any copy of the tree
}

// scanSite walks the source and refuses what cannot be published safely. name is the source as the
// user wrote it.
func scanSite(root, name string, inPlace bool) (tree, error) {
	var faults []error
	t, err := walk(root, func(n *node, abs string, err error) error {
		if err == nil {
			err = checkNode(n, abs, root, inPlace)
		}
		if err == nil || err == fs.SkipDir {
			return err
		}
		faults = append(faults, fmt.Errorf("source %q: %q %w", name, n.path, err))
		if len(faults) == maxFaults {
			faults = append(faults, fmt.Errorf("source %q: only the first %d faults are shown", name, maxFaults))
			return fs.SkipAll
		}
		return fs.SkipDir
	})
	switch {
	case err != nil:
		return tree{}, fmt.Errorf("source %q: %w", name, err)
	case len(faults) > 0:
		return tree{}, errors.Join(faults...)
	case len(t.nodes) == 0:
		return tree{}, fmt.Errorf("source %q is empty; build the site first or set input source", name)
	}
	return t, nil
}

// checkNode fills in what a link means. It answers SkipDir for what does not belong to the site.
func checkNode(n *node, abs, root string, inPlace bool) error {
	if path.Base(n.path) == ".git" {
		if inPlace {
			return errors.New("is a Git checkout, which replacing the folder would disturb; set input output to another folder")
		}
		return fs.SkipDir
	}
	if leftOut(n.path, inPlace) {
		return fs.SkipDir
	}
	if n.kind != fs.ModeDir && !utf8.ValidString(n.path) && cliTakes(n.path) {
		return errors.New("has a name that is not UTF-8, which the optimizer would publish under another name; rename it")
	}
	switch n.kind {
	case fs.ModeSymlink:
		return checkLink(n, abs, root, inPlace)
	case fs.ModeDir:
		return nil
	case 0:
		if !canRead(abs) {
			return errors.New("cannot be read; give the build's files read permission")
		}
		return nil
	}
	return errors.New("is no file, folder or link (a FIFO, socket or device); remove it from the site")
}

// leftOut says whether a path of the source, or a folder above it, stays out of the result: nothing
// may bring it in by another name.
func leftOut(name string, inPlace bool) bool {
	first, _, _ := strings.Cut(name, "/")
	if !inPlace && toolsOwn(first) {
		return true
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".git" || part == cliManifest {
			return true
		}
	}
	return false
}

// toolsOwn are the CLI's settings and work folder: of use in the source, out of place in an output
// of its own.
func toolsOwn(path string) bool { return path == "pageflare.jsonc" || path == ".appz" }

// taken are the types of files that the CLI reads and writes anew; all others it drops. Found out
// by trying 2,700 extensions.
var taken = map[string]bool{
	"": true, ".avif": true, ".bmp": true, ".cjs": true, ".css": true, ".csv": true, ".eot": true, ".flac": true, ".gif": true, ".htm": true, ".html": true,
	".ico": true, ".jpeg": true, ".jpg": true, ".js": true, ".json": true, ".map": true, ".mjs": true, ".mp3": true, ".mp4": true, ".ogg": true,
	".otf": true, ".pdf": true, ".png": true, ".svg": true, ".tiff": true, ".ttf": true, ".txt": true, ".wasm": true, ".wav": true, ".webm": true,
	".webmanifest": true, ".webp": true, ".woff": true, ".woff2": true, ".xhtml": true, ".xml": true,
}

// cliTakes says whether the CLI writes a file itself.
func cliTakes(name string) bool { return taken[strings.ToLower(path.Ext(name))] && !hasDot(name) }

// checkLink refuses a link whose target lies outside of the site, or is a part of it that is left
// out, such as the credentials that actions/checkout keeps in .git/config: the CLI would publish
// the target's content under the link's name.
func checkLink(n *node, abs, root string, inPlace bool) error {
	text, err := os.Readlink(abs)
	if err != nil {
		return fmt.Errorf("is an unreadable link: %w", reason(err))
	}
	dir := filepath.Dir(abs)
	target, err := filepath.EvalSymlinks(abs)
	if err != nil { // a broken link or a loop: harmless as long as its text stays inside
		target = absolute(text, dir)
	}
	if target = filepath.Clean(target); !within(target, root) {
		return fmt.Errorf("is a link to %q outside of the source, whose content would be published; replace it by a copy", text)
	}
	if rel, err := filepath.Rel(root, target); err != nil || leftOut(rel, inPlace) {
		return fmt.Errorf("is a link to %q, which is kept out of the published site; remove the link", text)
	}
	if info, err := os.Stat(abs); err == nil && info.Mode().IsRegular() {
		if !canRead(abs) {
			return fmt.Errorf("is a link to %q, which cannot be read; give the build's files read permission", text)
		}
		n.perm = modeOf(info)
	}
	n.link = text
	if filepath.IsAbs(text) || !filepath.IsLocal(path.Join(path.Dir(n.path), text)) {
		n.link, err = filepath.Rel(dir, target)
		return err
	}
	return nil
}

// walk lists a tree without following links. visit sees each node, or the error that hid it, and
// answers nil to list it, SkipDir to leave it out with all below, SkipAll to end.
func walk(root string, visit func(n *node, abs string, err error) error) (tree, error) {
	t := tree{root: root}
	err := filepath.WalkDir(root, func(abs string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		if abs == root {
			if err == nil {
				t.perm = modeOf(info)
			}
			return err
		}
		n := node{path: strings.TrimPrefix(abs[len(root):], "/")}
		if err != nil {
			return leave(visit(&n, abs, fmt.Errorf("cannot be read: %w", reason(err))), d)
		}
		n.kind, n.perm = info.Mode().Type(), modeOf(info)
		if n.kind == 0 {
			n.size, n.mod = info.Size(), info.ModTime()
		}
		if err := visit(&n, abs, nil); err != nil {
			return leave(err, d)
		}
		t.nodes = append(t.nodes, n)
		return nil
	})
	return t, err
}

// list is walk without exceptions.
func list(root string) (tree, error) {
	return walk(root, func(_ *node, _ string, err error) error { return err })
}

// unchanged refuses a source that was written to since it was scanned: what is new there would be
// lost when the source itself is replaced.
func unchanged(site tree) error {
	was := make(map[string]node, len(site.nodes))
	for _, n := range site.nodes {
		was[n.path] = n
	}
	_, err := walk(site.root, func(n *node, _ string, err error) error {
		before, ok := was[n.path]
		switch {
		case err != nil:
			return err
		case !ok && (path.Base(n.path) == cliManifest || toolsOwn(n.path)):
			return fs.SkipDir
		case !ok:
			return fmt.Errorf("%q is new", n.path)
		case n.kind != before.kind || n.size != before.size || !n.mod.Equal(before.mod):
			return fmt.Errorf("%q was changed", n.path)
		}
		delete(was, n.path)
		return nil
	})
	for _, n := range site.nodes {
		if _, gone := was[n.path]; gone && err == nil {
			err = fmt.Errorf("%q is gone", n.path)
		}
	}
	if err != nil {
		return fmt.Errorf("the source was written to while it was optimized: %w; run it when nothing else writes there, or set input output to another folder", err)
	}
	return nil
}

// leave keeps SkipDir to the node itself: for a file, WalkDir would skip the rest of its folder.
func leave(err error, d fs.DirEntry) error {
	if err == fs.SkipDir && !d.IsDir() {
		return nil
	}
	return err
}

// modeOf are the bits of a mode that a copy keeps: not setuid, which means nothing for a site.
func modeOf(info fs.FileInfo) fs.FileMode {
	return info.Mode() & (fs.ModePerm | fs.ModeSetgid | fs.ModeSticky)
}
