package optimize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// carrier brings over from the source what the CLI leaves out. It never replaces what the CLI
// wrote. What it decides:
//
//   - names with a leading dot, at any depth, empty folders and links come as they are, unmentioned;
//   - files that the CLI drops by their type (archives, feeds, search indexes, …) or folder (node_modules) come too, since
//     pages link to them, and are listed as restored;
//   - without the guard, where wp_hide was at work (it is by default, once there is a wp-content), wp-content/ and wp-includes/ at the top of the
//     site have lost their "wp-", in links and on disk: what the CLI dropped there follows to the new name. What it left out of
//     wp-admin/ stays out and is listed as omitted;
//   - modes are the source's.
type carrier struct {
	from, to *os.Root
	guarded  bool                   // every file of the source keeps its name
	hides    bool                   // wp_hide was at work, and nothing undoes it
	hidden   bool                   // wp_hide was at work
	source   map[string]bool        // paths of the source
	written  map[string]bool        // paths of the stage
	perm     map[string]fs.FileMode // wanted, by path of the stage
	report   *Report
}

// carrierFor opens source and stage. close it.
func (s *stage) carrierFor(source tree, report *Report, guarded bool) (*carrier, error) {
	from, err := os.OpenRoot(source.root)
	if err != nil {
		return nil, err
	}
	to, err := os.OpenRoot(s.path)
	if err != nil {
		from.Close()
		return nil, err
	}
	return &carrier{from: from, to: to, report: report, guarded: guarded}, nil
}

func (c *carrier) close() {
	c.from.Close()
	c.to.Close()
}

// complete fills the stage with what the source has and the CLI did not bring.
func (c *carrier) complete(ctx context.Context, source tree, s *stage) error {
	if err := c.to.Remove(cliManifest); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.carryAll(ctx, source, s.path)
}

func (c *carrier) carryAll(ctx context.Context, source tree, staged string) error {
	written, err := list(staged)
	if err != nil {
		return err
	}
	c.written = make(map[string]bool, len(written.nodes))
	for _, n := range written.nodes {
		c.written[n.path] = true
	}
	c.source = make(map[string]bool, len(source.nodes))
	for _, n := range source.nodes {
		c.source[n.path] = true
	}
	c.hidden = c.seesWordPressHidden(source)
	c.hides = c.hidden && !c.guarded
	c.perm = make(map[string]fs.FileMode, len(source.nodes))
	for _, n := range source.nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.carry(n); err != nil {
			return fmt.Errorf("bring over %q: %w", n.path, err)
		}
	}
	return nil
}

// finish gives the stage the source's modes and the workspace's owner, children first, since a
// folder may lose its write permission. It answers with what lies there then.
func (c *carrier) finish(source tree, s *stage) (tree, error) {
	t, err := list(s.path)
	if err != nil {
		return tree{}, err
	}
	t.nodes = append([]node{{path: ".", kind: fs.ModeDir, perm: t.perm}}, t.nodes...)
	c.perm["."] = source.perm
	for i := len(t.nodes) - 1; i >= 0; i-- {
		n := &t.nodes[i]
		err := s.owner.take(c.to.Lchown, n.path)
		if perm, ok := c.perm[n.path]; ok && perm != n.perm && n.kind != fs.ModeSymlink {
			n.perm = perm
			err = errors.Join(err, c.to.Chmod(n.path, perm))
		}
		if err != nil {
			return tree{}, fmt.Errorf("set owner and mode of %q: %w", n.path, err)
		}
	}
	t.nodes = t.nodes[1:]
	return t, nil
}

func (c *carrier) carry(n node) error {
	dest := c.destination(n)
	c.perm[dest] = n.perm
	if c.written[dest] {
		return nil
	}
	if c.hides && strings.HasPrefix(n.path+"/", "wp-admin/") {
		if n.kind != fs.ModeDir {
			c.report.Omitted = append(c.report.Omitted, n.path)
		}
		return nil
	}
	if err := c.makeFolder(path.Dir(dest)); err != nil {
		return err
	}
	switch n.kind {
	case fs.ModeDir:
		return c.makeFolder(dest)
	case fs.ModeSymlink:
		c.written[dest] = true
		return c.to.Symlink(n.link, dest)
	}
	c.written[dest] = true
	if !hasDot(n.path) {
		c.report.Restored = append(c.report.Restored, dest)
	}
	return copyFile(c.from, n.path, c.to, dest)
}

// destination is where the CLI puts a path of the source. Two paths can fall together there; a file
// that the source has under the new name already keeps its place, and the other one stays under its
// old name.
func (c *carrier) destination(n node) string {
	if !c.hides {
		return n.path
	}
	to := unhide(n.path)
	if n.kind != fs.ModeDir && c.source[to] {
		return n.path
	}
	return to
}

// unhide is the name that wp_hide gives to a path.
func unhide(name string) string {
	if strings.HasPrefix(name+"/", "wp-content/") || strings.HasPrefix(name+"/", "wp-includes/") {
		return strings.TrimPrefix(name, "wp-")
	}
	return name
}

// seesWordPressHidden goes by what the CLI did, since the manifest calls wp_hide active for every
// site.
func (c *carrier) seesWordPressHidden(source tree) bool {
	for _, n := range source.nodes {
		if n.kind == 0 && unhide(n.path) != n.path && !c.written[n.path] && c.written[unhide(n.path)] {
			return true
		}
	}
	return false
}

func hasDot(name string) bool {
	return strings.HasPrefix(name, ".") || strings.Contains(name, "/.")
}

func (c *carrier) makeFolder(name string) error {
	if c.written[name] || name == "." {
		return nil
	}
	c.written[name] = true
	return c.to.MkdirAll(name, 0o755)
}

// copyFile copies a file that is not there yet.
func copyFile(from *os.Root, name string, to *os.Root, dest string) error {
	in, _, err := openFile(from, name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := to.OpenFile(dest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
