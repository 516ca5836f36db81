package github

import (
	"net/http"
	"strings"
	"unicode"

	gh "github.com/google/go-github/v60/github"
)

// words gives GitHub's message with its details, and the name of the status when the answer had
// none (an HTML page, say).
func words(answer *gh.ErrorResponse) string {
	text := answer.Message
	for _, detail := range answer.Errors {
		text = strings.TrimSpace(text + " " + inWords(detail))
	}
	if text == "" {
		text = http.StatusText(answer.Response.StatusCode)
	}
	return Plain(text)
}

// inWords gives what a detail says, or, of {"resource":"Secret","field":"name","code":"invalid"},
// "(Secret.name: invalid)".
func inWords(detail gh.Error) string {
	if detail.Message != "" {
		return detail.Message
	}
	where := strings.Trim(detail.Resource+"."+detail.Field, ".")
	if said := strings.Trim(where+": "+detail.Code, ": "); said != "" {
		return "(" + said + ")"
	}
	return ""
}

// Plain makes untrusted text fit for one line of a log: no control characters, at most 300
// characters.
func Plain(text string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text))
	if len(runes) > 300 {
		return string(runes[:300]) + "…"
	}
	return string(runes)
}
