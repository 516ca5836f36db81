package optimize

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// A folder that is replaced is emptied afterwards. What is mounted in it is somebody's data
// elsewhere: Check refuses it, and removeTree stops at it should it come later.

// parseMounts reads the mount points out of /proc/self/mountinfo, bind mounts of the same file
// system included. A line is
//
//	36 35 98:0 /dir /mount/point rw,noatime master:1 - ext4 /dev/sda rw
//
// where blanks and backslashes are written in octal: "my\040site".
func parseMounts(mountinfo string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points = append(points, unescapeMount(fields[4]))
		}
	}
	return points
}

func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountIn is the first mount point at or below the folder; empty without one.
func mountIn(dir string, points []string) string {
	for _, p := range points {
		if within(p, dir) {
			return p
		}
	}
	return ""
}

// checkMounts refuses a folder, called name by the user, that holds a mount point. input is source
// or output.
func (p *Plan) checkMounts(path, input, name string) error {
	points, err := p.mounts()
	if err != nil {
		return fmt.Errorf("%s %q: whether something is mounted there cannot be told: %w; mount /proc", input, name, err)
	}
	point := mountIn(path, points)
	switch {
	case point == "":
		return nil
	case point == path:
		return fmt.Errorf("%s %q is a mount point and cannot be replaced by rename; use a folder inside it", input, name)
	}
	rel, err := filepath.Rel(path, point)
	if err != nil {
		rel = point
	}
	return fmt.Errorf("%s %q: something is mounted at %q in it, which would be emptied when the folder is replaced; unmount it before this step, or set input output to another folder",
		input, name, rel)
}

// foreign is the first folder below root that is a mount point or on another file system.
func foreign(root string, mounts func() ([]string, error), device func(fs.FileInfo) uint64) (found string, err error) {
	if points, err := mounts(); err == nil { // without them, file systems are told apart by their numbers alone
		if found = mountIn(root, points); found != "" {
			return found, nil
		}
	}
	var home uint64
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // what cannot be looked into cannot be emptied either
		}
		info, err := d.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fs.SkipDir
		case err != nil:
			return err
		case path == root:
			home = device(info)
		case device(info) != home:
			found = path
			return fs.SkipAll
		}
		return nil
	})
	return found, err
}
