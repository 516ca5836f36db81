// Package guard decides whether an optimized site is still the same site. It holds each file
// against the source that it was made of, by what a visitor, a crawler and a script get: on parsed
// trees, never on patterns over text. It is pure: bytes in, a verdict with reasons out. Which files
// are read, and what is written for a verdict, is decided in action/optimize.
//
// A verdict says which bytes to publish: those of the optimizer, a repaired form of them
// (repair.go, and in packages sheet and script), or the source's. The rule behind it has no
// exception: what is published is either the source's own bytes or compares as equal to them.
//
// Source files of this package and those below it wrap at 100 columns, tables of tests aside.
//
// Where the comparisons are: pages in page.go, what pages embed and link in script.go, sheet.go,
// svg.go, data.go and picture.go; what holds across files in digest.go (integrity), reference.go
// (broken references) and policy.go (Content-Security-Policy).
package guard

import (
	"bytes"
	"path"
	"strings"

	"github.com/pageflare/ci/action/guard/sheet"
)

// Kind is what differs.
type Kind string

// The kinds of difference. docs/action.md lists them; a test holds the two equal.
const (
	KindText      Kind = "text"      // words that a visitor reads, or the white space between them
	KindMetadata  Kind = "metadata"  // doctype, title, meta, structured data
	KindStructure Kind = "structure" // elements that are gone, new or moved
	KindAttribute Kind = "attribute" // attributes of an element
	KindLink      Kind = "link"      // what links, forms and assets resolve to
	KindComment   Kind = "comment"   // comments that frameworks hydrate by
	KindScript    Kind = "script"    // what a script does or defines, when and how it is loaded
	KindStyle     Kind = "style"     // what style sheets say, and under which media
	KindIcon      Kind = "icon"      // SVG: ids, symbols, titles, size
	KindPicture   Kind = "picture"   // the picture, its orientation or its proportions
	KindData      Kind = "data"      // values of JSON and XML
	KindCharset   Kind = "charset"   // how the bytes are read
	KindIntegrity Kind = "integrity" // a digest somewhere in the site names other bytes
	KindPolicy    Kind = "policy"    // the site's own Content-Security-Policy would block it
	KindInvalid   Kind = "invalid"   // cannot be parsed, or not within the limits
	KindMissing   Kind = "missing"   // the optimizer wrote nothing, or an empty file
)

// Difference is one way in which a result is not the file that it was made of.
type Difference struct {
	Kind   Kind
	Detail string // for a person: `the script no longer defines "SITE"`
	Before string // excerpt of the source, at most maxExcerpt bytes; may be empty
	After  string // excerpt of the result, likewise
	Key    string // the key of pageflare.jsonc that causes it; "" when none can be named
}

// Publication says which bytes of a file are published.
type Publication string

// The publications.
const (
	PublishResult   Publication = "result"   // what the optimizer made
	PublishRepaired Publication = "repaired" // Verdict.Repaired: that, with what was lost put back
	PublishSource   Publication = "source"   // the file as it was
)

// Verdict is what becomes of one file, and why.
type Verdict struct {
	Publish     Publication
	Repaired    []byte       // with PublishRepaired
	Differences []Difference // of the optimizer's result; empty when it is the same

	// NoGain says, with PublishSource, that the result could have been published in a repaired
	// form, and is not because that would not be smaller than the source.
	NoGain bool
}

// Judge holds one file of the site against its source. path is that of the file in the site, with
// slashes. It does not fail and ends in bounded time: what cannot be parsed, and what is over the
// limits, is published as it was.
func (s *Site) Judge(path string, source, result []byte) Verdict {
	if bytes.Equal(source, result) {
		return Verdict{Publish: PublishResult}
	}
	if len(source) > MaxFile || len(result) > MaxFile {
		return refuse(Difference{Kind: KindInvalid, Detail: "larger than the guard compares"})
	}
	isEmptied := len(bytes.TrimSpace(result)) == 0 && len(bytes.TrimSpace(source)) > 0
	if isEmptied && !s.saysNothing(path, source) {
		return refuse(Difference{Kind: KindMissing, Detail: "the optimizer emptied the file", Key: keyOf(path)})
	}
	switch kindOf(path) {
	case asPage:
		return s.judgePage(path, source, result)
	case asScript:
		return judgeScript(source, result, s.isModule(path))
	case asSheet:
		return judgeSheet(source, result)
	case asIcon:
		return judge(compareSVG(source, result))
	case asJSON:
		return judgeJSON(source, result)
	case asXML:
		return judge(compareXML(source, result))
	case asPicture:
		return judge(comparePicture(path, source, result))
	}
	return refuse(Difference{Kind: KindData, Detail: "a file of a type that nobody may change was changed"})
}

// saysNothing says that a sheet or script is made of nothing but comments: it may be emptied.
func (s *Site) saysNothing(path string, source []byte) bool {
	switch kindOf(path) {
	case asScript:
		return len(compareScript(source, nil, s.isModule(path))) == 0
	case asSheet:
		return sheet.Empty(source)
	}
	return false
}

// judge publishes the result when nothing differs, and the source otherwise.
func judge(d []Difference) Verdict {
	if len(d) > 0 {
		return refuse(d...)
	}
	return Verdict{Publish: PublishResult}
}

func refuse(d ...Difference) Verdict { return Verdict{Publish: PublishSource, Differences: d} }

// MaxFile is the most bytes of a file that is compared; a larger one is published as it was.
const MaxFile = 32 << 20

// Limits that keep a hostile file from holding a run.
const (
	maxExcerpt = 120 // bytes of an excerpt
	maxReasons = 20  // differences told of one file
)

// fileKind is how a file is compared.
type fileKind int

const (
	asBytes fileKind = iota // byte for byte
	asPage
	asScript
	asSheet
	asIcon
	asJSON
	asXML
	asPicture
)

var kinds = map[string]fileKind{
	".html": asPage, ".htm": asPage, ".xhtml": asXML,
	".js": asScript, ".mjs": asScript, ".cjs": asScript, ".css": asSheet, ".svg": asIcon,
	".json": asJSON, ".webmanifest": asJSON, ".map": asJSON, ".xml": asXML, ".rss": asXML, ".atom": asXML,
	".png": asPicture, ".jpg": asPicture, ".jpeg": asPicture, ".gif": asPicture, ".webp": asPicture, ".avif": asPicture,
}

func kindOf(name string) fileKind { return kinds[strings.ToLower(path.Ext(name))] }

// The keys of pageflare.jsonc that cause what the guard finds (facts by trying each alone).
const (
	KeyHTML        = "minify_html"
	KeyJS          = "minify_js"
	KeyCSS         = "minify_css"
	KeyDefer       = "js_defer"
	KeyCritical    = "critical_css"
	KeySVG         = "optimize_svg"
	KeyImages      = "optimize_images"
	KeyDimensions  = "add_image_dimensions"
	KeyFonts       = "font_preload"
	KeyFontDisplay = "font_display_swap"
)

// keyOf is the key of the pass that writes files of this name.
func keyOf(name string) string {
	switch kindOf(name) {
	case asPage:
		return KeyHTML
	case asScript:
		return KeyJS
	case asSheet:
		return KeyCSS
	case asIcon:
		return KeySVG
	case asPicture:
		return KeyImages
	}
	return ""
}

// excerpt is a piece of a text that fits into a sentence.
func excerpt(s string) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "�")
	if len(s) <= maxExcerpt {
		return s
	}
	return strings.ToValidUTF8(s[:maxExcerpt-len("…")], "") + "…"
}
