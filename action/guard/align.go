package guard

import "bytes"

// hardUnit is a unit that both pages should have, by what it is known by in both.
type hardUnit struct {
	at   int // in its page
	kind unitKind
	name string // of the element; of a comment its text
	id   string // tells elements of one name apart that come in rows: meta, link, script
}

func (a hardUnit) like(b hardUnit) bool { return a.kind == b.kind && a.name == b.name && a.id == b.id }

// sure says whether a page has one such unit at most, as good as always: then it is enough to find
// it.
func (a hardUnit) sure() bool {
	return a.id != "" || a.kind == unitComment || a.kind == unitOpen && roots[a.name] || a.kind == unitDoctype
}

// hard lists the units of a page that may not just be missing in the other.
func (r *repair) hard(units []unit) []hardUnit {
	all := make([]hardUnit, 0, len(units))
	for i := range units {
		u := &units[i]
		h := hardUnit{at: i, kind: u.kind, name: u.name}
		switch {
		case u.kind == unitText && blank(u.raw), u.kind == unitComment && r.drops(u), soft(u):
			continue
		case u.kind == unitComment:
			h.name = commentText(u.raw)
		case u.name == "meta" || u.name == "link":
			h.id = metaID(u.attrs)
		case u.kind == unitBlob && u.name == "script":
			h.id = value(u.attrs, "src")
		}
		all = append(all, h)
	}
	return all
}

// soft are tags that HTML lets authors leave out; the parser makes them up again.
// https://html.spec.whatwg.org/multipage/syntax.html#optional-tags
func soft(u *unit) bool {
	switch u.kind {
	case unitClose:
		return optionalClose[u.name]
	case unitOpen:
		return optionalOpen[u.name] && bytes.IndexByte(u.raw, '=') < 0
	}
	return false
}

var (
	optionalClose = setOf("p li dt dd tr td th tbody thead tfoot option optgroup colgroup caption html head body rb rt rp rtc")
	optionalOpen  = setOf("html head body tbody colgroup")
)

// metaID tells a meta or link element from its neighbours.
func metaID(attrs []attribute) string {
	id := ""
	for _, name := range [...]string{"name", "property", "http-equiv", "href", "rel", "itemprop"} {
		if v, ok := get(attrs, name); ok {
			id += name + "=" + v + "\n"
		}
	}
	return id
}

// lookAhead is how far a unit is looked for that the other page has next.
const (
	lookAhead = 64
	nearBy    = 12
)

// maxProbes bounds the looks ahead of one page.
const maxProbes = 1 << 22

// align pairs the units of two pages, both in order. It looks a little ahead where they part; where
// nothing fits there both go on unpaired.
func align(a, b []hardUnit) [][2]int {
	pairs := make([][2]int, 0, min(len(a), len(b)))
	i, j, left := 0, 0, maxProbes
	for i < len(a) && j < len(b) {
		if a[i].like(b[j]) {
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
			continue
		}
		di, dj, found := next(a[i:], b[j:], &left)
		switch {
		case found:
			i, j = i+di, j+dj
		case len(b)-j < len(a)-i: // the result ends early
			j++
		default:
			i, j = i+1, j+1
		}
	}
	return pairs
}

// next is the nearest place where two units and those after them are alike; near by, one tag that
// is alike is enough.
func next(a, b []hardUnit, left *int) (di, dj int, found bool) {
	one := [2]int{-1, -1}
	for sum := 1; sum <= lookAhead && *left > 0; sum++ {
		*left -= sum
		for di = 0; di <= sum; di++ {
			dj = sum - di
			if di >= len(a) || dj >= len(b) || !a[di].like(b[dj]) {
				continue
			}
			if a[di].sure() || di+1 == len(a) || dj+1 == len(b) || a[di+1].like(b[dj+1]) {
				return di, dj, true
			}
			if one[0] < 0 && sum <= nearBy && a[di].kind != unitText {
				one = [2]int{di, dj}
			}
		}
	}
	return one[0], one[1], one[0] >= 0
}
