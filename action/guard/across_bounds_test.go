package guard_test

import (
	"strings"
	"testing"

	"github.com/pageflare/ci/action/guard"
)

// What is hostile to a parser is read to its end all the same: each of these takes minutes where
// something is read once for every byte before it.
func TestHostileTextsAcrossFilesEnd(t *testing.T) {
	t.Parallel()
	const size = 1 << 18
	for _, piece := range []string{
		"\x00", "(", "url(", "@import ", `\`, `\/`, `\u002b`, "%2b", "&#43;", "../", "%2e%2e/", "a,", ", ",
		"<base href=/x/>", "<template>", "<img srcset='a ", "<img src=", "<style>", "<p style='a:url(", "<!--",
		"<script integrity=" + integrity("1") + ">", integrity("1"), hexOf("1"), `"//`, "image-set(", "'", "\"", "0",
	} {
		text := strings.Repeat(piece, size/len(piece))
		guard.Missing(guard.References("a/b.html", []byte(text)), func(string) bool { return false })
		guard.References("a/b.html", []byte("<img srcset='"+text+"'><base href='"+text+"'><p style='"+text+"'>"))
		guard.SheetReferences("a/b.css", []byte(text))
		guard.Resolve("a/b.html", text, text)
		settle(t, files{"a.js": "1", "b.html": text}, files{"a.js": "2", "b.html": text})
		p := guard.ParsePolicies(map[string][]byte{
			"_headers": []byte("/" + text + "\nContent-Security-Policy: " + text), "vercel.json": []byte(text),
			"netlify.toml": []byte(text), ".htaccess": []byte("header set content-security-policy " + text),
		}).For("a/b.html", []string{text})
		p.Script([]byte(text), text)
		p.Source("img-src", text)
	}
}
