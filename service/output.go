package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// asJSON is the flag of every command that prints something.
type asJSON struct {
	JSON bool `help:"Print one JSON document."`
}

// print writes v as JSON when asked to, else what text writes, in aligned columns.
func (j asJSON) print(w io.Writer, v any, text func(io.Writer)) error {
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

// stamp is a time as it is printed: RFC 3339 with milliseconds, as in the claims of a token.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// second is a time in whole seconds.
func second(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// optional is a time that may be missing.
func optional(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := stamp(t)
	return &s
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

// row writes cells separated by tabs. What is no text is shown as a mark: some of what is listed comes from strangers, and a terminal obeys what it is
// told.
func row(w io.Writer, cells ...any) {
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
