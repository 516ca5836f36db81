//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A site of 100,000 files and one of 2 GB harms neither log nor summary nor runner: what people
// read stays short, memory stays small, and the site is brought over whole.
func TestAHugeSite(t *testing.T) {
	t.Parallel()
	const files = 100_000
	const video = 2 << 30
	j := newJob(t)
	for d := range files / 1000 { // of a type that the optimizer leaves out, so that each of them is ours to bring over
		dir := filepath.Join(j.ws, "dist", fmt.Sprintf("d%03d", d))
		must(t, os.Mkdir(dir, 0o755))
		for f := range 1000 {
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%04d.bin", f)), []byte("x"), 0o644))
		}
	}
	must(t, os.Truncate(j.write("ws/dist/video.bin", ""), video))
	j.input("output", "public")
	cmd, log := j.command(t.Context())
	must(t, cmd.Run())
	r := j.result(cmd, log)

	site := r.report.Site
	if r.exit != exitOK || site == nil || site.After.Files < files || site.After.Bytes < video {
		t.Fatalf("exit = %d, site = %+v\n%s", r.exit, site, r.log)
	}
	if len(site.Files) > maxListed || site.FilesOmitted < files-maxListed || len(r.summary) > 64<<10 || len(r.log) > 64<<10 {
		t.Errorf("files listed = %d, omitted = %d; the summary has %d bytes, the log %d", len(site.Files), site.FilesOmitted, len(r.summary), len(r.log))
	}
	if !strings.Contains(r.log, "and 99") {
		t.Errorf("the log does not say how many more files were kept:\n%s", r.log)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if kib := usage.Maxrss; kib > 1<<20 {
		t.Errorf("the Action used %d KiB of memory", kib)
	}
	last, err := os.Stat(filepath.Join(j.ws, "public", "d099", "f0999.bin"))
	must(t, err)
	copied, err := os.Stat(filepath.Join(j.ws, "public", "video.bin"))
	must(t, err)
	if last.Size() != 1 || copied.Size() != video {
		t.Errorf("brought over: %d bytes of 1, %d of %d", last.Size(), copied.Size(), video)
	}
}
