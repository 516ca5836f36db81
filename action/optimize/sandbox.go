package optimize

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sandbox is what the CLI may reach; all else of the file system is closed to it.
type sandbox struct {
	read  []string // files and folders to read and to run programs from; missing ones do no harm
	write []string // folders to do everything in
	port  uint16   // of TCP connections; 0: none
}

// errNoLandlock says that the kernel, or the seccomp profile of the container, refuses Landlock.
var errNoLandlock = errors.New("the kernel has no Landlock, or the container forbids it")

// systemPaths are what any program needs: its libraries, the interpreters of scripts, and how many
// cores there are. What /proc tells of other processes than its own is closed by Landlock itself.
var systemPaths = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/nix/store",
	"/proc", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
}

// sandbox is what the CLI may reach in this run: it reads the system and the source, and writes
// into its home and the stage.
func (p *Plan) sandbox(home, source, staging string) *sandbox {
	b := &sandbox{
		read:  append([]string{source, p.cfg.Binary}, systemPaths...),
		write: []string{home, staging, os.DevNull},
		port:  portOf(p.cfg.APIURL),
	}
	b.read = append(b.read, programFolders(p.cfg.Binary, p.Workspace)...)
	if _, config := cutConfig(p.args); config != "" {
		b.read = append(b.read, config)
	}
	for _, pair := range p.cfg.Environ {
		for _, name := range []string{"SSL_CERT_FILE=", "SSL_CERT_DIR="} {
			if path, ok := strings.CutPrefix(pair, name); ok && path != "" {
				b.read = append(b.read, path)
			}
		}
	}
	return b
}

// programFolders are where the files of a program are: its folder, and that of the packages beside
// which npm installed it. Never the workspace as a whole.
func programFolders(binary, workspace string) (folders []string) {
	real, err := filepath.EvalSymlinks(binary)
	if err != nil {
		return nil
	}
	for dir := filepath.Dir(real); dir != filepath.Dir(dir) && !within(workspace, dir); dir = filepath.Dir(dir) {
		if len(folders) == 0 || filepath.Base(dir) == "node_modules" {
			folders = append(folders, dir)
		}
	}
	return folders
}

// portOf is the port of the License API, which another optimizer than the bundled one may ask.
func portOf(address string) uint16 {
	u, err := url.Parse(address)
	if err != nil {
		return 0
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	return map[string]uint16{"https": 443, "http": 80}[u.Scheme]
}

// trace is what lies in the workspace, for where nothing confines the CLI: by path, how large a
// file is and when it was changed.
type trace map[string]traced

type traced struct {
	mode fs.FileMode
	size int64
	mod  time.Time
}

// maxTraced bounds the files that are looked at.
const maxTraced = 500_000

// traceOf looks at everything in the workspace but the folders that are left out.
func traceOf(workspace string, without ...string) trace {
	t := trace{}
	_ = filepath.WalkDir(workspace, func(path string, d fs.DirEntry, err error) error {
		switch {
		case len(t) >= maxTraced:
			return fs.SkipAll
		case err != nil:
			return nil
		}
		if slices.Contains(without, path) || d.IsDir() && stageName.MatchString(d.Name()) { // of another run
			return fs.SkipDir
		}
		if info, err := d.Info(); err == nil {
			m := traced{mode: info.Mode(), size: info.Size(), mod: info.ModTime()}
			if d.IsDir() { // changes with what lies in it, also with the stage
				m.size, m.mod = 0, time.Time{}
			}
			t[path] = m
		}
		return nil
	})
	return t
}

// changed is a file that differs between two traces; empty without one.
func (t trace) changed(later trace) string {
	for path, m := range later {
		if was, ok := t[path]; !ok || was.mode != m.mode || was.size != m.size || !was.mod.Equal(m.mod) {
			return path
		}
	}
	for path := range t {
		if _, ok := later[path]; !ok {
			return path
		}
	}
	return ""
}

// escaped is the error for a file outside of the stage that changed while the CLI ran unconfined.
func escaped(workspace, path string) error {
	rel, err := filepath.Rel(workspace, path)
	if err != nil {
		rel = path
	}
	return fmt.Errorf("%q in the workspace was changed while the optimizer ran, which may write into its own folders alone; "+
		"this kernel or container has no Landlock to keep it from that: check the file, and run the optimizer when nothing else writes to the workspace", rel)
}
