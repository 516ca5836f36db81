//go:build linux || darwin

package failure

import (
	"fmt"
	"os"
	"syscall"
)

// Owner is the user and the group that a file belongs to; false where nobody can tell.
func Owner(path string) (uid, gid int, known bool) {
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

// NotOurs says whose a file or folder is and what to do, when it belongs to another user than this
// one; else it is empty.
func NotOurs(path string) string {
	uid, _, known := Owner(path)
	if self := os.Geteuid(); known && uid != self {
		return fmt.Sprintf("it belongs to user %d and this is user %d: run chown %d on it", uid, self, self)
	}
	return ""
}
