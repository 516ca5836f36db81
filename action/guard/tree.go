package guard

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/net/html"
)

// comparePages holds a page against its source as browsers see them: two parsed trees, in document
// order. It is the last word on a page that is not published as it was. It stops at the first
// difference, and answers nil without one.
//
// What <noscript> holds is markup for a browser that runs no scripts, and can end the head there;
// for all others it is text. A page that has one is compared both ways.
func comparePages(source, result []byte, sp *spacing) *Difference {
	d := compareTrees(source, result, sp, false)
	if d == nil && bytes.Contains(bytes.ToLower(source), []byte("<noscript")) {
		d = compareTrees(source, result, sp, true)
	}
	return d
}

func compareTrees(source, result []byte, sp *spacing, scripting bool) *Difference {
	was, err := flatten(source, sp, scripting)
	if err != nil {
		return &Difference{Kind: KindInvalid, Detail: "the page cannot be compared: " + strings.TrimPrefix(err.Error(), "html: ")}
	}
	is, err := flatten(result, sp, scripting)
	if err != nil {
		return &Difference{Kind: KindInvalid, Detail: "the optimized page cannot be parsed: " + strings.TrimPrefix(err.Error(), "html: "), Key: KeyHTML}
	}
	j := 0
	for i := range was {
		for j < len(is) && inserted(&is[j]) && !(inserted(&was[i]) && sameItem(&was[i], &is[j], sp.memo) == nil) {
			j++
		}
		if j == len(is) {
			return &Difference{Kind: KindStructure, Detail: "the page ends early", Before: excerpt(was[i].String()), Key: KeyCritical}
		}
		if d := sameItem(&was[i], &is[j], sp.memo); d != nil {
			return d
		}
		j++
	}
	for ; j < len(is); j++ {
		if !inserted(&is[j]) {
			return &Difference{Kind: KindStructure, Detail: "the page got something at its end", After: excerpt(is[j].String()), Key: KeyHTML}
		}
	}
	return nil
}

type itemKind int

const (
	itemOpen itemKind = iota
	itemClose
	itemText
	itemRaw // the content of a script or style element
	itemComment
	itemDoctype
)

// item is a step of the walk through a tree.
type item struct {
	kind  itemKind
	name  string // of the element, with its namespace
	text  string
	attrs []attribute
}

func (i *item) String() string {
	switch i.kind {
	case itemOpen:
		var b strings.Builder
		b.WriteString("<" + i.name)
		for _, a := range i.attrs {
			fmt.Fprintf(&b, " %s=%q", a.name, a.value)
		}
		return b.String() + ">"
	case itemClose:
		return "</" + i.name + ">"
	case itemComment:
		return "<!--" + i.text + "-->"
	}
	return i.text
}

// inserted says whether this is what the optimizer may add to a page: its generator mark, whose
// time is taken out elsewhere, and hints that make the browser load earlier what it loads anyway.
// That a hint is right was decided where it was accepted (repair.go).
func inserted(i *item) bool {
	switch {
	case i.name == "meta":
		return i.kind == itemClose && i.text == insertedMark || i.kind == itemOpen && isGenerator(i.attrs)
	case i.name == "link":
		return i.kind == itemClose && i.text == insertedMark || i.kind == itemOpen && isHint(i.attrs)
	}
	return false
}

// insertedMark is the text of the end of an element that may be inserted, so that both go together.
const insertedMark = "inserted"

func isGenerator(attrs []attribute) bool {
	return len(attrs) == 2 && strings.EqualFold(value(attrs, "name"), "generator") && strings.HasPrefix(value(attrs, "content"), "Pageflare")
}

func isHint(attrs []attribute) bool {
	for _, a := range attrs {
		switch {
		case a.name == "rel" && strings.EqualFold(a.value, "preload"), a.name == "as" && a.value == "image":
		case a.name == "href", a.name == "fetchpriority":
		default: // such as imagesrcset, which names other pictures
			return false
		}
	}
	return has(attrs, "rel") && has(attrs, "as") && has(attrs, "href")
}

func sameItem(a, b *item, memo *memo) *Difference {
	if a.kind != b.kind || a.name != b.name {
		return &Difference{
			Kind: KindStructure, Detail: "elements are gone, new or moved", Before: excerpt(a.String()), After: excerpt(b.String()), Key: KeyHTML,
		}
	}
	switch a.kind {
	case itemOpen:
		if same, detail := sameAttributes(a.name, a.attrs, b.attrs, memo); !same {
			return &Difference{Kind: KindAttribute, Detail: detail, Before: excerpt(a.String()), After: excerpt(b.String()), Key: KeyHTML}
		}
	case itemRaw:
		if a.text != b.text && !memo.sameRaw(a.name, value(a.attrs, "type"), []byte(a.text), []byte(b.text)) {
			kind, key := KindScript, KeyJS
			if a.name == "style" {
				kind, key = KindStyle, KeyCSS
			}
			return &Difference{Kind: kind, Detail: "the content of <" + a.name + "> differs", Before: excerpt(a.text), After: excerpt(b.text), Key: key}
		}
	default:
		if a.text != b.text {
			kind := KindText
			if a.kind == itemComment {
				kind = KindComment
			}
			before, after := apart(a.text, b.text)
			return &Difference{Kind: kind, Detail: "the text differs", Before: before, After: after, Key: KeyHTML}
		}
	}
	return nil
}

// apart are the places where two texts begin to differ, with a few letters before.
func apart(a, b string) (string, string) {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	from := max(0, n-20)
	return excerpt(a[from:]), excerpt(b[from:])
}

// flatten parses a page and walks through it.
func flatten(doc []byte, sp *spacing, scripting bool) ([]item, error) {
	root, err := html.ParseWithOptions(bytes.NewReader(doc), html.ParseOptionEnableScripting(scripting))
	if err != nil {
		return nil, err
	}
	w := &walker{sp: sp, items: make([]item, 0, 16+len(doc)/16), edge: true}
	w.children(root, false)
	w.flush()
	return w.items, nil
}

type walker struct {
	sp    *spacing
	items []item
	run   strings.Builder // of text, since the last tag
	space bool            // white space was seen that is not yet written
	edge  bool            // at an edge of a block, or after white space: more of it does not show
}

func (w *walker) flush() {
	if w.run.Len() > 0 {
		w.items = append(w.items, item{kind: itemText, text: w.run.String()})
		w.run.Reset()
	}
}

// tag ends the run of text before a tag.
func (w *walker) tag(name string) {
	switch {
	case w.sp.boundary(name):
		w.space, w.edge = false, true
	case w.space && (!w.edge || w.sp.strict):
		w.run.WriteByte(' ')
		w.space, w.edge = false, true
	default:
		w.space = false
	}
	w.flush()
}

func (w *walker) write(s string, preserve bool) {
	if preserve {
		if w.space && !w.edge {
			w.run.WriteByte(' ')
		}
		w.run.WriteString(s)
		w.space, w.edge = false, false
		return
	}
	for i := 0; i < len(s); i++ {
		if isSpace(s[i]) {
			w.space = true
			continue
		}
		if w.space && (!w.edge || w.sp.strict && w.run.Len() == 0) {
			w.run.WriteByte(' ')
		}
		w.space, w.edge = false, false
		w.run.WriteByte(s[i])
	}
}

func (w *walker) children(n *html.Node, preserve bool) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		w.node(c, preserve)
	}
}

func (w *walker) node(n *html.Node, preserve bool) {
	switch n.Type {
	case html.DoctypeNode:
		w.items = append(w.items, item{kind: itemDoctype, name: n.Data, attrs: converted(n.Attr)})
	case html.CommentNode:
		if w.sp.strict || !droppable(n.Data) {
			w.tag("")
			w.items = append(w.items, item{kind: itemComment, text: n.Data})
		}
	case html.TextNode:
		if parent := n.Parent; parent != nil && (parent.Data == "head" || parent.Data == "html") && parent.Namespace == "" && blank([]byte(n.Data)) {
			return
		}
		w.write(n.Data, preserve)
	case html.ElementNode:
		w.element(n, preserve)
	}
}

func (w *walker) element(n *html.Node, preserve bool) {
	name := n.Data
	if n.Namespace != "" {
		name = n.Namespace + ":" + n.Data
	}
	attrs := converted(n.Attr)
	if !w.sp.removed(name, attrs) {
		w.tag(name)
		w.inside(n, name, attrs, preserve)
		return
	}
	// the line goes on behind it
	w.flush()
	space, edge := w.space, w.edge
	w.space, w.edge = false, true
	w.inside(n, name, attrs, preserve)
	w.space, w.edge = space, edge
}

// inside walks through an element whose start was told to the line.
func (w *walker) inside(n *html.Node, name string, attrs []attribute, preserve bool) {
	w.items = append(w.items, item{kind: itemOpen, name: name, attrs: attrs})
	if name == "script" || name == "style" {
		text := ""
		if n.FirstChild != nil {
			text = n.FirstChild.Data
		}
		w.items = append(w.items, item{kind: itemRaw, name: name, attrs: attrs, text: text})
		w.items = append(w.items, item{kind: itemClose, name: name})
		return
	}
	w.children(n, preserve || w.sp.preserve(name, attrs))
	w.tag(name)
	end := item{kind: itemClose, name: name}
	if name == "meta" || name == "link" {
		if open := (&item{kind: itemOpen, name: name, attrs: attrs}); inserted(open) {
			end.text = insertedMark
		}
	}
	w.items = append(w.items, end)
}

func converted(attrs []html.Attribute) []attribute {
	if len(attrs) == 0 {
		return nil
	}
	all := make([]attribute, len(attrs))
	for i, a := range attrs {
		name := a.Key
		if a.Namespace != "" {
			name = a.Namespace + ":" + a.Key
		}
		all[i] = attribute{name, a.Val}
	}
	return all
}
