package guard_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pageflare/ci/action/guard"
)

func targets(refs []guard.Reference) []string {
	var names []string
	for _, ref := range refs {
		names = append(names, ref.Target)
	}
	return names
}

func TestReferences(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, page, text string
		want             []string
	}{
		{"pictures, scripts and sheets", "a/b.html", `<img src=x.png><script src="/s.js"></script><link rel=stylesheet href=../c.css>`,
			[]string{"a/x.png", "s.js", "c.css"}},
		{"every candidate of a srcset", "i.html", `<img srcset="a.png 1x, b,c.png 2x,d.png"><picture><source srcset=" e.webp , f.webp 100w">`,
			[]string{"a.png", "b,c.png", "d.png", "e.webp", "f.webp"}},
		{"links that load something", "i.html", `<link rel="shortcut icon" href=1><link rel=preload href=2 imagesrcset="3 1x"><link rel=modulepreload href=4>` +
			`<link rel=manifest href=5><link rel=apple-touch-icon href=6>`, []string{"1", "2", "3", "4", "5", "6"}},
		{"links that load nothing", "i.html", `<a href=1>x</a><link rel=canonical href=2><link rel=next href=3><area href=4><form action=5>`, nil},
		{"films, sounds and frames", "i.html", `<video src=1 poster=2><source src=3><track src=4></video><audio src=5></audio>` +
			`<object data=6></object><embed src=7><iframe src=8></iframe><input type=IMAGE src=9><input src=10>`,
			[]string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}},
		{"the file of an SVG reference", "i.html", `<svg><use href="s.svg#a"/><use xlink:href="#b"/><image href="p.png"/></svg>`, []string{"s.svg", "p.png"}},
		{"style attributes and style elements", "i.html", `<p style="background:url('a b.png')"><style>@import "x.css"; p{background:url(y.png)}</style>`,
			[]string{"a b.png", "x.css", "y.png"}},
		{"noscript counts", "i.html", `<noscript><img src=x.png></noscript>`, []string{"x.png"}},
		{"templates and comments do not", "i.html", `<template><img src={{a}}></template><!-- <img src=b> --><script>"<img src=c>"</script>`, nil},
		{"entities are decoded", "i.html", `<img src="a&amp;b.png">`, []string{"a&b.png"}},
		{"percent signs are decoded", "i.html", `<img src="a%20b.png"><img src="%C3%A4.png"><img src="100%.png">`, []string{"a b.png", "ä.png", "100%.png"}},
		{"blanks around are cut off", "i.html", "<img src=\"\n x.png \t\">", []string{"x.png"}},
		{"query and fragment are dropped", "i.html", `<img src="x.png?v=1#f">`, []string{"x.png"}},
		{"backslashes are slashes", "i.html", `<img src="a\b.png">`, []string{"a/b.png"}},
		{"each once", "i.html", `<img src=x.png><img src=./x.png>`, []string{"x.png"}},
		{"other hosts and data are left out", "i.html", `<img src=//h/x><img src="https://h/x"><img src=data:,x><img src="blob:x"><img src="about:blank"><img src="">`, nil},
		{"the own host by the canonical link", "i.html", `<link rel=canonical href="https://Own.example/i.html"><img src="https://own.example/x.png"><img src="https://other.example/y.png">`,
			[]string{"x.png"}},
		{"the base element", "a/b.html", `<base href="/c/"><img src=x.png><img src=/y.png>`, []string{"c/x.png", "y.png"}},
		{"a base with a host of its own is the site", "a/b.html", `<base href="https://own.example/c/"><img src=x.png>`, []string{"c/x.png"}},
		{"a base on another host than the canonical link", "a/b.html", `<link rel=canonical href="https://own.example/"><base href="https://cdn.example/c/"><img src=x.png>`, nil},
		{"never above the root", "a/b.html", `<img src="../../../etc/passwd"><img src="/..%2f../x"><img src="%2e%2E/y">`, []string{"etc/passwd", "..%2f../x", "y"}},
		{"a legacy charset", "i.html", "<meta charset=windows-1252><img src=\"\xe4.png\">", []string{"ä.png"}},
		{"letters of another legacy charset are not judged", "i.html", "<meta charset=windows-1251><img src=\"\xe4.png\"><img src=a.png>", []string{"a.png"}},
		{"a page with a percent sign in its folder", "50%25/i.html", `<img src=x.png>`, []string{"50%25/x.png"}},
		{"a folder", "a/i.html", `<iframe src="../"></iframe><iframe src="sub/"></iframe>`, []string{"", "a/sub/"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := targets(guard.References(tt.page, []byte(tt.text)))
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("References(%q) (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestSheetReferences(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []string
	}{
		{"url with and without quotes", `a{b:url(1.png)}c{d:url( "2.png" )}e{f:URL('3.png')}`, []string{"css/1.png", "css/2.png", "css/3.png"}},
		{"imports", `@charset "utf-8";@import "1.css" screen;@import url(2.css);`, []string{"css/1.css", "css/2.css"}},
		{"relative to the sheet", `a{b:url(../img/x.png)}`, []string{"img/x.png"}},
		{"image sets", `a{b:image-set("1.png" 1x, url(2.png) 2x)}c{content:"3.png"}`, []string{"css/1.png", "css/2.png"}},
		{"escapes", `a{b:url(a\20 b.png)}c{d:url("\000041.png")}`, []string{"css/a b.png", "css/A.png"}},
		{"namespaces and fragments name no file", `@namespace svg url(n);a{filter:url(#f)}b{c:url()}`, nil},
		{"comments and strings do not count", `/* url(1) */a{content:"url(2)"}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := targets(guard.SheetReferences("css/a.css", []byte(tt.text)))
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("SheetReferences(%q) (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	site := []string{"index.html", "about.html", "blog/index.html", "img/ä b.png"}
	has := func(name string) bool { return slices.Contains(site, name) }
	tests := []struct {
		name, src string
		missing   bool
	}{
		{"a file that is there", "/img/%C3%A4%20b.png", false},
		{"a file that is not", "/img/c.png", true},
		{"the start page", "/", false},
		{"a folder with a page", "/blog/", false},
		{"a folder without its slash", "/blog", false},
		{"a folder without a page", "/img/", true},
		{"a page without its extension", "/about", false},
		{"below the path of a project", "/project/about.html", false},
		{"a relative reference has no such path", "project/about.html", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refs := guard.References("index.html", []byte(`<iframe src="`+tt.src+`"></iframe>`))
			if got := len(guard.Missing(refs, has)) > 0; got != tt.missing {
				t.Errorf("Missing(%v) = %v, want %v", refs, got, tt.missing)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, base, ref, want string
		local                 bool
	}{
		{"a relative path", "", "c.html?q=1#f", "/a/c.html?q=1#f", true},
		{"the page itself", "", "", "/a/b.html", true},
		{"a fragment of it", "", "#top", "/a/b.html#top", true},
		{"a query of it", "", "?x", "/a/b.html?x", true},
		{"two spellings of a path", "", "./d/../%63.html", "/a/c.html", true},
		{"an encoded slash is no slash", "", "c%2fd", "/a/c%2Fd", true},
		{"an encoded question mark is none", "", "c%3fd", "/a/c%3Fd", true},
		{"a blank in both spellings", "", "c%20d e", "/a/c%20d%20e", true},
		{"tabs and line feeds are dropped", "", "c\n.ht\tml", "/a/c.html", true},
		{"above the root", "", "../../../x", "/x", true},
		{"another host", "", "HTTPS://Host.example:443/x/../y", "https://host.example/y", false},
		{"another host with its own scheme left out", "", `\\host.example`, "//host.example/", false},
		{"user and password lead nowhere else", "", "https://own.example@evil.example/", "https://evil.example/", false},
		{"mail", "", "mailto:a@b.example", "mailto:a@b.example", false},
		{"a script", "", " JavaScript:go()", "javascript:go()", false},
		{"a scheme without slashes is relative", "", "https:c.html", "/a/c.html", true},
		{"a base folder", "/z/", "c.html", "/z/c.html", true},
		{"a base on the own host", "https://own.example/z/", "https://own.example/q", "/q", true},
		{"a fragment under a base", "/z/", "#f", "/z/#f", true},
		{"a drive letter is a scheme", "", "c:/x", "c:/x", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, local := guard.Resolve("a/b.html", tt.base, tt.ref)
			if got != tt.want || local != tt.local {
				t.Errorf("Resolve(%q, %q) = %q, %v, want %q, %v", tt.base, tt.ref, got, local, tt.want, tt.local)
			}
		})
	}
}

// No reference leaves the site, whatever a page writes.
func FuzzReferences(f *testing.F) {
	f.Add("a/b.html", "<base href=/x/><img src='..%2f../y' srcset='a 1x,b'><style>@import 'c'</style>", "../%2e%2e/z")
	f.Add("i.html", "<link rel=canonical href=https://o/><img src=https://o/../x>", `\\o\..\x`)
	f.Fuzz(func(t *testing.T, page, text, ref string) {
		refs := append(guard.References(page, []byte(text)), guard.SheetReferences(page, []byte(text))...)
		for _, r := range refs {
			if strings.HasPrefix(path.Clean(r.Target), "../") && !strings.Contains(page, "..") {
				t.Errorf("%q resolves to %q", r.Raw, r.Target)
			}
		}
		guard.Missing(refs, func(string) bool { return false })
		target, local := guard.Resolve(page, "", ref)
		if local && !strings.HasPrefix(target, "/") {
			t.Errorf("Resolve(%q, %q) = %q, want an absolute path", page, ref, target)
		}
		if again, _ := guard.Resolve(page, "", target); local && again != target && !strings.HasPrefix(target, "//") {
			t.Errorf("Resolve(%q) = %q, which resolves to %q", ref, target, again)
		}
	})
}

func BenchmarkReferences(b *testing.B) {
	text := []byte("<link rel=canonical href=https://o/>" +
		strings.Repeat(`<p class="x">Words of a paragraph, about as many as usual.</p><img src="/img/x.png" srcset="/a.png 1x, /b.png 2x">`, 500))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		guard.References("a/b.html", text)
	}
}
