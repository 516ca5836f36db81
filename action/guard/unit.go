package guard

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"golang.org/x/net/html"
)

// A page is cut into units twice: for the repair, which works on the bytes of both pages, and for
// the limits, which keep a hostile page from holding the parser. The units of a page, joined, are
// its bytes.

type unitKind int

const (
	unitText unitKind = iota
	unitOpen
	unitClose
	unitComment
	unitDoctype
	unitBlob // an element whose content is no markup of the page, or is compared as one thing
)

// unit is a piece of a page.
type unit struct {
	kind  unitKind
	raw   []byte
	name  string      // of the element, in lower case; "" for text, comments and doctypes
	attrs []attribute // of a start tag, also that of a blob
	open  []byte      // of a blob: its start tag
	inner []byte      // of a blob: what lies between its tags
	close []byte      // of a blob: its end tag
}

// blobs are compared as one thing. The tokenizer gives the content of most of them as text.
var blobs = map[string]bool{
	"script": true, "style": true, "noscript": true, "template": true, "svg": true, "math": true, "title": true,
	"textarea": true, "iframe": true, "object": true, "xmp": true, "noembed": true, "noframes": true,
}

// Limits of a page.
const (
	maxUnits      = 1 << 20
	maxAttributes = 256     // of one element
	maxToken      = 4 << 20 // bytes of a tag, a comment, or a run of text
)

var (
	errTooMany    = errors.New("has more elements than the guard compares")
	errAttributes = errors.New("has an element with more attributes than the guard compares")
)

// cut makes units of a page. The error says why it is beyond the limits.
func cut(doc []byte) ([]unit, error) {
	units := make([]unit, 0, 64+len(doc)/24)
	z := html.NewTokenizer(bytes.NewReader(doc))
	z.SetMaxBuf(maxToken)
	at := 0
	for {
		t := z.Next()
		if t == html.ErrorToken {
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return nil, err
			}
			if at < len(doc) { // an unfinished tag at the end is no token: browsers drop it
				units = append(units, unit{kind: unitComment, raw: doc[at:]})
			}
			break
		}
		// Raw is a part of the tokenizer's buffer: the same bytes are taken of the page itself
		raw := doc[at : at+len(z.Raw())]
		at += len(raw)
		u := unit{raw: raw}
		switch t {
		case html.DoctypeToken:
			u.kind = unitDoctype
		case html.CommentToken:
			u.kind = unitComment
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			name, more := z.TagName()
			u.kind, u.name = unitOpen, string(name)
			if t == html.EndTagToken {
				u.kind = unitClose
			}
			if more && t != html.EndTagToken {
				if u.attrs = readAttributes(z); len(u.attrs) > maxAttributes {
					return nil, errAttributes
				}
			}
			if t == html.SelfClosingTagToken && (u.name == "svg" || u.name == "math") {
				u.kind, u.open = unitBlob, raw
			}
		}
		units = append(units, u)
		if len(units) > maxUnits {
			return nil, errTooMany
		}
	}
	return joinBlobs(doc, units), nil
}

// readAttributes are those of the tag that the tokenizer is at, in its order, the first of equal
// names alone, as browsers have it. It stops beyond the limit.
func readAttributes(z *html.Tokenizer) []attribute {
	all := make([]attribute, 0, 4)
	for more := true; more && len(all) <= maxAttributes; {
		var k, v []byte
		k, v, more = z.TagAttr()
		if name := nameOf(k); !has(all, name) {
			all = append(all, attribute{name, string(v)})
		}
	}
	return all
}

// nameOf is a name of the few that most attributes have, without a copy.
func nameOf(b []byte) string {
	if name, ok := attributeNames[string(b)]; ok {
		return name
	}
	return string(b)
}

var attributeNames = func() map[string]string {
	names := map[string]string{}
	for name := range setOf(`alt charset class content crossorigin d data-pf-href defer fill height href id integrity lang name
		onclick property rel role src srcset stroke style target title type value viewbox width aria-label aria-hidden tabindex`) {
		names[name] = name
	}
	return names
}()

// joinBlobs makes one unit of each outermost blob. One without its end tag stays as it is: nothing
// can be put back there then, and the comparison decides.
func joinBlobs(doc []byte, units []unit) []unit {
	ends := endsOf(units, blobs)
	out := units[:0]
	offset := 0
	for i := 0; i < len(units); {
		u := units[i]
		end, ok := ends[i]
		if !ok {
			out = append(out, u)
			offset += len(u.raw)
			i++
			continue
		}
		size := 0
		for _, part := range units[i : end+1] {
			size += len(part.raw)
		}
		whole := doc[offset : offset+size]
		out = append(out, unit{
			kind: unitBlob, name: u.name, attrs: u.attrs, raw: whole, open: u.raw, close: units[end].raw,
			inner: whole[len(u.raw) : len(whole)-len(units[end].raw)],
		})
		offset += size
		i = end + 1
	}
	return out
}

// endsOf finds the end tags that belong to start tags of these names, in one pass over the units.
func endsOf(units []unit, names map[string]bool) map[int]int {
	ends := map[int]int{}
	open := map[string][]int{}
	closed := func(i int) bool { return bytes.HasSuffix(units[i].raw, []byte("/>")) }
	for i := range units {
		u := &units[i]
		switch {
		case !names[u.name]:
		case u.kind == unitOpen:
			open[u.name] = append(open[u.name], i)
		case u.kind == unitClose: // one that closes itself takes no end tag from the one around it
			all := open[u.name]
			for more := true; more && len(all) > 0; all = all[:len(all)-1] {
				start := all[len(all)-1]
				ends[start], more = i, closed(start)
			}
			open[u.name] = all
		}
	}
	return ends
}

// attribute is one of an element, its value decoded.
type attribute struct{ name, value string }

func has(all []attribute, name string) bool {
	_, ok := get(all, name)
	return ok
}

func get(all []attribute, name string) (string, bool) {
	for _, a := range all {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

func value(all []attribute, name string) string {
	v, _ := get(all, name)
	return v
}

// isSpace tells HTML's white space.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

func blank(b []byte) bool {
	for _, c := range b {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

// collapse makes one blank of each run of white space, as a browser shows it.
func collapse(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = !isSpace(s[i]) || s[i] == ' ' && (i == 0 || s[i-1] != ' ')
	}
	if plain {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	space := false
	for i := 0; i < len(s); i++ {
		if isSpace(s[i]) {
			space = true
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteByte(s[i])
	}
	if space {
		b.WriteByte(' ')
	}
	return b.String()
}
