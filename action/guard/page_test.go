package guard_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pageflare/ci/action/guard"
)

// siteOf is a site of these files, as the guard sees it.
func siteOf(t testing.TB, files map[string]string) *guard.Site {
	t.Helper()
	all := fstest.MapFS{}
	var names []string
	for name, content := range files {
		all[name] = &fstest.MapFile{Data: []byte(content)}
		names = append(names, name)
	}
	return guard.NewSite(guard.Config{Files: names, Read: func(name string) ([]byte, error) { return fs.ReadFile(all, name) }})
}

// document is a page of ordinary form around a body. Its indentation leaves something to save.
func document(body string) string {
	return "<!doctype html>\n<html lang=\"en\">\n  <head>\n    <meta charset=\"utf-8\">\n    <title>A page</title>\n  </head>\n  <body>\n" +
		body + "\n  </body>\n</html>\n"
}

// minified is document as the optimizer writes it.
func minified(body string) string {
	return `<!doctype html><html lang=en><meta name="generator" content="Pageflare 2026-11-29 01:25:31 UTC"><meta charset=utf-8><title>A page</title><body>` + body
}

// published is what of a page is published.
func published(v guard.Verdict, source, result string) string {
	switch v.Publish {
	case guard.PublishResult:
		return result
	case guard.PublishRepaired:
		return string(v.Repaired)
	}
	return source
}

func TestPages(t *testing.T) {
	t.Parallel()
	filler := "    " + strings.Repeat("<p>Words of a page.</p>\n    ", 12)
	shrunk := strings.Repeat("<p>Words of a page.", 12)
	for _, c := range []struct {
		name           string
		source, result string            // bodies
		site           map[string]string // other files of the site
		want           guard.Publication
		kind           guard.Kind // of a difference that is told; "" when none is
		key            string     // of that difference
		has, hasNot    string     // in what is published
	}{
		{
			name: "optional tags, quotes and indentation may go", want: guard.PublishResult,
			source: `    <p class="a  b" title='x'>One <b>two</b></p>`, result: `<p title=x class="a b">One <b>two</b>`,
		},
		{
			name: "blanks between links are put back", want: guard.PublishRepaired, kind: guard.KindText, key: guard.KeyHTML, has: `Home</a> <a`,
			source: `    <nav><a href="/">Home</a> <a href="/about/">About</a></nav>`, result: `<nav><a href=/>Home</a><a href=/about/>About</a></nav>`,
		},
		{
			name: "a blank at the end of bold text is put back", want: guard.PublishRepaired, kind: guard.KindText, has: `now</b> it`,
			source: `    <p><b>now</b> it is</p>`, result: `<p><b>now</b>it is`,
		},
		{
			name: "text that was cut off is put back", want: guard.PublishRepaired, kind: guard.KindText, has: "The end.",
			source: `    <p>Long story.</p><footer><p>The end.</p></footer>`, result: `<p>Long sto`,
		},
		{
			name: "blanks between items that a sheet shows inline stay", want: guard.PublishRepaired, kind: guard.KindText, has: "<li>one</li>\n<li>two",
			site:   map[string]string{"s.css": "nav li { display: inline-block }"},
			source: "    <ul>\n<li>one</li>\n<li>two</li>\n</ul>", result: "<ul><li>one<li>two</ul>",
		},
		{
			name: "blanks between items of a list are nothing", want: guard.PublishResult,
			source: "    <ul>\n      <li>one</li>\n      <li>two</li>\n    </ul>", result: "<ul><li>one<li>two</ul>",
		},
		{
			name: "white space that a sheet preserves is put back", want: guard.PublishRepaired, kind: guard.KindText, has: "a   b\nc",
			site:   map[string]string{"s.css": ".code { white-space: pre-wrap }"},
			source: "    <div class=\"code\">a   b\nc</div>", result: `<div class=code>a b c</div>`,
		},
		{
			name: "white space in a style attribute's element is put back", want: guard.PublishRepaired, kind: guard.KindText, has: "x   y",
			source: `    <span style="white-space:pre">x   y</span>`, result: `<span style=white-space:pre>x y</span>`,
		},
		{
			name: "links stay as they were", want: guard.PublishRepaired, kind: guard.KindLink, has: `<a href="https://other.example/">Other</a>`, hasNot: "nofollow",
			source: `    <p><a href="https://other.example/">Other</a></p>`,
			result: `<p><a rel="noopener noreferrer nofollow" class=pf-external href=https://other.example/ target=_blank>Other</a>`,
		},
		{
			name: "mail links work without scripts", want: guard.PublishRepaired, kind: guard.KindLink, has: `href="mailto:a@b.example"`, hasNot: "pf-href",
			source: `    <p><a href="mailto:a@b.example">mail</a></p>`,
			result: `<p><a class=pf-mail data-pf-href=bWFpbHRvOmFAYi5leGFtcGxl href=#>mail</a><script>(function(){document.querySelectorAll('[data-pf-href]')})()</script>`,
		},
		{
			name: "an inline icon keeps its size and its title", want: guard.PublishRepaired, kind: guard.KindIcon, key: guard.KeySVG,
			has:    `<svg width="20" height="20"`,
			source: `    <svg width="20" height="20" viewBox="0 0 20 20"><title>Icon</title><path id="p" d="M 0 0"/></svg>`, result: `<svg viewbox="0 0 20 20"><path d="M0 0"/></svg>`,
		},
		{
			name: "an empty value of a form stays", want: guard.PublishRepaired, kind: guard.KindAttribute, has: `value=""`,
			source: `    <form><input type="checkbox" name="a" value=""></form>`, result: `<form><input type=checkbox name=a></form>`,
		},
		{
			name: "marks that a framework hydrates by stay", want: guard.PublishRepaired, kind: guard.KindComment, has: `<!--$--><div id=root><!--[-->x<!--]--></div><!--/$-->`,
			source: `<!--$--><div id="root"><!--[-->x<!--]--></div><!--/$-->`, result: `<div id=root><!--[-->x<!--]--></div><!--/$-->`,
		},
		{
			name: "white space that a framework counts stays", want: guard.PublishRepaired, kind: guard.KindText, has: "<div> <p>x</p> </div>",
			source: `<!--[--><div> <p>x</p> </div><!--]-->`, result: `<!--[--><div><p>x</div><!--]-->`,
		},
		{
			name: "remarks of authors go", want: guard.PublishResult, hasNot: "remark",
			source: `    <!-- a remark of the author --><p>x</p>`, result: `<p>x`,
		},
		{
			name: "comments that servers include by stay", want: guard.PublishRepaired, kind: guard.KindComment, has: `<!--#include virtual="/foot.html" -->`,
			source: `    <p>x</p><!--#include virtual="/foot.html" -->`, result: `<p>x</p>`,
		},
		{
			name: "a style sheet keeps its media", want: guard.PublishRepaired, kind: guard.KindStyle, key: guard.KeyCritical, has: `media="print"`, hasNot: "display:none",
			source: `    <link rel="stylesheet" href="print.css" media="print"><p>x</p>`,
			result: `<style>body{display:none}</style><noscript><link href=print.css rel=stylesheet></noscript><link href=print.css rel="alternate stylesheet preload" as=style onload="this.rel='stylesheet'"><p>x`,
		},
		{
			name: "scripts run when they ran", want: guard.PublishRepaired, kind: guard.KindScript, key: guard.KeyDefer, has: `window.CFG`, hasNot: "data-loading-method",
			source: `    <script>window.CFG = { a: 1 }</script><script type="module" src="app.js"></script>`,
			result: `<script data-loading-method="user-interaction" data-src="data:text/javascript,window.CFG%20%3D"></script><script type=module src=app.js></script>`,
		},
		{
			name: "a hint to load a picture early may be added", want: guard.PublishRepaired, has: "rel=preload",
			source: `    <img src="a.png" alt="A">`, result: `<link as=image fetchpriority=high href=a.png rel=preload><img fetchpriority=high src=a.png alt=A>`,
		},
		{
			name: "a hint for a picture that the page may not show is left out", want: guard.PublishRepaired, hasNot: "preload",
			source: `    <picture><source srcset="b.webp"><img src="a.png" alt="A"></picture>`,
			result: `<link as=image fetchpriority=high href=a.png rel=preload><picture><source srcset=b.webp><img src=a.png alt=A></picture>`,
		},
		{
			name: "proportions of pictures are the author's", want: guard.PublishRepaired, kind: guard.KindAttribute, key: guard.KeyDimensions, hasNot: "width",
			source: `    <img src="a.png" alt="A">`, result: `<img src=a.png alt=A width=200 height=100>`,
		},
		{
			name: "an inline script never ends the element around it", want: guard.PublishRepaired, hasNot: "</script>`",
			source: `    <script>document.title = "<" + "/script>" ;</script>`, result: "<script>document.title=`</script>`;</script>",
		},
		{
			name: "inline code stays to the byte where a policy names its digest", want: guard.PublishRepaired, kind: guard.KindPolicy, has: `var x = 1 ;`,
			site:   map[string]string{"_headers": "/*\n  Content-Security-Policy: script-src 'sha256-LYNZCYZJnD8YyMPT0SJpq7Em5Q2G7YbdKaBNJvrgEeU='\n"},
			source: `    <script>var x = 1 ;</script>`, result: `<script>var x=1;</script>`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source, result := document(c.source+"\n"+filler), minified(c.result+shrunk)
			if strings.Contains(c.name, "cut off") {
				source, result = document(filler+c.source), minified(shrunk+c.result)
			}
			v := siteOf(t, c.site).Judge("index.html", []byte(source), []byte(result))
			got := published(v, source, result)
			if v.Publish != c.want {
				t.Errorf("Publish = %s, want %s; differences: %+v\n%s", v.Publish, c.want, v.Differences, got)
			}
			if c.has != "" && !strings.Contains(got, c.has) || c.hasNot != "" && strings.Contains(got, c.hasNot) {
				t.Errorf("published, want with %q and without %q:\n%s", c.has, c.hasNot, got)
			}
			if len(got) >= len(source) {
				t.Errorf("published %d bytes of %d, want fewer", len(got), len(source))
			}
			if c.kind != "" && !tells(v, c.kind, c.key) {
				t.Errorf("differences = %+v, want one of kind %s and key %q", v.Differences, c.kind, c.key)
			}
		})
	}
}

func tells(v guard.Verdict, kind guard.Kind, key string) bool {
	for _, d := range v.Differences {
		if d.Kind == kind && (key == "" || d.Key == key) {
			return true
		}
	}
	return false
}

func TestPagesThatArePublishedAsTheyWere(t *testing.T) {
	t.Parallel()
	deep := document(strings.Repeat("<div>", 100_000))
	many := document("<p " + strings.Repeat(`a="1" `, 1) + manyAttributes(1_000_000) + ">x</p>")
	for _, c := range []struct {
		name, source, result string
		kind                 guard.Kind
	}{
		{"a part of a page", "<tr><td>1</td></tr>\n", "<!doctype html><html><head></head><body>1</body></html>", guard.KindStructure},
		{"a verification file", "google-site-verification: google123.html", "<html><meta name=generator>google-site-verification: google123.html", guard.KindStructure},
		{"UTF-16", "\xff\xfe<\x00!\x00d\x00o\x00c\x00t\x00y\x00p\x00e\x00>\x00", "<!doctype html>", ""},
		{"a page with NUL bytes", document("<p>a\x00b</p>"), minified("<p>ab"), guard.KindCharset},
		{"a page in iso-2022-jp", strings.Replace(document("<p>x</p>"), "utf-8", "iso-2022-jp", 1), minified("<p>x"), guard.KindCharset},
		{"elements deeper than a parser goes", deep, minified("<div>"), ""},
		{"a million attributes", many, minified("<p>x"), guard.KindInvalid},
		{"an emptied page", document("<p>x</p>"), "", guard.KindMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := siteOf(t, nil).Judge("index.html", []byte(c.source), []byte(c.result))
			if v.Publish != guard.PublishSource || c.kind != "" && !tells(v, c.kind, "") {
				t.Errorf("Judge = %s %+v, want the source for kind %s", v.Publish, v.Differences, c.kind)
			}
		})
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d=1 ", i)
	}
	return b.String()
}

// In a legacy encoding an entity that became a letter in UTF-8 would be read as two.
func TestLettersOfALegacyEncodingStayAsTheyWere(t *testing.T) {
	t.Parallel()
	source := strings.Replace(document(strings.Repeat("  <p>caf&eacute; au lait, na\xefve</p>\n", 20)), "utf-8", "windows-1252", 1)
	result := strings.Replace(minified(strings.Repeat("<p>café au lait, na\xefve", 20)), "utf-8", "windows-1252", 1)
	v := siteOf(t, nil).Judge("index.html", []byte(source), []byte(result))
	got := published(v, source, result)
	if strings.Contains(got, "café") || !strings.Contains(got, "caf&eacute; au lait, na\xefve") {
		t.Errorf("published:\n%q", got)
	}
}

func TestAPageThatDoesNotShrinkIsPublishedAsItWas(t *testing.T) {
	t.Parallel()
	source := "<!doctype html><title>A</title><p>x"
	v := siteOf(t, nil).Judge("a.html", []byte(source), []byte(`<!doctype html><meta name="generator" content="Pageflare"><title>A</title><p>x`))
	if v.Publish != guard.PublishSource || !v.NoGain || len(v.Differences) > 0 {
		t.Errorf("Judge = %+v, want the source, since nothing was gained", v)
	}
}

func TestAPageHeldAgainstItselfIsTheSame(t *testing.T) {
	t.Parallel()
	page := []byte(document("<p>x</p>"))
	if v := siteOf(t, nil).Judge("a.html", page, page); v.Publish != guard.PublishResult || len(v.Differences) > 0 {
		t.Errorf("Judge = %+v, want the result", v)
	}
}

func TestAFileThatCannotBeReadCountsAsEmpty(t *testing.T) {
	t.Parallel()
	s := guard.NewSite(guard.Config{Files: []string{"a.css", "_headers"}, Read: func(string) ([]byte, error) { return nil, errors.New("gone") }})
	source, result := document(strings.Repeat("    <p>x</p>\n", 30)), minified(strings.Repeat("<p>x", 30))
	if v := s.Judge("a.html", []byte(source), []byte(result)); v.Publish != guard.PublishResult {
		t.Errorf("Judge = %+v, want the result", v)
	}
}

func TestAScriptThatAPageLoadsAsAModuleHasNoTopLevelNames(t *testing.T) {
	t.Parallel()
	script, renamed := "const counter = { value: 1 };\nwindow.start = () => counter.value;\n", "const c={value:1};window.start=()=>c.value;"
	for src, isModule := range map[string]bool{"app.js": true, "/js/app.js": true, "../js/app.js": true, "": false} {
		s := siteOf(t, nil)
		page := []byte(document(`<base href="/js/"><script type="module" src="` + src + `"></script>`))
		s.Judge("docs/index.html", page, []byte(minified("")))
		if v := s.Judge("js/app.js", []byte(script), []byte(renamed)); (v.Publish == guard.PublishResult) != isModule {
			t.Errorf("src %q: Judge = %s %+v, want the result: %v", src, v.Publish, v.Differences, isModule)
		}
	}
}

// The optimizer writes its mark before a head tag that it keeps, where browsers take the tag for none.
func TestAHeadWithAttributesKeepsThem(t *testing.T) {
	t.Parallel()
	const head = `<head prefix="og: http://ogp.me/ns#">`
	const mark = `<meta name="generator" content="Pageflare 2026-11-29 01:25:31 UTC">`
	source := strings.Replace(document(strings.Repeat("    <p>Words</p>\n", 12)), "<head>", head, 1)
	result := strings.Replace(minified(strings.Repeat("<p>Words", 12)), mark, mark+head, 1)
	v := siteOf(t, nil).Judge("index.html", []byte(source), []byte(result))
	want := strings.Replace(result, mark+head, head+mark, 1)
	if got := published(v, source, result); got != want {
		t.Errorf("published (%s) = %s\nwant %s; %v", v.Publish, got, want, v.Differences)
	}
}
