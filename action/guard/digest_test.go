package guard_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/guard"
)

// files are the files of a site by their paths.
type files map[string]string

// digestForms write a digest of a content in all the ways that the guard knows.
var digestForms = map[string]func(content string) string{
	"md5 in hexadecimal":    func(c string) string { s := md5.Sum([]byte(c)); return hex.EncodeToString(s[:]) },
	"md5 in base64":         func(c string) string { s := md5.Sum([]byte(c)); return base64.StdEncoding.EncodeToString(s[:]) },
	"sha1 in hexadecimal":   func(c string) string { s := sha1.Sum([]byte(c)); return hex.EncodeToString(s[:]) },
	"sha256 in hexadecimal": func(c string) string { s := sha256.Sum256([]byte(c)); return hex.EncodeToString(s[:]) },
	"sha256 in capitals":    func(c string) string { s := sha256.Sum256([]byte(c)); return fmt.Sprintf("%X", s) },
	"sha256 in base64":      func(c string) string { s := sha256.Sum256([]byte(c)); return base64.StdEncoding.EncodeToString(s[:]) },
	"sha256 for integrity":  integrity,
	"sha256 for URLs": func(c string) string {
		s := sha256.Sum256([]byte(c))
		return base64.RawURLEncoding.EncodeToString(s[:])
	},
	"sha512 for URLs, with padding": func(c string) string { s := sha512.Sum512([]byte(c)); return base64.URLEncoding.EncodeToString(s[:]) },
	"sha384 for integrity": func(c string) string {
		s := sha512.Sum384([]byte(c))
		return "sha384-" + base64.StdEncoding.EncodeToString(s[:])
	},
	"sha384 in hexadecimal": func(c string) string { s := sha512.Sum384([]byte(c)); return hex.EncodeToString(s[:]) },
	"sha512 for integrity": func(c string) string {
		s := sha512.Sum512([]byte(c))
		return "sha512-" + base64.StdEncoding.EncodeToString(s[:])
	},
	"sha512 without padding": func(c string) string {
		s := sha512.Sum512([]byte(c))
		return "sha512-" + base64.RawStdEncoding.EncodeToString(s[:])
	},
}

func integrity(c string) string {
	s := sha256.Sum256([]byte(c))
	return "sha256-" + base64.StdEncoding.EncodeToString(s[:])
}

func hexOf(c string) string { return digestForms["sha256 in hexadecimal"](c) }

// settle does what the documentation of guard.Digests asks of its caller. It returns the site in
// the end and the paths that were restored.
func settle(t testing.TB, source, published files) (files, []string) {
	t.Helper()
	d := guard.NewDigests(slices.Collect(maps.Keys(published)))
	bytesOf := func(site files, name string) []byte {
		if text, ok := site[name]; ok {
			return append([]byte{}, text...)
		}
		return nil
	}
	for name := range published {
		d.Note(name, bytesOf(source, name), bytesOf(published, name))
		of, format, ok := guard.SiblingOf(name)
		if ok && published[of] != "" && guard.HoldsSame(format, []byte(source[name]), []byte(source[of])) {
			d.Sibling(name, of)
		}
	}
	for name := range published {
		if guard.HoldsDigests(name) {
			d.Scan(name, bytesOf(source, name), bytesOf(published, name))
		}
	}
	plan := d.Settle()
	final := maps.Clone(published)
	var restored []string
	for _, r := range plan.Restore {
		final[r.Path] = source[r.Path]
		restored = append(restored, r.Path)
		if r.Difference.Kind != guard.KindIntegrity || r.Difference.Detail == "" {
			t.Errorf("%s restored without a reason: %+v", r.Path, r.Difference)
		}
	}
	for _, step := range plan.Steps {
		if step.Of != "" {
			_, format, _ := guard.SiblingOf(step.Path)
			final[step.Path] = string(recompress(t, format, []byte(final[step.Of])))
			continue
		}
		rewritten, err := d.Rewrite(step.Path, []byte(final[step.Path]), func(name string) ([]byte, error) {
			return bytesOf(final, name), nil
		})
		if err != nil {
			t.Fatalf("Rewrite(%s): %v", step.Path, err)
		}
		final[step.Path] = string(rewritten)
	}
	return final, restored
}

func TestDigestsAreReplacedInTheirForm(t *testing.T) {
	t.Parallel()
	const before, after = "let answer = 42", "let a=42"
	for name, form := range digestForms {
		for _, text := range []string{`{"a.js":%q}`, `load(%q)`, `<link integrity="%s">`, "%s  a.js\n", "%s"} {
			t.Run(name+" in "+text, func(t *testing.T) {
				t.Parallel()
				manifest := func(content string) string {
					if strings.Contains(text, "%q") {
						return fmt.Sprintf(text, form(content))
					}
					return strings.ReplaceAll(text, "%s", form(content))
				}
				got, restored := settle(t, files{"a.js": before, "m.html": manifest(before)}, files{"a.js": after, "m.html": manifest(before)})
				want := files{"a.js": after, "m.html": manifest(after)}
				if diff := cmp.Diff(want, got); diff != "" || restored != nil {
					t.Errorf("restored %q (-want +got):\n%s", restored, diff)
				}
			})
		}
	}
}

func TestDigests(t *testing.T) {
	t.Parallel()
	const before, after = "let answer = 42", "let a=42"
	sha1Hex := digestForms["sha1 in hexadecimal"]
	md5Hex := digestForms["md5 in hexadecimal"]
	script := func(src, content string) string {
		return `<script src="` + src + `" integrity="` + integrity(content) + `"></script>`
	}
	kept := []string{"a.js"}
	tests := []struct {
		name     string
		manifest string                      // its path
		text     func(content string) string // what it holds when a.js holds content
		more     files                       // files that nobody changes
		restored []string
		same     bool // the manifest stays as it was, though nothing is restored
	}{
		{name: "an integrity attribute", manifest: "i.html", text: func(c string) string { return script("/a.js", c) }},
		{name: "two digests in one attribute", manifest: "i.html", text: func(c string) string {
			return `<script src=a.js integrity="` + integrity(c) + " " + digestForms["sha384 for integrity"](c) + `"></script>`
		}},
		{name: "the manifest of Angular's service worker", manifest: "ngsw.json", text: func(c string) string {
			return `{"hashTable":{"/a.js":"` + sha1Hex(c) + `"}}`
		}},
		{name: "the manifest of Blazor", manifest: "_framework/blazor.boot.json", text: func(c string) string {
			return `{"resources":{"assembly":{"a.js":"` + integrity(c) + `"}}}`
		}},
		{name: "a precache list of Workbox", manifest: "sw.js", text: func(c string) string {
			return `precacheAndRoute([{url:"a.js",revision:"` + md5Hex(c) + `"}])`
		}},
		{name: "the service worker of Flutter", manifest: "flutter_service_worker.js", text: func(c string) string {
			return `const RESOURCES = {"a.js": "` + md5Hex(c) + "\",\n\"x\": \"" + md5Hex("x") + `"};`
		}},
		{name: "an import map", manifest: "i.html", text: func(c string) string {
			return `<script type=importmap>{"integrity":{"/a.js":"` + integrity(c) + `"}}</script>`
		}},
		{name: "an import map with escaped slashes", manifest: "i.html", text: func(c string) string {
			return `<script type=importmap>{"integrity":{"\/a.js":"` + integrity(c) + `"}}</script>`
		}},
		{name: "a list of checksums", manifest: "SHA256SUMS", text: func(c string) string { return hexOf(c) + "  a.js\n" }},
		{name: "the name of the file itself is no digest of it", manifest: "i.html", text: func(string) string {
			return `<script src="/js/a.` + hexOf(before) + `.js"></script>`
		}, more: files{"js/a." + hexOf(before) + ".js": "other"}, same: true},
		{name: "a name put together by a script stays", manifest: "m.js", text: func(string) string {
			return `load("/js/a."+{1:"` + hexOf(before) + `"}[n]+".js")`
		}, more: files{"js/a." + hexOf(before) + ".js": "other"}, restored: kept},
		{name: "a copy on another host is not ours", manifest: "i.html", text: func(string) string {
			return script("https://cdn.example/lib.js", before)
		}, same: true},
		{name: "a file of the same name on another host may be ours", manifest: "i.html", text: func(string) string {
			return script("https://cdn.example/a.js?v=1", before)
		}, restored: kept},
		{name: "a script may mean a copy on another host", manifest: "m.js", text: func(string) string {
			return `load("https://cdn.example/a.js","` + integrity(before) + `")`
		}, restored: kept},
		{name: "a list in a Content-Security-Policy", manifest: "staticwebapp.config.json", text: func(string) string {
			return `{"globalHeaders":{"Content-Security-Policy":"script-src '` + integrity(before) + `'"}}`
		}, restored: kept},
		{name: "a meta element with a policy", manifest: "i.html", text: func(string) string {
			return `<meta http-equiv=content-security-policy content="script-src '` + integrity(before) + `'">`
		}, restored: kept},
		{name: "a file of headers", manifest: "_headers", text: func(string) string {
			return "/*\n  Content-Security-Policy: script-src '" + integrity(before) + "'\n"
		}, restored: kept},
		{name: "a signed list", manifest: "SHA256SUMS", text: func(string) string {
			return "-----BEGIN PGP SIGNED MESSAGE-----\n" + hexOf(before) + "  a.js\n"
		}, restored: kept},
		{name: "a list with a signature beside it", manifest: "list.txt", text: func(string) string { return hexOf(before) },
			more: files{"list.txt.asc": "-----BEGIN PGP SIGNATURE-----"}, restored: kept},
		{name: "a binary file", manifest: "m.wasm", text: func(string) string { return "\x00asm" + hexOf(before) }, restored: kept},
		{name: "a list in UTF-16", manifest: "list.txt", text: func(string) string {
			return "\xff\xfe" + strings.Join(strings.Split(hexOf(before), ""), "\x00") + "\x00"
		}, restored: kept},
		{name: "a digest in a URL", manifest: "m.js", text: func(string) string {
			return `fetch("/?sri=` + strings.NewReplacer("+", "%2B", "=", "%3D", "/", "%2F").Replace(integrity(before)) + `")`
		}, restored: kept},
		{name: "a digest in encoded data", manifest: "m.js", text: func(string) string {
			return `"` + digestForms["sha256 in base64"](before)[:43] + `AAAA"`
		}, restored: kept},
		{name: "equal files of which one stays", manifest: "ngsw.json", text: func(string) string { return hexOf(before) },
			more: files{"copy.js": before}, restored: kept},
		{name: "the digest of another file", manifest: "ngsw.json", text: func(string) string { return hexOf("x") },
			more: files{"x.js": "x"}, same: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			source := files{"a.js": before, tt.manifest: tt.text(before)}
			maps.Copy(source, tt.more)
			published := maps.Clone(source)
			published["a.js"] = after
			want := maps.Clone(published)
			switch {
			case tt.restored != nil:
				want = source
			case !tt.same:
				want[tt.manifest] = tt.text(after)
				if want[tt.manifest] == source[tt.manifest] {
					t.Fatal("the case does not depend on a.js")
				}
			}
			got, restored := settle(t, source, published)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("site (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.restored, restored); diff != "" {
				t.Errorf("restored (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDigestsWithEscapes(t *testing.T) {
	t.Parallel()
	before, after := "0", "after"
	for n := 0; !strings.Contains(integrity(before), "+") || strings.Count(integrity(before), "/") < 2; n++ {
		before = fmt.Sprint(n) // until every escape is met
	}
	plain := integrity(before)
	for _, escape := range [][]string{
		{"/", `\/`}, {"+", `\u002b`}, {"+", `\u002B`, "/", `\x2f`, "=", `\u003d`},
		{"+", "&#43;", "/", "&#x2F;", "=", "&#61;"}, {"+", "&plus;"}, {"=", "&equals;"},
	} {
		written := strings.NewReplacer(escape...).Replace(plain)
		source := files{"a.js": before, "m.html": `<p title="` + written + `">`}
		got, restored := settle(t, source, files{"a.js": after, "m.html": source["m.html"]})
		unescaped := strings.NewReplacer("&#61;", "=", "&equals;", "=", `\u003d`, "=").Replace(got["m.html"])
		if want := `<p title="` + integrity(after) + `">`; unescaped != want || restored != nil {
			t.Errorf("%s became %s, restored %q", written, got["m.html"], restored)
		}
	}
}

func TestDigestsAcrossSeveralFiles(t *testing.T) {
	t.Parallel()
	page := func(c string) string { return `<script src=a.js integrity=` + integrity(c) + `></script>` }
	list := func(text string) string { return `{"/index.html":"` + hexOf(text) + `"}` }
	signed := func(text string) string { return `{"signature":"x","index.html":"` + hexOf(text) + `"}` }
	sheet := func(c string) string { return "/* " + hexOf(c) + " */" }
	gz := func(c string) string { return string(recompress(t, "gz", []byte(c))) }
	tests := []struct {
		name                    string
		source, published, want files
		restored                []string
	}{
		{
			"a page that is rewritten is itself listed",
			files{"a.js": "1", "index.html": page("1"), "ngsw.json": list(page("1"))},
			files{"a.js": "2", "index.html": page("1"), "ngsw.json": list(page("1"))},
			files{"a.js": "2", "index.html": page("2"), "ngsw.json": list(page("2"))}, nil,
		},
		{
			"a page that was optimized, too",
			files{"a.js": "1", "index.html": "\n" + page("1"), "ngsw.json": list("\n" + page("1"))},
			files{"a.js": "2", "index.html": page("1"), "ngsw.json": list("\n" + page("1"))},
			files{"a.js": "2", "index.html": page("2"), "ngsw.json": list(page("2"))}, nil,
		},
		{
			"a signed list keeps the page, and the page the script",
			files{"a.js": "1", "index.html": "\n" + page("1"), "list.json": signed("\n" + page("1"))},
			files{"a.js": "2", "index.html": page("1"), "list.json": signed("\n" + page("1"))},
			files{"a.js": "1", "index.html": "\n" + page("1"), "list.json": signed("\n" + page("1"))},
			[]string{"a.js", "index.html"},
		},
		{
			"what lost its digest in the result has it again when it is restored",
			files{"a.js": "1", "index.html": page("1"), "list.json": signed(page("1"))},
			files{"a.js": "2", "index.html": "<p>", "list.json": signed(page("1"))},
			files{"a.js": "1", "index.html": page("1"), "list.json": signed(page("1"))},
			[]string{"a.js", "index.html"},
		},
		{
			"files that name each other in a circle",
			files{"a.css": "a", "b.css": "b", "c.css": "c", "d.html": page("d")},
			files{"a.css": sheet("b"), "b.css": sheet("a"), "c.css": "c2", "d.html": page("d")},
			files{"a.css": "a", "b.css": "b", "c.css": "c2", "d.html": page("d")},
			[]string{"a.css", "b.css"},
		},
		{
			"a file that names itself",
			files{"a.css": "a"}, files{"a.css": sheet("a")}, files{"a.css": "a"}, []string{"a.css"},
		},
		{
			"equal files that change alike",
			files{"a.js": "1", "b/a.js": "1", "l.json": list("1")},
			files{"a.js": "2", "b/a.js": "2", "l.json": list("1")},
			files{"a.js": "2", "b/a.js": "2", "l.json": list("2")}, nil,
		},
		{
			"equal files that change in different ways",
			files{"a.js": "1", "b/a.js": "1", "l.json": list("1")},
			files{"a.js": "2", "b/a.js": "3", "l.json": list("1")},
			files{"a.js": "1", "b/a.js": "1", "l.json": list("1")}, []string{"a.js", "b/a.js"},
		},
		{
			"a precompressed sibling is made anew, after its file, and before what lists it",
			files{"a.js": "1", "a.js.gz": gz("1"), "i.html": page("1"), "i.html.gz": gz(page("1")), "l.json": hexOf(gz(page("1"))) + hexOf(gz("1"))},
			files{"a.js": "2", "a.js.gz": gz("1"), "i.html": page("1"), "i.html.gz": gz(page("1")), "l.json": hexOf(gz(page("1"))) + hexOf(gz("1"))},
			files{"a.js": "2", "a.js.gz": gz("2"), "i.html": page("2"), "i.html.gz": gz(page("2")), "l.json": hexOf(gz(page("2"))) + hexOf(gz("2"))}, nil,
		},
		{
			"a sibling that must stay keeps its file",
			files{"a.js": "1", "a.js.gz": gz("1"), "l.json": signed(gz("1"))},
			files{"a.js": "2", "a.js.gz": gz("1"), "l.json": signed(gz("1"))},
			files{"a.js": "1", "a.js.gz": gz("1"), "l.json": signed(gz("1"))}, []string{"a.js"},
		},
		{
			"an archive and the sibling of an unchanged file stay",
			files{"a.js": "1", "b.js": "2", "b.js.gz": gz("2"), "a.js.gz": gz("old"), "d.tar.gz": gz("d")},
			files{"a.js": "3", "b.js": "2", "b.js.gz": gz("2"), "a.js.gz": gz("old"), "d.tar.gz": gz("d")},
			files{"a.js": "3", "b.js": "2", "b.js.gz": gz("2"), "a.js.gz": gz("old"), "d.tar.gz": gz("d")}, nil,
		},
		{
			"a file that the optimizer added can name others",
			files{"a.js": "1"}, files{"a.js": "2", "new.json": list("1")}, files{"a.js": "2", "new.json": list("2")}, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, restored := settle(t, tt.source, tt.published)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("site (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.restored, restored); diff != "" {
				t.Errorf("restored (-want +got):\n%s", diff)
			}
		})
	}
}

// A long chain, and one that must stay as a whole, end in time.
func TestDigestsInAChain(t *testing.T) {
	t.Parallel()
	const length = 2000
	build := func(first string) files {
		site := files{"0000.json": first}
		for i := 1; i < length; i++ {
			site[fmt.Sprintf("%04d.json", i)] = `{"before":"` + hexOf(site[fmt.Sprintf("%04d.json", i-1)]) + `"}`
		}
		return site
	}
	source := build("1")
	published := maps.Clone(source)
	published["0000.json"] = "2"
	got, restored := settle(t, source, published)
	if diff := cmp.Diff(build("2"), got); diff != "" || restored != nil {
		t.Errorf("restored %q (-want +got):\n%s", restored, diff)
	}
	last := fmt.Sprintf("%04d.json", length-1)
	source["signed.json"] = `{"signature":"` + hexOf(source[last]) + `"}`
	published["signed.json"] = source["signed.json"]
	if got, _ := settle(t, source, published); got["0000.json"] != "1" {
		t.Error("the signed end of the chain does not keep its beginning")
	}
}

// Sites made at random: whatever names what, no digest in the end is one of the source of a file
// that has changed, and a file changed or it did not for a reason.
func TestDigestsOfRandomSites(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		source, published := randomSite(t, random)
		final, _ := settle(t, source, published)
		for name, text := range final {
			if text == source[name] {
				continue
			}
			for by, content := range final {
				for form, digest := range digestForms {
					if strings.Contains(content, digest(source[name])) {
						t.Errorf("seed %d: %s still has the digest of %s as it was (%s)", seed, by, name, form)
					}
				}
			}
		}
	}
}

// randomSite has files that name the ones before them; the published form of some is another.
func randomSite(t testing.TB, random *rand.Rand) (source, published files) {
	source, published = files{}, files{}
	forms := slices.Sorted(maps.Keys(digestForms))
	var names []string
	for i := range 2 + random.IntN(12) {
		ext := []string{".html", ".js", ".json", ".txt", ".css", ".wasm"}[random.IntN(6)]
		name := fmt.Sprintf("%02d%s", i, ext)
		var text strings.Builder
		fmt.Fprintf(&text, "file %d ", random.IntN(10))
		for range random.IntN(3) {
			if len(names) > 0 {
				named := source[names[random.IntN(len(names))]]
				text.WriteString(` "` + digestForms[forms[random.IntN(len(forms))]](named) + `"`)
			}
		}
		if random.IntN(12) == 0 {
			text.WriteString(`"signature"`)
		}
		source[name] = text.String()
		published[name] = source[name]
		switch random.IntN(4) {
		case 0:
			published[name] = strings.Replace(source[name], "file", "f", 1)
		case 1:
			published[name] = fmt.Sprintf("f%d", i)
		}
		names = append(names, name)
		if random.IntN(4) == 0 {
			source[name+".gz"] = string(recompress(t, "gz", []byte(source[name])))
			published[name+".gz"] = source[name+".gz"]
			names = append(names, name+".gz")
		}
	}
	return source, published
}

func FuzzDigests(f *testing.F) {
	f.Add("a", "b", `<script src=a.js integrity=`+integrity("a")+`>`)
	f.Add("a", "b", `\/`+strings.ReplaceAll(integrity("a"), "/", `\/`)+"&#43;%2b"+hexOf("a"))
	f.Add("", "b", "\xff\xfe"+hexOf(""))
	f.Fuzz(func(t *testing.T, before, after, manifest string) {
		for _, name := range []string{"m.html", "m.json", "m.js", "m"} {
			text := manifest + integrity(before) + " " + hexOf(before)
			got, _ := settle(t, files{"a.js": before, name: text}, files{"a.js": after, name: text})
			if got["a.js"] != before && strings.Contains(got[name], hexOf(before)) {
				t.Errorf("%s: %q still names %q", name, got[name], before)
			}
			unchanged, restored := settle(t, files{"a.js": before, name: text}, files{"a.js": before, name: text})
			if unchanged[name] != text || restored != nil {
				t.Errorf("a site that did not change became %q", unchanged)
			}
		}
	})
}

func BenchmarkDigestScan(b *testing.B) {
	d := guard.NewDigests(nil)
	for i := range 5000 {
		d.Note(fmt.Sprint(i, ".js"), fmt.Append(nil, i), []byte("x"))
	}
	texts := map[string][]byte{
		"page":   bytes.Repeat([]byte(`<p class="lead">Words of a paragraph, <a href="/docs/guide/index.html">about</a> as many as usual.</p>`), 10_000),
		"base64": []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("some picture"), 80_000))),
		"script": bytes.Repeat([]byte(`function(e,t){var n=/^\/api\/v1\//.test(e);return n&&t||"a%20b&amp;c"}`), 14_000),
	}
	for name, text := range texts {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				d.Scan("m.js", text, text)
			}
		})
	}
}

func BenchmarkDigestNote(b *testing.B) {
	text := bytes.Repeat([]byte("words of a page "), 2000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		guard.NewDigests(nil).Note("a.html", text, text)
	}
}
