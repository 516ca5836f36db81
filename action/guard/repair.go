package guard

import (
	"bytes"
	"fmt"
	"html"
	"slices"
	"strings"
)

// repair puts back into an optimized page what the optimizer lost, unit by unit, and keeps the rest
// of what it saved. The units of both pages are aligned; then, in the order of the source,
//
//   - a unit that both have is taken from the result where it means the same, and from the source else;
//   - a unit that only the source has is put back, but for what may go: white space that does not
//     show, remarks, tags that HTML lets authors leave out;
//   - a unit that only the result has is left out, but for what may be added (see inserted).
//
// It may guess, since it does not decide: what it makes is compared as a whole afterwards.
type repair struct {
	site    *Site
	path    string
	sp      *spacing
	policy  Policy
	utf8    bool // the source is UTF-8: text of other bytes than the source's may be taken
	allTags bool // keep also the tags that may be left out

	source, result []unit
	removed        map[int]bool // tags in the source of elements that may take no place in the line
	before, after  []bool       // white space on this side of a unit of the source does not show

	out   []byte
	notes notes

	head     bool            // no content of the body was met yet
	keeping  string          // name of the element within which white space is preserved; "" outside
	depth    int             // of elements of that name
	pictures map[string]bool // addresses of plain pictures, for hints

	// A tag before a head element with attributes would open the head and lose them: what was
	// inserted there waits for the head.
	headless bool
	waiting  []byte
}

// removedTags are the tags of elements that may take no place in the line.
func removedTags(units []unit, sp *spacing) map[int]bool {
	tags := map[int]bool{}
	ends := endsOf(units, blocks)
	for i := range units {
		if u := &units[i]; u.kind == unitOpen && sp.removed(u.name, u.attrs) {
			tags[i] = true
			if end, ok := ends[i]; ok {
				tags[end] = true
			}
		}
	}
	return tags
}

// merge answers with the repaired page. size is a guess at its length.
func (r *repair) merge(size int) []byte {
	r.out, r.notes = make([]byte, 0, size), notes{}
	r.head, r.keeping, r.depth = true, "", 0
	r.pictures = nil
	r.headless, r.waiting = slices.ContainsFunc(r.source, opensHead), nil
	a, b := r.hard(r.source), r.hard(r.result)
	i, j := 0, 0 // of units that are done
	for _, p := range align(a, b) {
		x, y := a[p[0]].at, b[p[1]].at
		r.gap(i, x, r.result[j:y])
		r.matched(x, y)
		r.opened(&r.source[x])
		i, j = x+1, y+1
	}
	r.gap(i, len(r.source), r.result[j:])
	return r.out
}

// opensHead says whether the unit is a head tag with attributes.
func opensHead(u unit) bool { return u.kind == unitOpen && u.name == "head" && len(u.attrs) > 0 }

// opened writes what waited for the head once that is written.
func (r *repair) opened(u *unit) {
	if r.headless && opensHead(*u) {
		r.headless = false
		r.write(r.waiting)
	}
}

// matched writes a unit that both pages have.
func (r *repair) matched(i, j int) {
	a, b := &r.source[i], &r.result[j]
	r.enter(a)
	if bytes.Equal(a.raw, b.raw) {
		r.write(b.raw)
		return
	}
	if !r.utf8 && !ascii(b.raw) { // its letters may have been read in another encoding
		r.write(a.raw)
		return
	}
	switch a.kind {
	case unitText:
		r.text(i, a, b)
	case unitOpen:
		r.write(r.tag(a, b, a.raw, b.raw))
	case unitBlob:
		r.blob(a, b)
	case unitDoctype:
		if strings.EqualFold(collapse(string(a.raw)), collapse(string(b.raw))) {
			r.write(b.raw)
			return
		}
		r.write(a.raw)
	default:
		r.write(b.raw)
	}
}

func (r *repair) write(raw []byte) { r.out = append(r.out, raw...) }

// enter follows the source: head or body, and whether white space is preserved.
func (r *repair) enter(u *unit) {
	switch u.kind {
	case unitOpen:
		if r.head && !headTags[u.name] {
			r.head = false
		}
		switch {
		case r.keeping == u.name:
			r.depth++
		case r.keeping == "" && r.sp.preserve(u.name, u.attrs):
			r.keeping, r.depth = u.name, 1
		}
	case unitClose:
		if u.name == "head" {
			r.head = false
		}
		if r.keeping == u.name {
			if r.depth--; r.depth == 0 {
				r.keeping = ""
			}
		}
	case unitText:
		r.head = r.head && blank(u.raw)
	case unitBlob:
		r.head = r.head && headTags[u.name] && (u.name != "noscript" || staysInHead(u.inner))
	}
}

// staysInHead says whether what <noscript> holds leaves a browser without scripts in the head.
func staysInHead(inner []byte) bool {
	units, err := cut(inner)
	for i := range units {
		u := &units[i]
		if u.kind == unitText && !blank(u.raw) || u.name != "" && u.name != "link" && u.name != "meta" && u.name != "style" {
			return false
		}
	}
	return err == nil
}

var headTags = setOf("html head meta link title base script style noscript template")

// tag is the start tag to publish: the result's where it means the same.
func (r *repair) tag(a, b *unit, source, result []byte) []byte {
	name := a.name
	same, detail := sameAttributes(name, a.attrs, b.attrs, r.sp.memo)
	if same && r.allowed(a.attrs, b.attrs) {
		return result
	}
	d := Difference{Kind: KindAttribute, Detail: orElse(detail, "<"+name+"> has other inline code, which the site's policy blocks"), Key: KeyHTML}
	switch {
	case name == "a" || name == "area":
		d.Kind, d.Key = KindLink, ""
		d.Detail = "links got attributes that change how they are followed"
	case name == "script" || strings.Contains(detail, "data-src"):
		d.Kind, d.Key = KindScript, KeyDefer
	case name == "link":
		d.Kind, d.Key = KindStyle, KeyCritical
	case name == "img" && !same && (detail == "<img> got an attribute width" || detail == "<img> got an attribute height"):
		d.Key = KeyDimensions
	}
	r.notes.add(d, source, result)
	return source
}

// allowed asks the site's policy about inline code that was rewritten.
func (r *repair) allowed(source, result []attribute) bool {
	for _, b := range result {
		a, ok := get(source, b.name)
		if !ok || a == b.value {
			continue
		}
		if b.name == "style" && !r.policy.StyleAttr([]byte(b.value)) || strings.HasPrefix(b.name, "on") && !r.policy.Handler([]byte(b.value)) {
			return false
		}
	}
	return true
}

// text writes a run of text that both pages have.
func (r *repair) text(i int, a, b *unit) {
	was, is := html.UnescapeString(string(a.raw)), html.UnescapeString(string(b.raw))
	if r.keeping != "" {
		if was == is {
			r.write(b.raw)
			return
		}
		r.notes.add(Difference{Kind: KindText, Detail: "white space that a style preserves was folded", Key: KeyHTML}, a.raw, b.raw)
		r.write(a.raw)
		return
	}
	was, is = collapse(was), collapse(is)
	if was == is {
		r.write(b.raw)
		return
	}
	if strings.Trim(was, " ") != strings.Trim(is, " ") {
		r.notes.add(Difference{Kind: KindText, Detail: "text was lost or changed", Key: KeyHTML}, a.raw, b.raw)
		r.write([]byte(collapse(string(a.raw))))
		return
	}
	lead := strings.HasPrefix(was, " ") && !r.edgeBefore(i)
	trail := strings.HasSuffix(was, " ") && !r.edgeAfter(i)
	if lead && !strings.HasPrefix(is, " ") || trail && !strings.HasSuffix(is, " ") {
		r.notes.add(Difference{Kind: KindText, Detail: "words run together", Key: KeyHTML}, a.raw, b.raw)
	}
	if lead {
		r.out = append(r.out, ' ')
	}
	r.write(bytes.Trim(b.raw, " \t\n\r\f"))
	if trail {
		r.out = append(r.out, ' ')
	}
}

// edgeBefore says whether white space before a unit of the source does not show.
func (r *repair) edgeBefore(i int) bool {
	r.findEdges()
	return r.before[i]
}

func (r *repair) edgeAfter(i int) bool {
	r.findEdges()
	return r.after[i]
}

// findEdges looks from all units to both sides at once: there may be many remarks in a row.
func (r *repair) findEdges() {
	if r.before != nil {
		return
	}
	n := len(r.source)
	r.before, r.after = make([]bool, n), make([]bool, n)
	look := func(edge bool, i int, inner unitKind) bool {
		if r.removed[i] { // from within, its tags are the edges of a block
			return r.source[i].kind == inner && !hidden[r.source[i].name]
		}
		if e, known := r.edge(&r.source[i]); known {
			return e
		}
		return edge
	}
	for i, edge := 0, true; i < n; i++ {
		r.before[i] = edge
		edge = look(edge, i, unitOpen)
	}
	for i, edge := n-1, true; i >= 0; i-- {
		r.after[i] = edge
		edge = look(edge, i, unitClose)
	}
}

// edge says whether white space beside the unit does not show; a remark says nothing about it.
func (r *repair) edge(u *unit) (edge, known bool) {
	switch u.kind {
	case unitComment:
		return false, !r.drops(u)
	case unitOpen, unitClose:
		return r.sp.boundary(u.name), true
	case unitDoctype:
		return true, true
	}
	return false, true
}

// drops says whether a comment is a remark that may go.
func (r *repair) drops(u *unit) bool { return !r.sp.strict && droppable(commentText(u.raw)) }

// blob writes an element that is compared as one thing.
func (r *repair) blob(a, b *unit) {
	switch a.name {
	case "script", "style":
		open := r.tag(a, b, a.open, b.open)
		r.write(open)
		r.write(r.inner(a, b))
		r.write(a.close)
	case "title":
		if collapse(html.UnescapeString(string(a.inner))) == collapse(html.UnescapeString(string(b.inner))) {
			r.write(b.raw)
			return
		}
		r.notes.add(Difference{Kind: KindMetadata, Detail: "the title changed", Key: KeyHTML}, a.raw, b.raw)
		r.write(a.raw)
	default:
		// cheap to keep, and hard to prove: as it was, with its white space folded where that is
		// nothing
		r.note(a, b)
		r.write(a.raw)
	}
}

// note says what the optimizer did to an element that is kept as it was.
func (r *repair) note(a, b *unit) {
	if a.name != "svg" {
		return
	}
	if same, detail := sameAttributes(a.name, a.attrs, b.attrs, r.sp.memo); !same {
		r.notes.add(Difference{Kind: KindIcon, Detail: "an inline icon: " + detail, Key: KeySVG}, a.open, b.open)
	} else if bytes.Contains(a.inner, []byte("<title")) != bytes.Contains(b.inner, []byte("<title")) || bytes.Count(a.inner, []byte(" id=")) != bytes.Count(b.inner, []byte(" id=")) {
		r.notes.add(Difference{Kind: KindIcon, Detail: "an inline icon lost its title or ids", Key: KeySVG}, a.inner, b.inner)
	}
}

// inner is the content of a script or style element to publish.
func (r *repair) inner(a, b *unit) []byte {
	attrs := a.attrs
	if len(b.inner) >= len(a.inner) && len(a.inner) > 0 || !r.sp.memo.sameRaw(a.name, value(attrs, "type"), a.inner, b.inner) {
		if !bytes.Equal(bytes.TrimSpace(a.inner), bytes.TrimSpace(b.inner)) && len(b.inner) < len(a.inner) {
			d := Difference{Kind: KindScript, Detail: "an inline script does something else", Key: KeyJS}
			if a.name == "style" {
				d = Difference{Kind: KindStyle, Detail: "a style element says something else", Key: KeyCSS}
			}
			r.notes.add(d, a.inner, b.inner)
		}
		return a.inner
	}
	nonce := value(attrs, "nonce")
	if a.name == "script" && !r.policy.Script(b.inner, nonce) || a.name == "style" && !r.policy.Style(b.inner, nonce) {
		r.notes.add(Difference{Kind: KindPolicy, Detail: "the site's policy blocks inline code that was rewritten", Key: KeyHTML}, a.inner, b.inner)
		return a.inner
	}
	return b.inner
}

// gap writes what lies between two matched units: source units from to end, and those of the
// result.
func (r *repair) gap(from, end int, result []unit) {
	for k := range result {
		if u := &result[k]; r.mayInsert(u) {
			if r.headless {
				r.waiting = append(r.waiting, u.raw...)
			} else {
				r.write(u.raw)
			}
		} else if u.kind == unitBlob || u.kind == unitOpen && !optionalOpen[u.name] {
			r.noteInserted(u)
		}
	}
	var held [][]byte // tags that may be left out, unless something follows that needs them
	for i := from; i < end; i++ {
		u := &r.source[i]
		keep := true
		switch {
		case u.kind == unitText && blank(u.raw):
			keep = r.keeping != "" || !r.head && (r.sp.strict || !r.edgeBefore(i) && !r.edgeAfter(i))
			if keep && !blank(r.out) {
				r.noteSpace(i)
			}
		case u.kind == unitComment:
			keep = !r.drops(u)
			if keep {
				r.notes.add(Difference{Kind: KindComment, Detail: "comments that programs read were removed", Key: KeyHTML}, u.raw, nil)
			}
		case soft(u):
			keep = r.allTags || takeTag(&result, u)
		default:
			r.noteLost(u)
		}
		r.enter(u)
		switch {
		case keep:
			if !soft(u) {
				for _, h := range held {
					r.write(h)
				}
			}
			held = held[:0]
			if u.kind == unitText && blank(u.raw) && r.keeping == "" {
				r.out = append(r.out, oneSpace(u.raw))
				continue
			}
			r.write(u.raw)
			r.opened(u)
		case u.kind == unitClose || u.kind == unitOpen:
			held = append(held, u.raw)
		}
	}
}

// oneSpace is what is left of a run of white space; a line break stays one.
func oneSpace(raw []byte) byte {
	if bytes.IndexByte(raw, '\n') >= 0 {
		return '\n'
	}
	return ' '
}

// takeTag says whether the result has such a tag too, and takes it.
func takeTag(result *[]unit, u *unit) bool {
	for k := range *result {
		if b := &(*result)[k]; b.kind == u.kind && b.name == u.name {
			*result = (*result)[k+1:]
			return true
		}
	}
	return false
}

func (r *repair) noteSpace(i int) {
	if r.sp.strict {
		r.notes.add(Difference{Kind: KindText, Detail: "white space that the page's framework counts was removed", Key: KeyHTML}, nil, nil)
		return
	}
	var before, after []byte
	if i > 0 {
		before = r.source[i-1].raw
	}
	if i+1 < len(r.source) {
		after = r.source[i+1].raw
	}
	r.notes.add(Difference{Kind: KindText, Detail: "blanks between words or links were removed", Key: KeyHTML},
		slices.Concat(before, []byte(" "), after), slices.Concat(before, after))
}

func (r *repair) noteLost(u *unit) {
	d := Difference{Kind: KindStructure, Detail: "elements were removed", Key: KeyHTML}
	switch {
	case u.kind == unitText:
		d = Difference{Kind: KindText, Detail: "text was removed", Key: KeyHTML}
	case u.name == "script":
		d = Difference{Kind: KindScript, Detail: "a script was removed or moved", Key: KeyDefer}
	case u.name == "style" || u.name == "link":
		d = Difference{Kind: KindStyle, Detail: "style sheets were removed or inlined", Key: KeyCritical}
	case u.kind == unitClose:
		return
	}
	r.notes.add(d, u.raw, nil)
}

func (r *repair) noteInserted(u *unit) {
	switch {
	case u.name == "script" && bytes.Contains(u.raw, []byte("data-pf-href")):
		r.notes.add(Difference{Kind: KindLink, Detail: "mail and phone links were made to need scripts"}, nil, u.open)
	case u.name == "script":
		r.notes.add(Difference{Kind: KindScript, Detail: "a script was added", Key: KeyDefer}, nil, u.open)
	case u.name == "style" || u.name == "noscript":
		r.notes.add(Difference{Kind: KindStyle, Detail: "styles were added to the page", Key: KeyCritical}, nil, u.open)
	case u.name == "link" && bytes.Contains(u.raw, []byte("font")):
		r.notes.add(Difference{Kind: KindLink, Detail: "a preload was added that nothing needs", Key: KeyFonts}, nil, u.raw)
	}
}

// mayInsert says whether a unit of the result that the source lacks is published: its generator
// mark, and the hint to load a picture early where the page shows just that picture.
func (r *repair) mayInsert(u *unit) bool {
	if u.kind != unitOpen || u.name != "meta" && u.name != "link" {
		return false
	}
	attrs := u.attrs
	if u.name == "meta" {
		return isGenerator(attrs)
	}
	return isHint(attrs) && value(attrs, "rel") == "preload" && r.plainPictures()[value(attrs, "href")]
}

// plainPictures are the addresses of pictures that the page always loads: without variants, and not
// only when they come into view.
func (r *repair) plainPictures() map[string]bool {
	if r.pictures != nil {
		return r.pictures
	}
	r.pictures = map[string]bool{}
	inPicture := false
	for i := range r.source {
		u := &r.source[i]
		switch {
		case u.name == "picture":
			inPicture = u.kind == unitOpen
		case u.name == "img" && u.kind == unitOpen && !inPicture:
			if !has(u.attrs, "srcset") && value(u.attrs, "loading") != "lazy" {
				r.pictures[value(u.attrs, "src")] = true
			}
		}
	}
	return r.pictures
}

// notes are the differences met, one of a kind, with how often.
type notes struct {
	all   []Difference
	times []int
}

func (n *notes) add(d Difference, before, after []byte) {
	for i := range n.all {
		if n.all[i].Kind == d.Kind && n.all[i].Detail == d.Detail {
			n.times[i]++
			return
		}
	}
	if len(n.all) == maxReasons {
		return
	}
	d.Before, d.After = excerptOf(before), excerptOf(after)
	n.all, n.times = append(n.all, d), append(n.times, 1)
}

func (n *notes) list() []Difference {
	out := slices.Clone(n.all)
	for i, times := range n.times {
		if times > 1 {
			out[i].Detail += fmt.Sprintf(" (%d times)", times)
		}
	}
	return out
}

// excerptOf looks at no more of a text than an excerpt can show.
func excerptOf(b []byte) string { return excerpt(string(b[:min(len(b), 4*maxExcerpt)])) }

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
