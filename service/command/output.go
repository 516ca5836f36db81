package command

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"unicode"
)

// Output is the flag of every command that prints something.
type Output struct {
	JSON bool `help:"Print one JSON document."`
}

// Print writes v as JSON when asked to, else what text writes, in aligned columns.
func (j Output) Print(w io.Writer, v any, text func(io.Writer)) error {
	if j.JSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	text(t)
	return t.Flush()
}

// PrintPage prints a page of a list. When there are more, the page says so by next, its
// next_cursor, and beside a table a note on standard error names the flag that goes on.
func (j Output) PrintPage(a *App, page any, flag, next string, table func(io.Writer)) error {
	if err := j.Print(a.Stdout, page, table); err != nil || j.JSON || next == "" {
		return err
	}
	_, err := fmt.Fprintf(a.Stderr, "note: there are more: continue with %s %s\n", flag, next)
	return err
}

// printOnce prints what was made with a text that is shown this once: that text alone, for scripts,
// and on standard error the id by which it is listed and revoked.
func (j Output) printOnce(a *App, made any, what, id, text string) error {
	if err := j.Print(a.Stdout, made, func(w io.Writer) { Row(w, text) }); err != nil || j.JSON {
		return err
	}
	_, err := fmt.Fprintf(a.Stderr, "note: this is %s %s: store it now, it is shown this once\n",
		what, id)
	return err
}

// orDash is a time that may be missing, in a table.
func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

// dash is a text that may be empty, in a table.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Row writes cells separated by tabs. What is no text is shown as a mark: some of what is listed
// comes from untrusted callers, and a terminal obeys what it is told.
func Row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return unicode.ReplacementChar
		}, fmt.Sprint(c))
	}
	fmt.Fprintln(w, strings.Join(text, "\t"))
}

// limit is how many rows a list may have.
type limit int

// Validate refuses what would list nothing, or everything.
func (l limit) Validate() error {
	if l < 1 {
		return fmt.Errorf("%d is below 1", int(l))
	}
	return nil
}

// andOne is one more than the limit, by which a list tells whether there are more.
func (l limit) andOne() int {
	if l == math.MaxInt {
		return int(l)
	}
	return int(l) + 1
}
