package main

import (
	"os"
	"strings"
	"testing"
)

func TestDoctorWantsRoomForTheDatabase(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		free uint64
		want finding
	}{
		{16<<20 - 1, wrong("disk", "only 16383 KiB are free in folder data, where the database is: make room, 16 MiB at least")},
		{0, wrong("disk", "only 0 KiB are free in folder data, where the database is: make room, 16 MiB at least")},
		{16 << 20, well("disk", "16 MiB are free in folder data, where the database is")},
	} {
		if got := checkSpace("data", c.free); got != c.want {
			t.Errorf("checkSpace(%d) = %+v, want %+v", c.free, got, c.want)
		}
	}
	if free, known := freeSpace(t.TempDir()); !known || free == 0 {
		t.Errorf("freeSpace = %d, %t, want some", free, known)
	}
	if _, known := freeSpace("/there/is/no/such/folder"); known {
		t.Error("freeSpace knows a folder that is not there")
	}
}

func TestDoctorWantsAFolderThatCanBeWritten(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.used()
	b.asOther()
	must(t, os.Chmod(b.dir, 0o555))
	r := b.run("doctor", "--listen", "127.0.0.1:0")
	must(t, os.Chmod(b.dir, 0o755))
	if want := "WRONG  database  database sqlite:pageflare-license.db: nothing can be written to folder . (permission denied)"; r.exit != exitFailure || !strings.Contains(r.out, want) {
		t.Errorf("doctor = exit %d, want 1 with %q:\n%s", r.exit, want, r.out)
	}
}
