package optimize

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// foldWidth is the room for text in a line that the CLI folds; a word that fills it was broken in
// the middle.
const foldWidth = 74

// Unfold makes one line of what the CLI prints on stderr when it fails. It folds at about 80
// columns:
//
//	Error:   × Input path /tmp/my site/one two three four five six seven eight
//	  │ nine/ten is not a directory
//
// Colors, other commands to a terminal and control characters are left out: what it prints may come
// from the site. Of a usage error only the first paragraph is kept; the rest repeats the command's
// help.
func Unfold(stderr string) string {
	var paragraphs []string
	var text, last string
	for _, line := range strings.Split(stderr, "\n") {
		line = strings.Map(visible, terminal.ReplaceAllString(line, ""))
		line = strings.TrimSpace(line)
		line = strings.TrimPrefix(line, "Error:")
		line = strings.TrimPrefix(strings.TrimSpace(line), "×")
		line = strings.TrimSpace(strings.TrimPrefix(line, "│"))
		switch {
		case line == "":
			paragraphs, text = appendText(paragraphs, text), ""
		case text == "":
			text = line
		case broken(last):
			text += line
		default:
			text += " " + line
		}
		last = line
	}
	paragraphs = appendText(paragraphs, text)
	if len(paragraphs) > 1 && strings.HasPrefix(paragraphs[0], "error: ") {
		paragraphs = paragraphs[:1]
	}
	return strings.Join(paragraphs, "; ")
}

// terminal matches what a terminal takes for commands: ESC [ … letter, and ESC ] … BEL or ESC \.
var terminal = regexp.MustCompile(`(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?`)

func visible(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
		return -1
	}
	return r
}

// broken says whether the line was cut inside a word: after a hyphen or slash, or because one word
// fills it.
func broken(line string) bool {
	return strings.HasSuffix(line, "-") || strings.HasSuffix(line, "/") ||
		!strings.Contains(line, " ") && utf8.RuneCountInString(line) >= foldWidth
}

func appendText(paragraphs []string, text string) []string {
	if text == "" {
		return paragraphs
	}
	return append(paragraphs, text)
}
