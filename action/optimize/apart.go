package optimize

import (
	"bytes"
	"path"
	"strings"

	"golang.org/x/net/html"
)

// cyclic is what the CLI says when files of the site depend on each other in a circle, and makes
// nothing. It takes the page that a link element names for such a file, whatever the relation: two
// pages that name each other as next and previous, a page and its translation, or a page that names
// itself as canonical.
const cyclic = "cycle detected in asset graph"

// critters is what the CLI names, and makes nothing, when the pass critical_css breaks off, as it
// does at selectors that no browser knows.
const critters = "critters-rs"

// apart puts a blank before the address of each link element that names a page by a path, so that
// the CLI takes it for no file of the site. Browsers drop the blank, and the guard puts the
// source's tag back. All other bytes are those of the page.
func apart(page []byte) []byte {
	var out bytes.Buffer
	z, done, at := html.NewTokenizer(bytes.NewReader(page)), 0, 0
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		from := at
		at += len(z.Raw())
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		if name, more := z.TagName(); !more || string(name) != "link" {
			continue
		}
		if value := pagePath(z); value != nil {
			if i := valueOfHref(page[from:at], value); i >= 0 {
				out.Write(page[done : from+i])
				out.WriteString("&#32;")
				done = from + i
			}
		}
	}
	out.Write(page[done:])
	return out.Bytes()
}

// pagePath is the href of the tag if it names a page by a path, relative or from the root.
func pagePath(z *html.Tokenizer) []byte {
	for more := true; more; {
		var name, value []byte
		if name, value, more = z.TagAttr(); string(name) != "href" {
			continue
		}
		file, _, _ := strings.Cut(string(value), "#")
		file, _, _ = strings.Cut(file, "?")
		ext := strings.ToLower(path.Ext(file))
		if strings.Contains(file, ":") || strings.HasPrefix(file, "//") || ext != ".html" && ext != ".htm" {
			return nil
		}
		return value
	}
	return nil
}

// valueOfHref is where in the tag the value of href begins, or -1.
func valueOfHref(tag, value []byte) int {
	for at := 0; ; at++ {
		i := bytes.Index(tag[at:], value)
		if i < 0 {
			return -1
		}
		at += i
		before := bytes.TrimRight(bytes.TrimRight(tag[:at], "\"'"), " \t\r\n\f")
		before, isValue := bytes.CutSuffix(before, []byte("="))
		before = bytes.TrimRight(before, " \t\r\n\f")
		if n := len(before) - len("href"); isValue && n >= 0 && bytes.EqualFold(before[n:], []byte("href")) {
			return at
		}
	}
}
