package guard

import (
	"bytes"
	"strings"
)

// judgePage holds a page against its source. What the optimizer lost is put back first (repair.go);
// what comes of that is published only if it is smaller than the source and the same page.
func (s *Site) judgePage(path string, source, result []byte) Verdict {
	was, err := cut(source)
	if err != nil {
		return refuse(Difference{Kind: KindInvalid, Detail: "the page cannot be compared: it " + err.Error()})
	}
	if !isDocument(was) {
		return refuse(Difference{Kind: KindStructure, Detail: "a part of a page, or a file that is none, was made a page of", Key: KeyHTML})
	}
	s.noteModules(path, was)
	enc := encodingOf(source)
	if !enc.comparable {
		return refuse(Difference{Kind: KindCharset, Detail: "the page is written in " + enc.name + ", which the optimizer takes for UTF-8"})
	}
	is, err := cut(result)
	if err != nil {
		return refuse(Difference{Kind: KindInvalid, Detail: "the optimized page cannot be compared: it " + err.Error(), Key: KeyHTML})
	}
	sp := s.spacingOf(source, was)
	r := &repair{
		site: s, path: path, sp: &sp, source: was, result: is, removed: removedTags(was, &sp), utf8: enc.utf8,
		policy: s.policies.For(path, metaPolicies(was)),
	}
	return r.judge(source, result)
}

// judge tries the repair that keeps the most, then the one that keeps all of the source's tags.
func (r *repair) judge(source, result []byte) Verdict {
	var last *Difference
	for _, r.allTags = range []bool{false, true} {
		published := r.merge(len(source))
		if len(published) >= len(source) || blank(published) {
			return Verdict{Publish: PublishSource, Differences: r.notes.list(), NoGain: true}
		}
		if last = sameEncoding(source, published); last == nil {
			last = comparePages(source, published, r.sp)
		}
		switch {
		case last != nil:
		case bytes.Equal(published, result):
			return Verdict{Publish: PublishResult}
		default:
			return Verdict{Publish: PublishRepaired, Repaired: published, Differences: r.notes.list()}
		}
	}
	return Verdict{Publish: PublishSource, Differences: append([]Difference{*last}, r.notes.list()...)}
}

// isDocument tells a page from a part of one, a template or a verification file of a search engine:
// a page has a doctype or one of the tags that only pages have.
func isDocument(units []unit) bool {
	for i := range units {
		switch u := &units[i]; u.kind {
		case unitDoctype:
			return true
		case unitOpen:
			return u.name == "html" || u.name == "head" || u.name == "body"
		case unitBlob:
			return false
		case unitText:
			if !blank(u.raw) && !bytes.Equal(u.raw, []byte("\uFEFF")) {
				return false
			}
		}
	}
	return false
}

// noteModules remembers which scripts the page loads as modules.
func (s *Site) noteModules(path string, units []unit) {
	base := ""
	for i := range units {
		u := &units[i]
		switch {
		case u.kind == unitOpen && u.name == "base" && base == "":
			base = value(u.attrs, "href")
		case u.kind == unitBlob && u.name == "script" && strings.EqualFold(value(u.attrs, "type"), "module") && has(u.attrs, "src"):
			s.noteModule(path, base, value(u.attrs, "src"))
		}
	}
}

// metaPolicies are the policies that the page itself declares.
func metaPolicies(units []unit) (all []string) {
	for i := range units {
		u := &units[i]
		if u.kind == unitOpen && u.name == "meta" && strings.EqualFold(strings.TrimSpace(value(u.attrs, "http-equiv")), "content-security-policy") {
			all = append(all, value(u.attrs, "content"))
		}
	}
	return all
}

// sameEncoding says whether both pages are read the same way.
func sameEncoding(source, result []byte) *Difference {
	was, is := encodingOf(source), encodingOf(result)
	if was.name == is.name {
		return nil
	}
	return &Difference{Kind: KindCharset, Detail: "the page is read as " + is.name + " instead of " + was.name, Key: KeyHTML}
}
