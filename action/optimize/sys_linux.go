package optimize

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr puts the CLI into a process group of its own, so that a signal reaches what it started,
// and has the kernel kill it when the thread that started it dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kept are the rights of root that the CLI may need: those over files.
var kept = map[uintptr]bool{unix.CAP_CHOWN: true, unix.CAP_DAC_OVERRIDE: true, unix.CAP_FOWNER: true, unix.CAP_FSETID: true}

// confine keeps the CLI, which is the same user, from reading environment and memory of this
// process, where the secrets of the job are. The process becomes one that cannot be traced, which
// is enough in a container with its default rights. Root with CAP_SYS_PTRACE, CAP_PERFMON or
// CAP_SYS_ADMIN could read them all the same: what this thread starts has no such right, neither by
// what it inherits nor by setuid programs.
func confine() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := inheritNothing(); err != nil {
		return err
	}
	for right := uintptr(0); right <= unix.CAP_LAST_CAP; right++ {
		if kept[right] {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, right, 0, 0, 0)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) { // we are not root, or the kernel has no more of them
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inheritNothing empties the inheritable set of this thread, and by that the ambient one. It needs
// no right.
func inheritNothing() error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&h, &sets[0]); err != nil {
		return err
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	return unix.Capset(&h, &sets[0])
}

func signalGroup(leader int, sig syscall.Signal) error {
	if err := syscall.Kill(-leader, sig); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return os.ErrProcessDone
}

// exchange swaps two folders at once, where the file system can; errNoExchange says that it cannot.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return errNoExchange
	}
	return err
}

// lockFolder takes the folder for this process, without waiting; errLocked says that another one
// has it. The kernel gives it up when the process ends.
func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errLocked
		}
		return nil, err
	}
	return f, nil
}

func canRead(path string) bool  { return can(path, unix.R_OK) }
func canRun(path string) bool   { return can(path, unix.X_OK) }
func canWrite(path string) bool { return can(path, unix.W_OK|unix.X_OK) }

func can(path string, mode uint32) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS) == nil
}

// mountPoints lists what is mounted where, as this process sees it.
func mountPoints() ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(b)), nil
}

// deviceOf tells file systems apart.
func deviceOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Dev
	}
	return 0
}

func ownerOf(info fs.FileInfo) (uid, gid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// markAttr is the extended attribute of an output.
const markAttr = "user.pageflare.output"

func setMark(dir string) error { return unix.Setxattr(dir, markAttr, []byte("1"), 0) }

func isMarked(dir string) bool {
	_, err := unix.Getxattr(dir, markAttr, make([]byte, 8))
	return err == nil
}

// isAlone says whether no other name leads to the file.
func isAlone(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 1
}
