package summary

import (
	"fmt"
	"strings"
	"unicode"
)

// The most letters of one foreign text that are shown. A problem gets more room, since its remedy,
// which may be an address, stands at its end.
const (
	maxText    = 400
	maxProblem = 800

	bytesPerLetter = 3 // enough for letters of any script, as they are
)

// Escape makes any text safe in Markdown, in a table too: it stays one line, and nothing in it is
// markup, a link, a mention or HTML. What cannot mean anything there stays readable as it is; all
// else becomes a character reference or, if it cannot be seen, a mark for that.
func Escape(s string) string { return escape(s, maxText) }

// escape shows the first letters of a text, most at most, and fewer of those that take many bytes
// as references: a summary is bounded in bytes.
func escape(s string, most int) string {
	var b strings.Builder
	text := []rune(s)
	for i, r := range text {
		switch {
		case i == most, b.Len() >= bytesPerLetter*most:
			b.WriteRune('…')
			return b.String()
		case harmless(text, i):
			b.WriteRune(r)
		case !unicode.IsPrint(r):
			b.WriteRune('�')
		default:
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return b.String()
}

// harmless says whether the rune at i means nothing to Markdown where it stands. A line of ours
// never begins with it.
func harmless(text []rune, i int) bool {
	at := func(i int) rune {
		if i < 0 || i >= len(text) {
			return 0
		}
		return text[i]
	}
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	switch r := text[i]; r {
	case ' ', ',', ';', '/', '%', '(', ')', '=', '…', '-', '\'', '"':
		return true
	case '.': // www.example.com would become a link
		return i < 3 || !strings.EqualFold(string(text[i-3:i]), "www")
	case ':': // :smile: would become a picture, https://… a link
		return at(i+1) == ' ' || unicode.IsDigit(at(i+1))
	case '_': // within a word it emphasises nothing
		return word(at(i-1)) && word(at(i+1))
	default:
		return word(r)
	}
}

// code is a foreign name in a fixed-width face.
func code(s string) string { return "<code>" + Escape(s) + "</code>" }
