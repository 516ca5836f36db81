package optimize

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// mark is what the CLI puts into the head of each page that it writes, before the time of the run.
// It tells a source that was optimized before from one that was built anew, and an earlier output
// from a folder of somebody else's.
const mark = `<meta name="generator" content="Pageflare`

// markTime is what the CLI writes after the mark.
var markTime = regexp.MustCompile(regexp.QuoteMeta(mark) + ` \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC">`)

// stamp replaces the time of the run in a page, which would make every page of every build differ:
// by nothing, or by the time of SOURCE_DATE_EPOCH.
func (p *Plan) stamp(page []byte) []byte {
	return markTime.ReplaceAllLiteral(page, []byte(p.fullMark()))
}

func (p *Plan) fullMark() string {
	if p.cfg.SourceDate.IsZero() {
		return mark + `">`
	}
	return mark + p.cfg.SourceDate.UTC().Format(" "+time.DateTime+" UTC") + `">`
}

const (
	markedPages = 5       // of a site, besides its first page, are looked at
	markedBytes = 1 << 20 // of a page: inlined CSS may come before the mark
)

// marked is the first page with the mark of a few in the folder, relative to it; empty without one.
// The CLI takes no site without a page index.html, so that one is looked at first.
func marked(dir string) (found string) {
	if hasMark(filepath.Join(dir, "index.html")) {
		return "index.html"
	}
	seen := 0
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.Type().IsRegular() || TypeOf(path) != HTML:
			return nil
		case hasMark(path):
			found, _ = filepath.Rel(dir, path)
			return fs.SkipAll
		}
		if seen++; seen == markedPages {
			return fs.SkipAll
		}
		return nil
	})
	return found
}

func hasMark(page string) bool {
	if info, err := os.Lstat(page); err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(page)
	if err != nil {
		return false
	}
	defer f.Close()
	head, _ := io.ReadAll(io.LimitReader(f, markedBytes)) // what cannot be read has no mark
	return bytes.Contains(head, []byte(mark+`"`)) || bytes.Contains(head, []byte(mark+` `))
}

// ownMark is the file that marks an output of ours where nothing else does.
const ownMark = ".pageflare-output"

// markOutput makes an output of its own known to the next run, which replaces it as a whole. Pages
// that are published as they were have no mark, so the folder has one: an extended attribute, or
// where the file system keeps none, and no page has a mark, an empty file.
func markOutput(dir string) error {
	if setMark(dir) == nil || marked(dir) != "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, ownMark), nil, 0o644)
}

// checkOurs refuses an output that is there already, unless it is empty or an earlier output: it is
// replaced as a whole, and what a person or another step put there would be gone.
func checkOurs(output, name string) error {
	entries, err := os.ReadDir(output)
	if err != nil { // it is not there, or cannot be read, and then not be replaced
		return nil
	}
	if isMarked(output) {
		return nil
	}
	for _, e := range entries {
		if e.Name() == ownMark {
			return nil
		}
	}
	for _, e := range entries {
		if e.Name() == ".gitkeep" { // is there to keep an empty folder
			continue
		}
		if marked(output) != "" {
			return nil
		}
		return fmt.Errorf("output %q holds files that this Action did not make, such as %q, and is replaced as a whole; remove it in a step before, or set input output to another folder",
			name, e.Name())
	}
	return nil
}
