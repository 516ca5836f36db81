package main

import (
	"maps"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// checkoutOf gives a checkout with these files, at a path that no machine has.
func checkoutOf(files map[string]string) checkout {
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return checkout{root: "/somewhere/else/ci", files: tree, names: slices.Sorted(maps.Keys(files))}
}

// wantFaults compares the lines of a report, in the order in which they are printed.
func wantFaults(t *testing.T, got []fault, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatalf("error = %v, want none", err)
	}
	lines := []string{}
	for _, f := range sorted(got) {
		lines = append(lines, f.String())
	}
	if diff := cmp.Diff(append([]string{}, want...), lines); diff != "" {
		t.Errorf("faults differ (-want +got):\n%s", diff)
	}
}
