package optimize_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pageflare/ci/action/optimize"
)

// What root starts gets what its bounding set and its inheritable set allow: some container engines
// fill the latter.
func TestNothingIsInheritedThatReadsOurMemory(t *testing.T) {
	t.Parallel()
	type end struct {
		inherited uint32
		bound     int
		err       error
	}
	ended := make(chan end)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is not fit for anybody else afterwards
		ended <- func() (e end) {
			h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var sets [2]unix.CapUserData
			if e.err = unix.Capget(&h, &sets[0]); e.err != nil {
				return e
			}
			sets[0].Inheritable = sets[0].Permitted // nothing, unless we are root
			if e.err = unix.Capset(&h, &sets[0]); e.err != nil {
				return e
			}
			if e.err = optimize.Confine(); e.err != nil {
				return e
			}
			if e.err = unix.Capget(&h, &sets[0]); e.err != nil {
				return e
			}
			e.inherited = sets[0].Inheritable
			e.bound, e.err = unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_PTRACE, 0, 0, 0)
			return e
		}()
	}()
	got := <-ended
	if got.err != nil || got.inherited != 0 || got.bound != 0 && os.Geteuid() == 0 {
		t.Errorf("after confine %v, inheritable rights %#x and CAP_SYS_PTRACE in the bounding set %d, want none", got.err, got.inherited, got.bound)
	}
}

// Root that may give nothing away, as in a pod without CAP_CHOWN: the files stay root's, and that
// is no reason to fail.
func TestWhatCannotBeGivenAwayIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "index.html")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // another user has nothing to give
		if err := os.Chown(dir, 1001, 1001); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		err := unix.Capget(&h, &sets[0])
		sets[0].Effective &^= 1 << unix.CAP_CHOWN
		ended <- errors.Join(err, unix.Capset(&h, &sets[0]), optimize.GiveAway(dir, file))
	}()
	if err := <-ended; err != nil {
		t.Errorf("GiveAway without the right = %v, want nil", err)
	}
}
