package optimize_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/optimize"
)

// mounted is what the kernel says about mounts at the paths, with the workspace itself as a mount,
// as a runner gives it.
func mounted(ws string, paths ...string) string {
	var b strings.Builder
	for i, path := range append([]string{"/", "/proc", ws}, paths...) {
		fmt.Fprintf(&b, "%d 27 253:1 /data %s rw,relatime shared:1 - ext4 /dev/vda1 rw\n", 30+i, strings.ReplaceAll(path, " ", `\040`))
	}
	return b.String()
}

func TestCheckRefusesToReplaceWhatIsMounted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, source, output string
		mounts               []string
		want                 string
	}{
		{"only the workspace", "dist", "", nil, ""},
		{"beside the source", "dist", "", []string{"/dist2", "/other"}, ""},
		{"in the source, which stays", "dist", "out", []string{"/dist/media"}, ""},
		{"the source, which stays", "dist", "out", []string{"/dist"}, ""},
		{"above the source", "sub/dist", "", []string{"/sub"}, ""},
		{"in the source in place", "dist", "", []string{"/dist/media"}, `source "dist": something is mounted at "media" in it`},
		{"deep in the source in place", "./dist/", "dist", []string{"/dist/a b/c"}, `source "./dist/": something is mounted at "a b/c" in it`},
		{"the source in place", "dist", "", []string{"/dist"}, `source "dist" is a mount point`},
		{"in the output", "dist", "link", []string{"/real/media"}, `output "link": something is mounted at "media" in it`},
		{"the output", "dist", "real", []string{"/real"}, `output "real" is a mount point`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page, "sub/dist/index.html": page, "real/": "", "link": "-> real"})
			cfg := faked(t, ws, "")
			cfg.Source, cfg.Output = tt.source, tt.output
			points := []string{}
			for _, m := range tt.mounts {
				points = append(points, ws+m)
			}
			err := optimize.CheckMounted(cfg, mounted(ws, points...))
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Check = %v, want a plan", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "; ")):
				t.Errorf("Check = %v, want %q and a remedy", err, tt.want)
			}
		})
	}
}

// What is mounted after the check is not emptied either: neither a bind mount, which has the number
// of its file system, nor another one that the list of mounts does not know.
func TestRemovalStopsAtWhatIsMounted(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]bool{"by the list of mounts": false, "by the number of the file system": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"old/index.html": page, "old/media/film.mp4": "film", "free/a/b/c": "x"})
			media, before := filepath.Join(ws, "old/media"), snapshot(t, ws)
			mountinfo, device := mounted(ws, media), func(fs.FileInfo) uint64 { return 1 }
			if other {
				mountinfo = mounted(ws)
				device = func(info fs.FileInfo) uint64 { return uint64(len(info.Name())) } // "old" is 3, "media" is 5
			}
			if err := optimize.RemoveTreeMounted(filepath.Join(ws, "old"), mountinfo, device); err == nil || !strings.Contains(err.Error(), media) {
				t.Errorf("removal = %v, want a refusal that names %s", err, media)
			}
			if diff := cmp.Diff(before, snapshot(t, ws)); diff != "" {
				t.Errorf("workspace (-before +after):\n%s", diff)
			}
			same := func(fs.FileInfo) uint64 { return 1 }
			if err := optimize.RemoveTreeMounted(filepath.Join(ws, "free"), mountinfo, same); err != nil {
				t.Errorf("removal of what nothing is mounted in = %v", err)
			}
			if got := names(t, ws); got != "old" {
				t.Errorf("workspace = %q, want old alone", got)
			}
		})
	}
}
