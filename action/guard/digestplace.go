package guard

import (
	"bytes"
	"cmp"
	"path"
	"strings"

	"golang.org/x/net/html"
)

// Where a digest stands decides whether it may be replaced. It may not where that could break what
// holds now: in signed files, in names of files, in what a Content-Security-Policy lists, and where
// the digest may be meant for a copy of the file on another host.

// placeReader judges the digests in one text.
type placeReader struct {
	d      *Digests
	path   string
	text   []byte
	fixed  string // why nothing in the file can be replaced; "" when it can
	tags   []tagPlace
	parsed bool
}

// tagPlace is a tag that can hold a digest.
type tagPlace struct {
	start, end int
	integrity  string // the attribute
	asset      string // src or href
	foreign    bool   // the asset is on another host
	policy     bool   // a meta element that sets a policy
}

func (d *Digests) reader(name string, text []byte) *placeReader {
	return &placeReader{d: d, path: name, text: text, fixed: d.whyFixed(name, text)}
}

// whyFixed says why nothing in a file can be replaced.
func (d *Digests) whyFixed(name string, text []byte) string {
	ext := strings.ToLower(path.Ext(name))
	kind := kindOf(name)
	base := path.Base(name)
	switch {
	case (kind == asBytes || kind == asPicture) && !writable[ext] && !strings.HasSuffix(base, "SUMS"):
		return "the file is of a type that is not rewritten"
	case bytes.IndexByte(text, 0) >= 0 || isWide(text):
		return "the file is not a text in UTF-8"
	case kind != asPage && kind != asScript && kind != asSheet && isSigned(text):
		return "the file is signed"
	}
	for _, ending := range signatures {
		if d.isPath[name+ending] {
			return "the file is signed"
		}
	}
	return ""
}

// signatures are the endings of files that sign the file of the same name.
var signatures = []string{
	".asc", ".sig", ".sign", ".minisig", ".p7s", ".sigstore", ".sigstore.json", ".signature",
}

func isSigned(text []byte) bool {
	for _, mark := range []string{"-----BEGIN ", `"signature"`, `"signatures"`, "SignatureValue>"} {
		if bytes.Contains(text, []byte(mark)) {
			return true
		}
	}
	return false
}

// judge says whether a digest names the file, and if so, why it cannot be replaced.
func (r *placeReader) judge(f found) (blocked string, names bool) {
	if r.fixed != "" {
		return r.fixed, true
	}
	if n := r.d.names[string(r.text[f.start:f.end])]; n != nil {
		if n.areAt(r.text, f.start) {
			return "", false // part of the name of a file
		}
		return "it may be part of the name of a file", true
	}
	switch {
	case f.percent:
		return "it is part of a URL", true
	case f.inBlob:
		return "it is part of encoded data", true
	case f.url && f.std:
		return "it is not written as digests are", true
	case kindOf(r.path) == asJSON && r.follows(f, "'"+algorithmNames[f.algorithm]+"-"):
		return "it stands in a Content-Security-Policy", true
	}
	if kindOf(r.path) == asPage {
		if tag := r.tagAround(f); tag != nil {
			return r.judgeTag(tag, f)
		}
	}
	if hasForeignURL(r.text[max(0, f.start-foreignNear):min(len(r.text), f.end+foreignNear)]) {
		return "it may belong to a file on another host", true
	}
	return "", true
}

// judgeTag judges a digest inside a tag. A digest for another host does not name our file, unless
// that host may have it from us: then the names are the same.
func (r *placeReader) judgeTag(tag *tagPlace, f found) (blocked string, names bool) {
	switch {
	case tag.policy:
		return "it stands in a Content-Security-Policy", true
	case !tag.foreign:
		return "", true
	}
	asset := path.Base(decodePath(parseURL(tag.asset).path))
	for _, file := range r.d.groups[f.group].files {
		if path.Base(r.d.files[file].path) == asset {
			return "it belongs to a file of the same name on another host", true
		}
	}
	inIntegrity := strings.Contains(tag.integrity, string(r.text[f.start:f.end]))
	return "it may belong to a file on another host", !inIntegrity
}

// isChecked reports whether a digest is written as browsers check it: sha256-… and the like, in
// attributes, import maps, and lists from which scripts load files.
func (r *placeReader) isChecked(f found) bool {
	return r.follows(f, algorithmNames[f.algorithm]+"-")
}

// follows reports whether a digest comes right after this, in any case: 'sha256-… in a policy.
func (r *placeReader) follows(f found, before string) bool {
	start := f.start - len(before)
	return start >= 0 && hasLower(r.text[start:], before)
}

// foreignNear is how far from a digest a URL can stand that it belongs to.
const foreignNear = 200

func hasForeignURL(text []byte) bool {
	for _, mark := range []string{"://", `:\/\/`, `"//`, `'//`, "`//"} {
		if bytes.Contains(text, []byte(mark)) {
			return true
		}
	}
	return false
}

// tagAround is the tag in which a digest stands, nil where it stands in none that matters.
func (r *placeReader) tagAround(f found) *tagPlace {
	if !r.parsed {
		r.parsed = true
		r.findTags()
	}
	for len(r.tags) > 0 && r.tags[0].end < f.end {
		r.tags = r.tags[1:] // digests come in order
	}
	if len(r.tags) > 0 && r.tags[0].start <= f.start {
		return &r.tags[0]
	}
	return nil
}

// findTags lists the tags with an integrity attribute and those that set a policy.
func (r *placeReader) findTags() {
	at := pagePlace(r.path, r.text)
	z := html.NewTokenizer(bytes.NewReader(r.text))
	for offset := 0; ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			return
		}
		start := offset
		offset += len(z.Raw())
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		name, more := z.TagName()
		if !more {
			continue
		}
		isMeta := string(name) == "meta"
		attributes := attributesOf(z)
		tag := tagPlace{
			start: start, end: offset, integrity: attributes["integrity"],
			asset:  cmp.Or(attributes["src"], attributes["href"]),
			policy: isMeta && isPolicyHeader(attributes["http-equiv"]),
		}
		if tag.policy || tag.integrity != "" {
			tag.foreign = tag.asset != "" && !at.resolve(tag.asset).local()
			r.tags = append(r.tags, tag)
		}
	}
}
