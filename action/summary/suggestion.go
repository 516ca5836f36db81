package summary

import (
	"fmt"
	"strings"
)

// Suggestion is how a job that was refused can be allowed.
type Suggestion struct {
	Text     string
	Commands []string // for a shell, one line each
}

// maxCommand is the most letters of a command that are shown: a longer one is left out, since a
// part of it would be another command.
const maxCommand = 8000

// renderSuggestion shows commands as they are to be typed. What is between the tags is not
// Markdown, and every character of it that means something to HTML is a reference.
func renderSuggestion(b *strings.Builder, s Suggestion) {
	fmt.Fprintf(b, "### Let this job in\n\n%s\n\n", escape(s.Text, maxProblem))
	for _, c := range s.Commands {
		if text := escape(c, maxCommand); strings.HasSuffix(text, "…") == strings.HasSuffix(c, "…") {
			fmt.Fprintf(b, "<pre><code>%s</code></pre>\n\n", text)
		}
	}
}
