//go:build e2e

package browser_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pageflare/ci/e2e/browser"
)

// page is a small page with one of each thing that the comparison looks at. The tests damage it in
// one place each.
const page = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Harbour</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="Two tides">
<link rel="canonical" href="https://saltmarsh.example/">
<link rel="stylesheet" href="/css/site.css">
<link rel="stylesheet" media="print" href="/css/print.css">
<script type="application/ld+json">{"@type": "Place", "id": 184467440737095516151234}</script>
</head><body>
<svg width="0" height="0"><symbol id="flag" viewBox="0 0 16 16"><path d="M3 1v14h9V1z" fill="#b4452f"/></symbol></svg>
<header><nav><a href="/">Home</a> <a href="/tides/">Tides</a> <a href="mailto:a@saltmarsh.example">Write</a></nav>
<svg id="icon" width="16" height="16"><use href="#flag"/></svg></header>
<main><h1>Harbour</h1><p>Two <b>bold</b> <i>words</i>.</p><pre>a
  b</pre><p class="keep">c   d</p>
<img src="/img/red.svg" width="40" height="30" alt="red">
<form action="/search/"><input name="q" required></form>
<button data-e2e-click onclick="count()">More</button> <output data-e2e-result>0</output></main>
<script src="/js/count.js"></script>
</body></html>
`

func site() map[string]string {
	return map[string]string{
		"index.html":    page,
		"css/site.css":  "body { color: #112233; background-image: url(../img/paper.svg) } .keep { white-space: pre }",
		"css/print.css": "nav { display: none }",
		"js/count.js":   "var n = 0; function count() { n++; document.querySelector('output').textContent = n }",
		"img/red.svg":   `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="red"/></svg>`,
		"img/blue.svg":  `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="blue"/></svg>`,
		"img/paper.svg": `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="2" height="2" fill="#eee"/></svg>`,
		"404.html":      "<!DOCTYPE html><title>Not here</title>",
	}
}

func TestEachDamageIsFound(t *testing.T) {
	b := start(t)
	inPage := func(old, new string) func(map[string]string) {
		return func(s map[string]string) {
			if !strings.Contains(s["index.html"], old) {
				panic("the page has no " + old)
			}
			s["index.html"] = strings.Replace(s["index.html"], old, new, 1)
		}
	}
	write := func(name, text string) func(map[string]string) {
		return func(s map[string]string) { s[name] = text }
	}
	tests := []struct {
		name   string
		damage func(map[string]string)
		want   []string // kinds, all of which must be there
	}{
		{"cut", inPage(`<form action="/search/">`, "</main></body></html><!--"), []string{"words", "forms", "click"}},
		{"words run together", inPage("</a> <a href=\"/tides/\">", "</a><a href=\"/tides/\">"), []string{"words"}},
		{"inline words run together", inPage("</b> <i>", "</b><i>"), []string{"words"}},
		{"code folded", inPage("a\n  b", "a b"), []string{"text whose white space counts"}},
		{"kept space folded", inPage("c   d", "c d"), []string{"text whose white space counts"}},
		{"script emptied", write("js/count.js", ""), []string{"click", "console"}},
		{"script missing", func(s map[string]string) { delete(s, "js/count.js") }, []string{"requests that fail", "click"}},
		{"script blocked by a digest", inPage(`src="/js/count.js"`, `src="/js/count.js" integrity="sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`), []string{"click", "console"}},
		{"blocked by a policy", write("_headers", "/*\n  Content-Security-Policy: script-src 'self'\n"), []string{"click", "console"}},
		{"print rules on screen", inPage(`media="print" `, ""), []string{"words", "landmarks", "styles"}},
		{"screen rules in print", inPage(`href="/css/site.css"`, `href="/css/site.css" media="screen"`), []string{"in print, styles of landmarks"}},
		{"print rules gone", inPage(`<link rel="stylesheet" media="print" href="/css/print.css">`, ""), []string{"in print, words"}},
		{"address of a sheet lost", inPage(`<link rel="stylesheet" href="/css/site.css">`, "<style>body { color: #112233; background-image: url(img/none.svg) } .keep { white-space: pre }</style>"), []string{"styles of landmarks", "requests that fail"}},
		{"colour", write("css/site.css", strings.Replace(site()["css/site.css"], "112233", "112244", 1)), []string{"styles of landmarks"}},
		{"icon wide", inPage(`<svg id="icon" width="16" height="16">`, `<svg id="icon">`), []string{"pictures"}},
		{"sprite gone", inPage(`<symbol id="flag"`, `<symbol id="a"`), []string{"pictures", "ids"}},
		{"icon repainted", inPage(`fill="#b4452f"`, ""), []string{"first screen"}},
		{"another picture", write("img/red.svg", site()["img/blue.svg"]), []string{"pictures"}},
		{"picture broken", write("img/red.svg", "<svg"), []string{"pictures"}},
		{"picture stretched", inPage(`width="40" height="30" alt`, `width="40" height="60" alt`), []string{"pictures"}},
		{"picture gone", inPage(`<img src="/img/red.svg" width="40" height="30" alt="red">`, ""), []string{"pictures"}},
		{"title", inPage("<title>Harbour", "<title>Haven"), []string{"title"}},
		{"language", inPage(` lang="en"`, ""), []string{"language"}},
		{"charset", inPage(`<meta charset="utf-8">`, ""), []string{"charset"}},
		{"description", inPage(`content="Two tides"`, `content="Two"`), []string{"meta"}},
		{"viewport", inPage("initial-scale=1", "initial-scale=2"), []string{"meta"}},
		{"canonical", inPage(`<link rel="canonical" href="https://saltmarsh.example/">`, ""), []string{"canonical"}},
		{"number rounded", inPage("184467440737095516151234", "184467440737095500000000"), []string{"structured data"}},
		{"link", inPage("mailto:a@saltmarsh.example", "#"), []string{"links"}},
		{"field", inPage(" required", ""), []string{"forms"}},
		{"console", inPage("</body>", "<script>console.error('broken', 1)</script></body>"), []string{"console"}},
		{"exception", inPage("</body>", "<script>nothing.at.all</script></body>"), []string{"console"}},
		{"another host", inPage("</body>", "<script src='https://cdn.example/x.js'></script></body>"), []string{"requests that fail"}},
		{"compressed sibling of nothing", func(s map[string]string) { s["index.html.gz"] = "\x1f\x8b" }, []string{"words"}},
	}
	want := look(t, b, site(), "/")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := site()
			tt.damage(s)
			found := differences(t, b, want, s)
			for _, kind := range tt.want {
				if !strings.Contains(found, kind) {
					t.Errorf("found:\n%s\nwant %q too", found, kind)
				}
			}
		})
	}
}

func TestWhatNobodySeesIsNoDifference(t *testing.T) {
	b := start(t)
	tests := []struct {
		name   string
		change func(map[string]string)
	}{
		{"nothing", func(map[string]string) {}},
		{"space between blocks, comments, a generator", func(s map[string]string) {
			s["index.html"] = strings.NewReplacer("\n<main>", "<main>", "<body>", `<body><!-- x -->`, "<title>", `<meta name="generator" content="x"><title>`).Replace(s["index.html"])
		}},
		{"sheet and script minified", func(s map[string]string) {
			s["css/site.css"] = "body{color:#123;background-image:url(../img/paper.svg)}.keep{white-space:pre}"
			s["js/count.js"] = "var n=0;function count(){document.querySelector('output').textContent=++n}"
		}},
		{"viewport without spaces", func(s map[string]string) { s["index.html"] = strings.Replace(s["index.html"], "width, ", "width,", 1) }},
		{"structured data without spaces", func(s map[string]string) {
			s["index.html"] = strings.Replace(s["index.html"], `"Place", `, `"Place",`, 1)
		}},
	}
	want := look(t, b, site(), "/")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := site()
			tt.change(s)
			if found := differences(t, b, want, s); found != "" {
				t.Errorf("found:\n%s", found)
			}
		})
	}
}

// A host that both sides ask in vain is no difference, and nobody is asked but the proxy.
func TestAnotherHostIsRefusedOnBothSides(t *testing.T) {
	b := start(t)
	s := site()
	s["index.html"] = strings.Replace(s["index.html"], "</body>", "<script src='https://cdn.example/x.js'></script><img src='http://127.0.0.1:8099/x.png' alt=''></body>", 1)
	before := look(t, b, s, "/")
	if len(before.Failures) != 2 {
		t.Errorf("failures = %q, want both hosts", before.Failures)
	}
	if found := differences(t, b, before, s); found != "" {
		t.Errorf("found:\n%s", found)
	}
}

// What a service worker stores is compared: a worker that gives up on a digest stores less.
func TestServiceWorkersAreComparedByWhatTheyStore(t *testing.T) {
	b := start(t)
	s := site()
	s["index.html"] = strings.Replace(s["index.html"], "</body>", "<script>navigator.serviceWorker.register('/sw.js')</script></body>", 1)
	s["sw.js"] = "addEventListener('install', e => e.waitUntil(caches.open('a').then(c => c.addAll(['/css/site.css', '/img/red.svg']))))"
	before := look(t, b, s, "/")
	if got := strings.Join(before.Stored, " "); got != "/css/site.css /img/red.svg" {
		t.Fatalf("stored = %q", got)
	}
	after := maps.Clone(s)
	after["sw.js"] = strings.Replace(s["sw.js"], ", '/img/red.svg'", "", 1)
	if found := differences(t, b, before, after); !strings.Contains(found, "stored by the service worker") {
		t.Errorf("found:\n%s", found)
	}
}

func TestPagesAreChosenByNameAndSize(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"index.html": "1", "a/index.html": "1", "b.html": "1", "c/big.html": "12345", "d.html": "1", "x.txt": "", "e/f.htm": ""})
	for limit, want := range map[int]string{9: "/a/ /b.html /c/big.html /d.html /", 3: "/a/ /c/big.html"} {
		got, err := browser.Pages(dir, limit)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("limit %d: pages = %q, %v; want %s", limit, got, err, want)
		}
	}
}

func start(t *testing.T) *browser.Browser {
	t.Helper()
	b, err := browser.Start(context.WithoutCancel(t.Context())) // it ends after the subtests, which run when this function is over
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func look(t *testing.T, b *browser.Browser, files map[string]string, at string) *browser.Snapshot {
	t.Helper()
	s, err := b.Open(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	snapshot, err := s.Look(context.WithoutCancel(t.Context()), at)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func differences(t *testing.T, b *browser.Browser, before *browser.Snapshot, after map[string]string) string {
	t.Helper()
	var lines []string
	for _, d := range browser.Compare(before, look(t, b, after, "/")) {
		lines = append(lines, d.String())
	}
	return strings.Join(lines, "\n")
}
