package optimize

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// errNoExchange says that the file system cannot swap two folders at once.
var errNoExchange = errors.New("file system cannot exchange folders")

// errLocked says that another run has the folder.
var errLocked = errors.New("folder is in use by another run")

// asideSuffix marks an output moved aside between two renames. For that moment it is the only copy:
// nothing here removes it but the run that made it.
const asideSuffix = ".old"

// stage is the folder that becomes the output: beside it, so that a rename is enough, and never
// inside, so that a left-over is not taken for a part of the site. It is locked while in use.
type stage struct {
	path   string
	output string
	owner  owner
	lock   *os.File // nil where the file system cannot lock
	made   []string // parents of the output that were missing, outermost first
	swap   func(from, to string) error
	done   bool // the output was replaced
	over   bool // nothing of it is left
}

// stagePrefix begins the name of each staging folder of an output; the cut keeps it within what a
// file system takes.
func stagePrefix(base string) string { return "." + base[:min(len(base), 200)] + ".pageflare-" }

func newStage(workspace, output string, swap func(from, to string) error) (*stage, error) {
	o, err := heir(workspace)
	if err != nil {
		return nil, err
	}
	s := &stage{output: output, owner: o, swap: swap}
	if err := s.makeParents(filepath.Dir(output)); err != nil {
		s.removeParents()
		return nil, fmt.Errorf("make the parent of output %q: %w", output, err)
	}
	sweep(output)
	for {
		err := s.makeFolder()
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, errLocked) {
			s.removeParents()
			return nil, fmt.Errorf("make a staging folder beside output %q: %w", output, err)
		}
	}
}

// makeFolder makes and locks the folder; errLocked says that the sweep of another run came between
// the two. Where nothing can be locked nothing is swept either.
func (s *stage) makeFolder() error {
	path, err := os.MkdirTemp(filepath.Dir(s.output), stagePrefix(filepath.Base(s.output)))
	if err != nil {
		return err
	}
	lock, err := lockFolder(path)
	switch {
	case errors.Is(err, errLocked), errors.Is(err, fs.ErrNotExist):
		return errLocked
	case err == nil && !sameFolder(lock, path):
		lock.Close()
		return errLocked
	case err == nil:
		s.lock = lock
	}
	s.path = path
	return nil
}

func (s *stage) makeParents(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.makeParents(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	s.made = append(s.made, dir)
	return s.owner.take(os.Lchown, dir)
}

// owner is who gets what a run makes, and nothing else: the Action is root in its container, and
// later steps of the job run as the owner of the workspace, whoever built the source.
type owner struct {
	uid, gid int
	give     bool // we are root, and that is somebody else
}

func heir(workspace string) (owner, error) {
	info, err := os.Stat(workspace)
	if err != nil {
		return owner{}, err
	}
	uid, gid, ok := ownerOf(info)
	return owner{uid: uid, gid: gid, give: ok && os.Geteuid() == 0 && (uid != 0 || gid != 0)}, nil
}

// take gives a file to the owner. Where the kernel gives nothing away (root without CAP_CHOWN, a
// user namespace without that owner, some network file systems) it stays ours: the site is good all
// the same.
func (o owner) take(chown func(name string, uid, gid int) error, name string) error {
	if !o.give {
		return nil
	}
	err := chown(name, o.uid, o.gid)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

// GiveAway gives a file in the workspace to the owner of the workspace, as far as that can be done.
func GiveAway(workspace, path string) error {
	o, err := heir(workspace)
	if err != nil {
		return err
	}
	return o.take(os.Lchown, path)
}

func (s *stage) removeParents() {
	for i := len(s.made) - 1; i >= 0; i-- {
		_ = os.Remove(s.made[i]) // refuses when somebody else put something there
	}
}

func sameFolder(f *os.File, path string) bool {
	opened, err := f.Stat()
	named, nerr := os.Lstat(path)
	return err == nil && nerr == nil && os.SameFile(opened, named)
}

var stageName = regexp.MustCompile(`^\.(.+)\.pageflare-[0-9]+$`)

// sweep removes staging folders of this output that a killed run left behind: those with our exact
// name that nobody holds a lock on. One of a running job is locked, and one moved aside has another
// name.
func sweep(output string) {
	base := filepath.Base(output)
	siblings, _ := os.ReadDir(filepath.Dir(output))
	for _, d := range siblings {
		m := stageName.FindStringSubmatch(d.Name())
		if m == nil || m[1] != base[:min(len(base), 200)] {
			continue
		}
		path := filepath.Join(filepath.Dir(output), d.Name())
		if lock, err := lockFolder(path); err == nil {
			if sameFolder(lock, path) {
				_ = removeTree(path)
			}
			lock.Close()
		}
	}
}

// replace puts the stage where the output is. Where the file system can, this is one step; else the
// old output is aside for the moment between two renames. Afterwards s.path is the old output, if
// there was one.
func (s *stage) replace() error {
	err := s.replaceBy()
	if err == nil {
		s.done = true
	}
	return err
}

func (s *stage) replaceBy() error {
	err := s.swap(s.path, s.output)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Rename(s.path, s.output); errors.Is(err, fs.ErrExist) { // another run was quicker
			err = s.swap(s.path, s.output)
		}
	}
	if !errors.Is(err, errNoExchange) {
		return err
	}
	if _, err := os.Lstat(s.output); errors.Is(err, fs.ErrNotExist) {
		return os.Rename(s.path, s.output)
	}
	aside := s.path + asideSuffix
	if err := os.Rename(s.output, aside); err != nil {
		return err
	}
	if err := os.Rename(s.path, s.output); err != nil {
		return errors.Join(err, os.Rename(aside, s.output))
	}
	s.path = aside
	return nil
}

// discard ends the stage: it removes the old output, or without a replace all that the run made. A
// second call does nothing.
func (s *stage) discard() error {
	if s.over {
		return nil
	}
	s.over = true
	err := removeTree(s.path)
	if !s.done {
		s.removeParents()
	}
	if s.lock != nil {
		s.lock.Close()
	}
	return err
}

// removeTree also removes what holds folders without write permission. It removes nothing when
// something is mounted below.
func removeTree(path string) error { return removeTreeOn(path, mountPoints, deviceOf) }

func removeTreeOn(path string, mounts func() ([]string, error), device func(fs.FileInfo) uint64) error {
	remove := func() error {
		at, err := foreign(path, mounts, device)
		switch {
		case err != nil:
			return err
		case at != "":
			return fmt.Errorf("something is mounted at %s, which would be emptied; unmount it and remove the rest", at)
		}
		return os.RemoveAll(path)
	}
	if err := remove(); err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && err == nil {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return remove()
}
