package optimize

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Plan is a run that Check has found safe. Its paths are absolute and free of symlinks.
type Plan struct {
	Workspace string
	Source    string
	Output    string
	InPlace   bool // Output is Source

	cfg          Config
	args         []string
	failOnBroken bool // the user's --fail-on-broken-refs, which the CLI does not get: its list names files that are there
	temp         string
	log          *lines

	// what tests put in the place of the system
	swap   func(from, to string) error
	mounts func() ([]string, error)

	maxStdout  int  // bytes that the CLI may print
	noLandlock bool // as on a kernel without it
	unconfined bool // nothing keeps the CLI in its folders, and nobody looks
}

// Check refuses everything that would go wrong or do harm, all faults joined, and touches nothing.
//
// Folders are compared by their real paths: an output that is a symlink is replaced at its target,
// and a symlink to the source is "in place". The site is walked once, without following links.
func Check(cfg Config) (*Plan, error) {
	p := &Plan{cfg: cfg, log: &lines{w: cfg.Log}, swap: exchange, mounts: mountPoints, maxStdout: maxStdout}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Plan) check() error {
	var argErr error
	p.args, argErr = splitArgs(p.cfg.Args, p.cfg.Workspace)
	p.failOnBroken = slices.Contains(p.args, failOnBroken)
	p.args = slices.DeleteFunc(p.args, func(word string) bool { return word == failOnBroken })
	return errors.Join(checkBinary(p.cfg.Binary), argErr, p.checkFolders())
}

func checkBinary(path string) error {
	info, err := os.Stat(path)
	switch {
	case !filepath.IsAbs(path):
		return fmt.Errorf("optimizer %q: not an absolute path; name the pageflare binary from the root", path)
	case err != nil:
		return fmt.Errorf("optimizer %q: %w; install the pageflare CLI or set input optimizer-path", path, reason(err))
	case !info.Mode().IsRegular():
		return fmt.Errorf("optimizer %q: not a file; set input optimizer-path to the pageflare binary", path)
	case !canRun(path):
		return fmt.Errorf("optimizer %q: not executable; chmod +x it, or set input optimizer-path", path)
	}
	return nil
}

func (p *Plan) checkFolders() error {
	workspace, err := filepath.EvalSymlinks(p.cfg.Workspace)
	if err != nil || !filepath.IsAbs(workspace) {
		return fmt.Errorf("workspace %q: not an existing absolute folder; run after actions/checkout", p.cfg.Workspace)
	}
	p.Workspace = workspace
	tempErr := p.checkTemp(workspace)
	var srcErr, outErr error
	p.Source, srcErr = findSource(p.cfg.Source, workspace)
	if srcErr != nil {
		return errors.Join(tempErr, srcErr)
	}
	p.Output, outErr = findOutput(p.cfg.Output, workspace, p.Source)
	p.InPlace = p.Output == p.Source
	if outErr == nil {
		outErr = p.checkReplaced()
	}
	_, siteErr := scanSite(p.Source, p.cfg.Source, p.InPlace)
	return errors.Join(tempErr, outErr, siteErr)
}

// checkTemp keeps the private HOME out of the workspace, where a later step could publish it.
func (p *Plan) checkTemp(workspace string) error {
	p.temp = p.cfg.TempDir
	if p.temp == "" {
		p.temp = os.TempDir()
	}
	real, err := filepath.EvalSymlinks(p.temp)
	if err != nil {
		return fmt.Errorf("temporary folder %q: %w; set TMPDIR to an existing folder", p.temp, reason(err))
	}
	if within(real, workspace) {
		return fmt.Errorf("temporary folder %q lies inside the workspace; set TMPDIR to a folder outside", p.temp)
	}
	p.temp = real
	return nil
}

func findSource(name, workspace string) (string, error) {
	path := absolute(name, workspace)
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("source %q: %w; %s", name, reason(err), remedyForMissing(path))
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return "", fmt.Errorf("source %q: %w", name, reason(err))
	case name == "":
		return "", errors.New("source is not set; set input source to the folder of the built site")
	case inGit(real, workspace):
		return "", fmt.Errorf("source %q lies in a .git folder; set input source to the folder of the built site", name)
	case real == workspace:
		return "", fmt.Errorf("source %q is the workspace itself; build the site into a folder of its own and set input source to it", name)
	case !within(real, workspace):
		return "", fmt.Errorf("source %q lies outside the workspace (%s); build the site inside it", name, real)
	case !info.IsDir():
		return "", fmt.Errorf("source %q is not a folder; set input source to the folder of the built site", name)
	}
	return real, nil
}

// remedyForMissing knows the one way in which this package can leave a folder away: killed between
// the two renames of a file system that cannot exchange.
func remedyForMissing(path string) string {
	siblings, _ := os.ReadDir(filepath.Dir(path))
	for _, s := range siblings {
		if strings.HasPrefix(s.Name(), stagePrefix(filepath.Base(path))) && strings.HasSuffix(s.Name(), asideSuffix) {
			return fmt.Sprintf("an interrupted run left it as %q: rename that back", s.Name())
		}
	}
	return "build the site first or set input source"
}

func findOutput(name, workspace, source string) (string, error) {
	if name == "" {
		return source, nil
	}
	real, err := resolve(absolute(name, workspace))
	if err != nil {
		return "", fmt.Errorf("output %q: %w", name, err)
	}
	switch {
	case real == source:
		return source, nil
	case real == workspace:
		return "", fmt.Errorf("output %q is the workspace itself; set input output to a folder of its own", name)
	case !within(real, workspace):
		return "", fmt.Errorf("output %q lies outside the workspace (%s); set input output to a folder inside it", name, real)
	case inGit(real, workspace):
		return "", fmt.Errorf("output %q lies in a .git folder, which it would destroy; set input output to a folder of its own", name)
	case within(real, filepath.Join(workspace, ".github")):
		return "", fmt.Errorf("output %q lies in .github, where the workflows are; set input output to a folder of its own", name)
	case within(real, source):
		return "", fmt.Errorf("output %q lies inside the source, so the next run would optimize its own output; put it beside the source", name)
	case within(source, real):
		return "", fmt.Errorf("output %q holds the source, which it would replace; put it beside the source", name)
	}
	if info, err := os.Stat(real); err == nil && !info.IsDir() {
		return "", fmt.Errorf("output %q is a file; remove it or set input output to a folder", name)
	}
	if git := findGit(real); git != "" {
		return "", fmt.Errorf("output %q holds the checkout %q, which replacing it would lose; set input output to a folder inside it or another one", name, git)
	}
	return real, checkOurs(real, name)
}

// inGit says whether the path leads through a .git within the workspace.
func inGit(path, workspace string) bool {
	rel, err := filepath.Rel(workspace, path)
	return err == nil && slices.Contains(strings.Split(rel, string(filepath.Separator)), ".git")
}

// findGit returns a .git in the folder or below it, relative to it; empty without one.
func findGit(dir string) (found string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" {
			found, _ = filepath.Rel(dir, path)
			return fs.SkipAll
		}
		return nil // what cannot be read is found out when the folder is replaced
	})
	return found
}

// checkReplaced makes sure that the output can be replaced by rename, and that nothing else is lost
// with it.
func (p *Plan) checkReplaced() error {
	input, name := "output", p.cfg.Output
	if p.InPlace {
		input, name = "source", p.cfg.Source
	}
	if err := p.checkMounts(p.Output, input, name); err != nil {
		return err
	}
	parent := filepath.Dir(p.Output)
	for {
		if _, err := os.Stat(parent); err == nil {
			break
		}
		parent = filepath.Dir(parent)
	}
	if !canWrite(parent) {
		return fmt.Errorf("%s %q: its parent folder is not writable; the result is made beside it and swapped in", input, name)
	}
	return nil
}

// resolve is EvalSymlinks for a path whose end may not exist yet.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, nil
	}
	if info, lerr := os.Lstat(path); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", errors.New("is a symlink to nothing; remove it or make its target")
	}
	if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
		return "", fmt.Errorf("%w; set input output to a folder", reason(err))
	}
	parent, err := resolve(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}

// within says whether path is dir or lies below it; both are clean and absolute.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// reason is the cause of a file error without operation and path, which the caller names in the
// user's words.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("no such file or folder")
	}
	return err
}
