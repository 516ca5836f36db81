package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pageflare/ci/action/optimize"
)

func TestTheReportOfAHugeSiteListsWhatChangedMost(t *testing.T) {
	t.Parallel()
	r := &run{cfg: Config{Plan: &optimize.Plan{}}}
	var s optimize.Report
	for i := range 12000 {
		s.Changes = append(s.Changes, optimize.Change{Path: fmt.Sprintf("%05d.css", i), Type: optimize.CSS, Before: 20000, After: int64(20000 - i)})
	}
	got := r.jsonSite(s)
	if len(got.Files) != 10000 || got.FilesOmitted != 2000 || got.Files[0].Path != "11999.css" {
		t.Errorf("%d files, %d omitted, first %s; want 10000, 2000, 11999.css", len(got.Files), got.FilesOmitted, got.Files[0].Path)
	}
	if got.Types[0].Before.Files != 12000 {
		t.Errorf("types count %d files, want all 12000", got.Types[0].Before.Files)
	}
}

func TestAnnotationsAreCutByUs(t *testing.T) {
	t.Parallel()
	if got := clip(strings.Repeat("é", 5000), maxAnnotation); len([]rune(got)) != maxAnnotation+1 || !strings.HasSuffix(got, "…") {
		t.Errorf("clip gives %d letters", len([]rune(got)))
	}
}
