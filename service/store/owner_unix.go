//go:build linux || darwin

package store

import (
	"fmt"
	"os"
	"syscall"
)

// owner is the user and the group that a file belongs to; false where nobody can tell.
func owner(path string) (uid, gid int, known bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(s.Uid), int(s.Gid), true
}

// NotOurs says whose a file or folder is and what to do, when it belongs to another user than this one; else it is empty.
func NotOurs(path string) string {
	uid, _, known := owner(path)
	if self := os.Geteuid(); known && uid != self {
		return fmt.Sprintf("it belongs to user %d and this is user %d: run chown %d on it", uid, self, self)
	}
	return ""
}

// giveTo lets a file belong to the user that another file belongs to, which only root can.
func giveTo(path, like string) error {
	uid, gid, known := owner(like)
	if !known || os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, uid, gid)
}
