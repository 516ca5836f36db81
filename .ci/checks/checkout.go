package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// A checkout is what the checks look at: the files that are, or could be, committed.
type checkout struct {
	root  string   // absolute path on this machine
	files fs.FS    // content, below root
	names []string // slash-separated, sorted; every one of them is a regular file
}

// openCheckout lists the repository that the working folder is in: tracked files, and new ones that
// are not ignored.
func openCheckout(ctx context.Context, output func(ctx context.Context, name string, args ...string) (string, error)) (checkout, error) {
	root, err := output(ctx, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return checkout{}, fmt.Errorf("find the repository: %w", err)
	}
	root = strings.TrimSuffix(root, "\n")
	list, err := output(ctx, "git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
	if err != nil {
		return checkout{}, fmt.Errorf("list the files of the repository: %w", err)
	}
	c := checkout{root: root, files: os.DirFS(root)}
	for name := range strings.SplitSeq(list, "\x00") {
		// A tracked file may be deleted in the work tree; a link has no text of its own.
		if info, err := os.Lstat(root + "/" + name); name != "" && err == nil && info.Mode().IsRegular() {
			c.names = append(c.names, name)
		}
	}
	slices.Sort(c.names)
	return c, nil
}

// lines gives the lines of a text file without their ends, and none for a binary one.
func (c checkout) lines(name string) ([]string, error) {
	text, err := fs.ReadFile(c.files, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0 {
		return nil, nil
	}
	return strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), nil
}

// mustLines is lines for a file that a check cannot do without: its absence is a fault, not an
// error.
func (c checkout) mustLines(name string) ([]string, []fault, error) {
	lines, err := c.lines(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, []fault{{name, 1, "no such file", "write it, or change this check"}}, nil
	}
	return lines, nil, err
}

// A fault is one line of the report.
type fault struct {
	file   string
	line   int
	what   string
	remedy string
}

// String gives `file:line: what; remedy`.
func (f fault) String() string {
	return fmt.Sprintf("%s:%d: %s; %s", f.file, f.line, f.what, f.remedy)
}

func sorted(faults []fault) []fault {
	slices.SortStableFunc(faults, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	return faults
}
