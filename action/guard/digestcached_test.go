package guard_test

import (
	"testing"

	"github.com/pageflare/ci/action/guard"
)

// Visitors who come back have the old file, so it must not change under its name.
func TestAFileThatBrowsersKeepAndCheckStaysAsItWas(t *testing.T) {
	t.Parallel()
	const before, after = "let answer = 42", "let a=42"
	for name, stays := range map[string]bool{
		"app.0a1b2c3d.js": true, "index-DPNdF0IV.js": true, "Code-C8M-QMJ_.js": true, "x.BxY12_zQ.js": true,
		"main-X2T7M36A.js": true, "styles-ZKXXPGMX.js": true, "app.DCfEDoKV.js": true, "17896441.js": true,
		"a." + hexOf(before)[:6] + ".js": true, "a-" + hexOf(before) + ".min.js": true,
		"app.js": false, "bootstrap.bundle.min.js": false, "jquery-3.7.1.min.js": false, "bootstrap5.js": false,
		"main-navigation-bar.js": false, "VPLocalSearchBox.js": false, "jquery.validate.unobtrusive.js": false,
		"a." + hexOf(after)[:6] + ".js": false,
	} {
		page := `<script src="` + name + `" integrity="` + integrity(before) + `"></script>`
		got, restored := settle(t, files{name: before, "i.html": page}, files{name: after, "i.html": page})
		if kept := got[name] == before; kept != stays || kept != (len(restored) == 1) || kept != (got["i.html"] == page) {
			t.Errorf("%s: kept = %v, want %v; restored %q", name, kept, stays, restored)
		}
		list := `{"` + name + `":"` + digestForms["sha1 in hexadecimal"](before) + `"}` // nothing is refused by it
		if got, _ := settle(t, files{name: before, "l.json": list}, files{name: after, "l.json": list}); got[name] != after {
			t.Errorf("%s in a list that browsers do not check stays as it was", name)
		}
	}
	loader := `load("app.js","` + integrity(before) + `")`
	got, _ := settle(t, files{"app.js": before, "l.0a1b2c3d.js": loader}, files{"app.js": after, "l.0a1b2c3d.js": loader})
	if got["app.js"] != before || got["l.0a1b2c3d.js"] != loader {
		t.Errorf("site = %q, want it as it was: visitors have the loader stored", got)
	}
}

func TestAFileThatTheSiteMarksImmutableStaysAsItWas(t *testing.T) {
	t.Parallel()
	const before, after = "let answer = 42", "let a=42"
	for file, text := range map[string]string{
		"_headers":     "/s/*\n  Cache-Control: public, max-age=31536000, immutable\n",
		"vercel.json":  `{"headers":[{"source":"/s/(.*)","headers":[{"key":"cache-control","value":"immutable"}]}]}`,
		"netlify.toml": "[[headers]]\nfor = \"/s/*\"\n[headers.values]\nCache-Control = \"immutable\"\n",
		"s/.htaccess":  "Header set Cache-Control \"max-age=9, immutable\"\n",
	} {
		site := guard.NewSite(guard.Config{Files: []string{file}, Read: func(string) ([]byte, error) { return []byte(text), nil }})
		for _, folder := range []string{"s/", "t/"} {
			d := site.Digests([]string{folder + "a.js", "i.html"})
			page := []byte(`<script src="` + folder + `a.js" integrity="` + integrity(before) + `"></script>`)
			d.Note(folder+"a.js", []byte(before), []byte(after))
			d.Note("i.html", page, page)
			d.Scan("i.html", page, page)
			if n, want := len(d.Settle().Restore), map[string]int{"s/": 1}[folder]; n != want {
				t.Errorf("%s: %d files below %s restored, want %d", file, n, folder, want)
			}
		}
	}
}
