package guard

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// encoding is how a browser reads the bytes of a page, as far as the guard must know. It does not
// decode: pages are compared by their bytes, which is enough where markup is ASCII.
type encoding struct {
	name       string // the label that the page gives itself, in lower case; "" without one
	utf8       bool   // and the bytes are valid UTF-8
	comparable bool   // markup is ASCII in it, so that tags can be told without decoding
}

// encodingOf goes by the byte order mark and the page's own meta element, as browsers do. Without
// either it is not known: a header may say it.
// https://html.spec.whatwg.org/multipage/parsing.html#determining-the-character-encoding
func encodingOf(doc []byte) encoding {
	label := ""
	switch {
	case bytes.HasPrefix(doc, []byte("\xFE\xFF")), bytes.HasPrefix(doc, []byte("\xFF\xFE")), bytes.IndexByte(doc, 0) >= 0:
		return encoding{name: "UTF-16 or with NUL bytes"}
	case bytes.HasPrefix(doc, byteOrderMark):
		label = "utf-8"
	default:
		label = declared(doc)
	}
	switch {
	case utf8Labels[label]:
		return encoding{name: "utf-8", utf8: utf8.Valid(doc), comparable: true}
	case strangeLabels[label]:
		return encoding{name: label}
	}
	return encoding{name: label, comparable: true}
}

// Labels of https://encoding.spec.whatwg.org/#names-and-labels.
var (
	// utf8Labels are read as UTF-8. So is a page that calls itself UTF-16 in ASCII.
	utf8Labels = setOf("utf-8 utf8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8 " +
		"utf-16 utf-16le utf-16be unicode ucs-2 unicodefeff unicodefffe csunicode iso-10646-ucs-2")

	// strangeLabels are of encodings in which bytes of ASCII can be parts of letters, or that
	// browsers do not read.
	strangeLabels = setOf("iso-2022-jp csiso2022jp replacement csiso2022kr hz-gb-2312 iso-2022-cn iso-2022-cn-ext iso-2022-kr x-user-defined")
)

// prescan is how many bytes of a page browsers look at for its encoding.
const prescan = 1024

// declared is the label of the first meta element that declares an encoding; "" without one.
func declared(doc []byte) string {
	z := html.NewTokenizer(bytes.NewReader(doc[:min(len(doc), prescan)]))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return ""
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			if string(name) != "meta" || !more {
				continue
			}
			attrs := readAttributes(z)
			label := value(attrs, "charset")
			if label == "" && strings.EqualFold(value(attrs, "http-equiv"), "content-type") {
				label = charsetIn(value(attrs, "content"))
			}
			if label = strings.ToLower(strings.Trim(label, " \t\n\r\f")); label != "" {
				return label
			}
		}
	}
}

// charsetIn is the label in a value such as "text/html; charset=utf-8".
// https://html.spec.whatwg.org/multipage/urls-and-fetching.html#extracting-character-encodings-from-meta-elements
func charsetIn(content string) string {
	for {
		i := strings.Index(strings.ToLower(content), "charset")
		if i < 0 {
			return ""
		}
		content = strings.TrimLeft(content[i+len("charset"):], " \t\n\r\f")
		rest, ok := strings.CutPrefix(content, "=")
		if !ok {
			continue
		}
		rest = strings.TrimLeft(rest, " \t\n\r\f")
		if quote := strings.IndexAny(rest, `"'`); quote == 0 {
			label, _, _ := strings.Cut(rest[1:], rest[:1])
			return label
		}
		if end := strings.IndexAny(rest, "; \t\n\r\f"); end >= 0 {
			rest = rest[:end]
		}
		return rest
	}
}
