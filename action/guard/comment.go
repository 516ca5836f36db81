package guard

import (
	"strings"
	"unicode"
)

// droppable says whether a comment is a remark that only authors read. All others stay: frameworks
// hydrate by them (React, Vue, Svelte, Lit, Angular, Qwik, Knockout), servers include by them,
// crawlers and mail shields are switched by them. A remark reads as prose: two words or more, of
// letters, and no word that is known to mean something.
func droppable(comment string) bool {
	words := strings.Fields(comment)
	if len(words) < 2 || marks[strings.ToLower(strings.Trim(words[0], ":,./"))] {
		return false
	}
	switch comment[0] {
	case '[', ']', '#', '$', '/', '?', '!', '<', '{', '}', '%', '&':
		return false
	}
	letters := 0
	for _, w := range words {
		if isWord(w) {
			letters++
		}
	}
	return letters >= 2
}

// marks are the first words of comments that programs read.
var marks = map[string]bool{
	"ko": true, "esi": true, "lit-part": true, "googleoff": true, "googleon": true, "google_ad_section_start": true,
	"google_ad_section_end": true, "email_off": true, "noindex": true, "ngh": true, "qv": true, "mfunc": true, "mclude": true,
	"wp": true, "more": true, "bb": true, "v-if": true, "html_tag": true, "sse": true, "uml": true, "teleport": true, "astro": true,
}

func isWord(w string) bool {
	w = strings.Trim(w, `.,;:!?()"'-–—=*`)
	for _, r := range w {
		if !unicode.IsLetter(r) && r != '-' && r != '\'' && r != '’' {
			return false
		}
	}
	return w != ""
}

// commentText is what stands between <!-- and -->.
func commentText(raw []byte) string {
	s := strings.TrimPrefix(string(raw), "<!--")
	return strings.TrimSuffix(s, "-->")
}
