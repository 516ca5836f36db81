package client

import (
	"errors"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/pageflare/ci/service/api"
)

// What comes from the other side is untrusted text: the functions of this file take of it what
// has the right form.

// maxWords is how many characters of a text from outside are shown.
const maxWords = 300

// clean makes a text from outside fit for a log or a terminal: the tokens, which a careless server
// may echo, are taken out first (a cut could leave half of one), then everything that does not
// print, then what is too long.
func clean(text string, tokens []string) string {
	for _, token := range tokens {
		text = strings.ReplaceAll(text, token, "[token]")
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text)
	runes := []rune(strings.TrimSpace(text))
	if len(runes) > maxWords {
		return string(runes[:maxWords-1]) + "…"
	}
	return string(runes)
}

// contentType is the media type without its parameters, or "".
func contentType(resp *http.Response) string {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}

// The forms are compiled when first asked for: the Action starts in a few milliseconds, and mostly
// gets no answer at all.
var codeForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`) })

// code is the code of an answer when it has the form of one.
func (t *tries) code(c api.Code) api.Code {
	if !codeForm().MatchString(string(c)) || t.echoes(string(c)) {
		return ""
	}
	return c
}

var requestIDForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._:=/+-]{1,128}$`) })

// requestID is the id of an answer when it has the form of one.
func (t *tries) requestID(h http.Header) string {
	id := h.Get("X-Request-Id")
	if !requestIDForm().MatchString(id) || t.echoes(id) {
		return ""
	}
	return id
}

// echoes reports whether the text holds a token.
func (t *tries) echoes(text string) bool {
	return slices.ContainsFunc(t.request.hidden(),
		func(token string) bool { return strings.Contains(text, token) })
}

// retryAfter reads how long the answer asks to wait: whole seconds or a date (RFC 9110, 10.2.3). A
// date is measured by the clock that wrote it, when the answer says what that shows. 0 when there
// is nothing to read, and a very long time when the number is too large.
func (t *tries) retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = t.client.cfg.Now()
	}
	return max(until.Sub(now), 0)
}
