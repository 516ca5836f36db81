package leak

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pageflare/ci/service/opaque"
)

// Who publishes a token chooses where, and so a text that reaches the audit log, which nothing can
// be erased from, and the log of the service. Both get little of it, on one line, and nothing that
// looks like a token.

const (
	maxURL    = 500
	maxSource = 50
)

// cleanURL is where a token was found: scheme, host and path of a web address. Anything else is
// empty; what follows the path may be a secret of somebody else's.
func cleanURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || len(text) > 8<<10 {
		return ""
	}
	return cut(clean(u.Scheme+"://"+u.Host+u.EscapedPath()), maxURL)
}

// cleanSource is the kind of place: small letters, as GitHub writes it in two ways.
func cleanSource(text string) string { return cut(clean(strings.ToLower(text)), maxSource) }

func clean(text string) string {
	return opaque.HideSecrets(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(text, string(unicode.ReplacementChar))))
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}
