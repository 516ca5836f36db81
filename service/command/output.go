package command

import (
	"encoding/json"
	"fmt"
	"io"
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
// comes from strangers, and a terminal obeys what it is told.
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
