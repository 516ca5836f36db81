package guard_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pageflare/ci/action/guard"
)

// pair is a page of ordinary length that begins with this body, and its optimized form with
// another.
func pair(css, was, is string) (source, result string) {
	head := ""
	if css != "" {
		head = "<style>" + css + "</style>"
	}
	return document(head + was + "    " + strings.Repeat("<p>Words of a page.</p>\n    ", 12)),
		minified(head + is + strings.Repeat("<p>Words of a page.", 12))
}

func TestWhatReadsAnotherWayIsNotPublished(t *testing.T) {
	t.Parallel()
	const beside, pressed = "<div>foo <div class=f>x</div> bar</div>", "<div>foo<div class=f>x</div>bar</div>"
	const apart, together = "<div class=f>foo</div> <div class=f>x</div>", "<div class=f>foo</div><div class=f>x</div>"
	const kept, folded = "<p class=f>a  b\n c</p>", "<p class=f>a b c</p>"
	for _, c := range []struct{ name, css, was, is string }{
		{"a meta element among words", "", "<b>By</b> <meta itemprop=a content=b> <b>X</b>", "<b>By</b><meta itemprop=a content=b><b>X</b>"},
		{"a link element among words", "", "<b>By</b> <link itemprop=a href=b> <b>X</b>", "<b>By</b><link itemprop=a href=b><b>X</b>"},
		{"a hidden block", "", "<div>foo <div hidden>x</div> bar</div>", "<div>foo<div hidden>x</div>bar</div>"},
		{"a block that its style hides", "", "<div>foo <div style=display:none>x</div> bar</div>", "<div>foo<div style=display:none>x</div>bar</div>"},
		{"a closed dialog", "", "<div>foo <dialog>x</dialog> bar</div>", "<div>foo<dialog>x</dialog>bar</div>"},
		{"a popover", "", "<div>foo <div popover>x</div> bar</div>", "<div>foo<div popover>x</div>bar</div>"},
		{"a block hidden under some media", "@media print{.f{display:none}}", beside, pressed},
		{"a block that floats", ".f{float:right}", beside, pressed},
		{"a positioned block", ".f{position:absolute}", beside, pressed},
		{"a block made inline by initial", ".f{display:initial}", apart, together},
		{"a block made inline by all", ".f{all:unset}", apart, together},
		{"capitals in a sheet", ".f{DISPLAY:INLINE}", apart, together},
		{"an escaped class", `.md\:inline{display:inline}`, strings.ReplaceAll(apart, "=f", "=md:inline"), strings.ReplaceAll(together, "=f", "=md:inline")},
		{"a class escaped by its number", `.\31 f{display:inline}`, strings.ReplaceAll(apart, "=f", "=1f"), strings.ReplaceAll(together, "=f", "=1f")},
		{"an escaped property", `.f{wh\69te-space:pre}`, kept, folded},
		{"capitals that preserve white space", ".f{WHITE-SPACE:PRE}", kept, folded},
		{"capitals in a style", "", "<p style=WHITE-SPACE:PRE>a  b\n c</p>", "<p style=WHITE-SPACE:PRE>a b c</p>"},
		{"a nested rule", ".o{.f{white-space:pre}}", kept, folded},
		{"an attribute that an own element reads", "", `<my-tabs selected="2">a</my-tabs>`, `<my-tabs selected>a</my-tabs>`},
		{"an attribute that a style sheet may read", "", `<div open="2">a</div>`, `<div open>a</div>`},
		{"a class with a blank of another kind", "", "<p class='a\u00a0b'>a</p>", "<p class='a b'>a</p>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source, result := pair(c.css, c.was, c.is)
			v := siteOf(t, nil).Judge("index.html", []byte(source), []byte(result))
			if got := published(v, source, result); v.Publish == guard.PublishResult || strings.Contains(got, c.is) {
				t.Errorf("published in the form %s:\n%s", v.Publish, got)
			}
		})
	}
}

func TestAHintNamesNothingBesideThePicture(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"imagesrcset=//example.org/b.png", "media=print", "crossorigin", "onload=f()", "rel=preconnect"} {
		source, result := pair("", "<img src=/a.png>", "<link href=/a.png as=image "+more+" rel=preload><img src=/a.png>")
		v := siteOf(t, nil).Judge("index.html", []byte(source), []byte(result))
		if got := published(v, source, result); strings.Contains(got, more) {
			t.Errorf("published in the form %s:\n%s", v.Publish, got)
		}
	}
}

// What is beside a block that takes no place, within another, is no less free than before.
func TestWhiteSpaceThatShowsNowhereMayGo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, css, was, is string }{
		{"beside a floating block", ".f{float:right}", "<div>\n <div class=f> x </div>\n <div>y</div> </div>", "<div><div class=f>x</div><div>y</div></div>"},
		{"a float elsewhere", ".g{float:right}", "<div>foo <div class=f>x</div> bar</div>", "<div>foo<div class=f>x</div>bar</div>"},
		{"a presence that counts", "", `<option selected="selected">a</option>`, "<option selected>a</option>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source, result := pair(c.css, c.was, c.is)
			v := siteOf(t, nil).Judge("index.html", []byte(source), []byte(result))
			if got := published(v, source, result); !strings.Contains(got, c.is) {
				t.Errorf("published in the form %s, for %+v:\n%s", v.Publish, v.Differences, got)
			}
		})
	}
}

// Each of these took the square of its size: minutes at this size, or more memory than there is.
func TestHostilePagesAreJudgedInOnePass(t *testing.T) {
	t.Parallel()
	const n = 60_000
	var rules strings.Builder
	for i := range n {
		fmt.Fprintf(&rules, ".f.a%d{white-space:pre;display:inline}.b%d{float:left}", i, i)
	}
	for _, c := range []struct{ name, css, body string }{
		{"rules by elements", rules.String(), strings.Repeat("<p class='f x'>a</p>\n", n/8)},
		{"selectors by declarations", strings.Repeat("a,", n) + "b{" + strings.Repeat("display:inline;", n) + "}", "<p>a"},
		{"rules within rules", strings.Repeat("a{display:inline;", n/8), "<p>a"},
		{"icons without an end", "", strings.Repeat("<svg><g>\n", n)},
		{"formulas without an end", "", strings.Repeat("<math>\n", n)},
		{"remarks in a row", "", strings.Repeat("<!--ab cd-->\n", n)},
		{"comments in a row", "", strings.Repeat("<!--$-->\n", n)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source, result := document(c.body), minified(c.body)
			siteOf(t, map[string]string{"a.css": c.css}).Judge("index.html", []byte(source), []byte(result))
		})
	}
}
