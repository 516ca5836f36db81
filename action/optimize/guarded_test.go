package optimize_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/guard"
	"github.com/pageflare/ci/action/optimize"
)

// longPage is a page of ordinary length that several passes of the real CLI break.
func longPage(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\">\n<head>\n  <meta charset=\"utf-8\">\n  <title>Page %d</title>\n  <link rel=\"stylesheet\" href=\"/css/site.css\">\n</head>\n<body>\n", n)
	b.WriteString("  <nav><a href=\"/\">Home</a> <a href=\"/about.html\">About</a></nav>\n  <!-- a remark -->\n  <main>\n")
	for i := range 150 {
		fmt.Fprintf(&b, "    <p class=\"lead\">Paragraph %d of page %d says <b>this</b> and that, and a little more.</p>\n", i, n)
	}
	b.WriteString("  </main>\n  <footer>The end</footer>\n  <script src=\"/js/app.js\"></script>\n</body>\n</html>\n")
	return b.String()
}

func longSite(t testing.TB) string {
	files := map[string]string{
		"dist/css/site.css": "body {\n  color: #000000;\n}\n\n.lead {\n  margin: 0 0 1em 0;\n}\n",
		"dist/js/app.js":    "var SITE = { name: \"x\" };\nfunction toggleMenu() {\n  return SITE;\n}\n", "dist/.nojekyll": "", "dist/d/": "",
	}
	for i, name := range []string{"index", "about", "a/one", "a/two", "a/three"} {
		files["dist/"+name+".html"] = longPage(i)
	}
	return site(t, files)
}

// guarded is a configuration of a run as users have it.
func guarded(cfg optimize.Config) optimize.Config {
	cfg.Guard, cfg.Profile = optimize.GuardRestore, optimize.ProfileSafe
	return cfg
}

func paths(g optimize.Guarded) (names []string) {
	for _, r := range g.Rejected {
		names = append(names, r.Path)
	}
	return names
}

func TestWhatIsNotTheSameFileIsPublishedAsItWas(t *testing.T) {
	t.Parallel()
	source := map[string]string{
		"dist/index.html": page, "dist/cut.html": longPage(1), "dist/app.js": "var SITE = 1\n", "dist/f.bin": "one",
		"dist/same.html": page, "dist/grown.html": "<!doctype html><title>x</title><p>Hello", "dist/l.txt": "-> real.txt", "dist/real.txt": "text",
	}
	ws := site(t, source)
	cfg := guarded(faked(t, ws, `
mkdir -p "$out/new"
sed 's/^ *//; s/<!-- note -->//' "$src/index.html" > "$out/index.html"
: > "$out/cut.html"
: > "$out/app.js"; echo two > "$out/f.txt"; cp "$src/same.html" "$out"; sed 's/$/   /' "$src/grown.html" > "$out/grown.html"
echo other > "$out/l.txt"; cp "$src/real.txt" "$out"
echo x > "$out/new/v.webp"; echo y > "$out/sitemap.xml"; echo z > "$out/Index.HTML"
echo "$ok"`))
	cfg.Output = "out"
	r := run(t, cfg)
	want := snapshot(t, filepath.Join(ws, "dist"))
	got := snapshot(t, filepath.Join(ws, "out"))
	for _, name := range []string{"cut.html", "app.js", "f.bin", "same.html", "grown.html", "real.txt"} {
		if got[name] != want[name] {
			t.Errorf("out/%s = %.60q, want the source's", name, got[name])
		}
	}
	if read(t, ws, "out/l.txt") != "text" {
		t.Errorf("out/l.txt = %q, want what the link leads to", read(t, ws, "out/l.txt"))
	}
	if index := read(t, ws, "out/index.html"); len(index) >= len(page) || !strings.Contains(index, "Hello") {
		t.Errorf("out/index.html = %q, want it optimized", index)
	}
	if names := names(t, filepath.Join(ws, "out")); strings.Contains(names, "new") || strings.Contains(names, "Index.HTML") || !strings.Contains(names, "sitemap.xml") {
		t.Errorf("out = %q, want no file that nothing refers to, and what was asked for", names)
	}
	if diff := cmp.Diff([]string{"app.js", "cut.html", "l.txt"}, paths(r.Guard)); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	var before, after int64
	for _, c := range r.Changes {
		before, after = before+max(c.Before, 0), after+max(c.After, 0)
	}
	if r.BytesSaved() != before-after || r.BytesSaved() <= 0 || r.BytesSaved() > int64(len(page)) {
		t.Errorf("saved %d bytes, want only what is published", r.BytesSaved())
	}
	costs := r.Guard.Costs()
	if sum := costs[0].Bytes; len(costs) == 0 || sum == 0 {
		t.Errorf("costs = %+v, want bytes", costs)
	}
}

// Files above the limit are compared as streams, and never published in a changed form.
func TestAFileTooLargeToCompareIsPublishedAsItWas(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/a.html": "", "dist/b.bin": ""})
	for _, name := range []string{"a.html", "b.bin"} {
		if err := os.Truncate(filepath.Join(ws, "dist", name), guard.MaxFile+10); err != nil {
			t.Fatal(err)
		}
	}
	r := run(t, guarded(faked(t, ws, `cp "$src/index.html" "$src/b.bin" "$out"; echo small > "$out/a.html"; echo "$ok"`)))
	if diff := cmp.Diff([]string{"a.html"}, paths(r.Guard)); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(filepath.Join(ws, "dist/a.html")); err != nil || info.Size() != guard.MaxFile+10 {
		t.Errorf("a.html = %v (%v), want it as it was", info, err)
	}
}

func TestWhatIsPublishedRefersToNewFiles(t *testing.T) {
	t.Parallel()
	const css = "body   {   background:   url(p.png)   }\n"
	ws := site(t, map[string]string{"dist/index.html": page, "dist/a.css": css, "dist/p.png": "png"})
	cfg := guarded(faked(t, ws, `cp "$src"/* "$out"; echo v > "$out/v.webp"; echo 'body{background:url(v.webp)}' > "$out/a.css"; echo "$ok"`))
	run(t, cfg)
	_, err := os.Stat(filepath.Join(ws, "dist/v.webp"))
	if used := strings.Contains(read(t, ws, "dist/a.css"), "v.webp"); used != (err == nil) {
		t.Errorf("the sheet refers to v.webp: %t; the file: %v; want both or neither", used, err)
	}
}

// cuts is a script that empties the pages unless minify_html is off, and drops a comment otherwise.
const cuts = `
cd "$src"
case "$*" in *--config*) config=$(cat "$8") ;; esac
echo "config: $config" >&2
for f in *.html; do
	case "$config" in
	*'"minify_html": false'*) sed 's/<!-- a remark -->//' "$f" > "$out/$f" ;;
	*) : > "$out/$f" ;;
	esac
done
echo "$ok"`

func TestAPassThatCostsManyPagesIsSwitchedOff(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]string{"without a configuration": "", "with the site's own": "{\n// words\n\"js_defer\": false, /* x */ \"a\": \"//\",}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"dist/index.html": page}
			for i := range 4 {
				files[fmt.Sprintf("dist/p%d.html", i)] = longPage(i)
			}
			if own != "" {
				files["dist/pageflare.jsonc"] = own
			}
			ws := site(t, files)
			cfg := guarded(faked(t, ws, cuts))
			r := run(t, cfg)
			keys := r.Guard.Rerun
			if len(keys) == 0 || !strings.Contains(fmt.Sprint(cfg.Log), "once more without") {
				t.Fatalf("switched off %q; want a second run; rejected %v; log:\n%v", keys, paths(r.Guard), cfg.Log)
			}
			log := fmt.Sprint(cfg.Log)
			if n := strings.Count(log, "config:"); n != 2 {
				t.Errorf("the optimizer ran %d times, want twice:\n%s", n, log)
			}
			if own != "" && (!strings.Contains(log, `"a": "//"`) || !strings.Contains(log, `"js_defer": false`)) {
				t.Errorf("the second configuration lost the site's own keys:\n%s", log)
			}
			if len(r.Guard.Rejected) != 0 {
				t.Errorf("rejected %q, want none after the second run", paths(r.Guard))
			}
			for i := range 4 {
				if got := read(t, ws, fmt.Sprintf("dist/p%d.html", i)); strings.Contains(got, "a remark") || !strings.Contains(got, "The end") {
					t.Errorf("page %d = %d bytes, want it optimized and whole", i, len(got))
				}
			}
			if got := names(t, ws); got != "dist" {
				t.Errorf("workspace = %q, want no staging folder left", got)
			}
		})
	}
}

func TestASecondRunThatIsNoBetterIsNotPublished(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]string{"that fails": `echo no >&2; exit 3`, "that saves less": `cp *.html "$out"; echo "$ok"`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"dist/index.html": page}
			for i := range 4 {
				files[fmt.Sprintf("dist/p%d.html", i)] = longPage(i)
			}
			ws := site(t, files)
			cfg := guarded(faked(t, ws, `
cd "$src"
case "$(cat "$8")" in *minify_html*) `+second+`; exit ;; esac
for f in p*.html; do : > "$out/$f"; done
sed 's/<!-- note -->//' index.html > "$out/index.html"
echo "$ok"`))
			r := run(t, cfg)
			if len(r.Guard.Rerun) != 0 || len(r.Guard.Rejected) != 4 {
				t.Errorf("switched off %q, rejected %q; want the first run; log:\n%v", r.Guard.Rerun, paths(r.Guard), cfg.Log)
			}
			if got := read(t, ws, "dist/index.html"); len(got) >= len(page) || !strings.Contains(got, "Hello") {
				t.Errorf("the page that passed is %q, want it optimized; log:\n%v", read(t, ws, "dist/index.html"), cfg.Log)
			}
			if got := names(t, ws); got != "dist" {
				t.Errorf("workspace = %q, want no staging folder left", got)
			}
		})
	}
}

func TestGuardThatFailsLeavesTheSite(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/app.js": "var SITE = 1"})
	before := snapshot(t, ws)
	cfg := guarded(faked(t, ws, `cp "$src/index.html" "$out"; : > "$out/app.js"; echo "$ok"`))
	cfg.Guard = optimize.GuardFail
	r, err := check(t, cfg).Run(t.Context(), "")
	if !errors.Is(err, optimize.ErrGuard) || len(r.Guard.Rejected) != 1 || r.Guard.Rejected[0].Path != "app.js" || r.Guard.Rejected[0].Differences[0].Key != guard.KeyJS {
		t.Errorf("Run = %+v, %v, want ErrGuard and what differed", r.Guard, err)
	}
	if diff := cmp.Diff(before, snapshot(t, ws)); diff != "" {
		t.Errorf("workspace (-before +after):\n%s", diff)
	}
	cfg = guarded(faked(t, ws, `cp "$src/app.js" "$out"; sed 's/^ *//' "$src/index.html" > "$out/index.html"; echo "$ok"`))
	cfg.Guard = optimize.GuardFail
	run(t, cfg)
}

// Digests and precompressed siblings follow what is published.
func TestDigestsAndSiblingsAreThoseOfWhatIsPublished(t *testing.T) {
	t.Parallel()
	const css = "body {\n  color: #000000;\n}\n\n.lead {\n  margin: 0 0 1em 0;\n}\n"
	digest := func(b string) string {
		sum := sha512.Sum384([]byte(b))
		return "sha384-" + base64.StdEncoding.EncodeToString(sum[:])
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprint(z, css)
	z.Close()
	html := strings.Replace(longPage(1), `href="/css/site.css"`, `href="/css/site.css" integrity="`+digest(css)+`"`, 1)
	ws := site(t, map[string]string{
		"dist/index.html": html, "dist/css/site.css": css, "dist/css/site.css.gz": packed.String(), "dist/other.css.gz": "none", "dist/other.css": css,
	})
	cfg := config(t, ws)
	cfg.Guard, cfg.Profile = optimize.GuardRestore, optimize.ProfileSafe
	r := run(t, cfg)
	got := read(t, ws, "dist/css/site.css")
	if len(got) >= len(css) {
		t.Fatalf("site.css = %q, want it optimized; rejected %+v", got, r.Guard.Rejected)
	}
	if page := read(t, ws, "dist/index.html"); !strings.Contains(page, digest(got)) {
		t.Errorf("the page does not name the digest of %q: %.600s", got, page)
	}
	unpacked, err := gzip.NewReader(strings.NewReader(read(t, ws, "dist/css/site.css.gz")))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(unpacked); err != nil || string(b) != got {
		t.Errorf("site.css.gz holds %q (%v), want what site.css is", b, err)
	}
	if got := read(t, ws, "dist/other.css.gz"); got != "none" {
		t.Errorf("other.css.gz = %q, want a file that is no sibling left alone", got)
	}
	if diff := cmp.Diff([]string{"other.css.gz"}, r.Restored); diff != "" {
		t.Errorf("Restored (-want +got):\n%s", diff)
	}
}

// The optimizer's list of broken references names files that are there.
func TestBrokenReferencesAreLookedForInWhatIsPublished(t *testing.T) {
	t.Parallel()
	const html = `<!doctype html><title>x</title><img src="my%20pic.png "><img src="gone.png"><img src="/s/p.png"><link rel="stylesheet" href="s/a.css">`
	ws := site(t, map[string]string{
		"dist/index.html": html, "dist/my pic.png": "p", "dist/s/a.css": "a { background: url(p.png) }\nb { background: url('q.png') }\n", "dist/s/p.png": "p",
	})
	for _, mode := range []optimize.Guard{optimize.GuardRestore, optimize.GuardOff} {
		cfg := config(t, ws)
		cfg.Guard, cfg.Output, cfg.Args = mode, "out", "--fail-on-broken-refs"
		r := run(t, cfg)
		want := []optimize.BrokenRef{{Source: "index.html", Target: "gone.png"}, {Source: "s/a.css", Target: "s/q.png"}}
		if diff := cmp.Diff(want, r.BrokenRefs); diff != "" || !r.BrokenRefsFailed || r.ExitCode != 1 {
			t.Errorf("guard %s: failed %t, exit %d, broken (-want +got):\n%s", mode, r.BrokenRefsFailed, r.ExitCode, diff)
		}
	}
	write(t, ws, map[string]string{"dist/gone.png": "p", "dist/s/q.png": "p"})
	cfg := config(t, ws)
	cfg.Output, cfg.Args = "out", "--fail-on-broken-refs"
	if r := run(t, cfg); r.BrokenRefsFailed || r.ExitCode != 0 {
		t.Errorf("failed for %v, want none", r.BrokenRefs)
	}
}

// Two builds of one source are equal, byte for byte.
func TestTheSameSourceGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, profile := range []optimize.Profile{optimize.ProfileSafe, optimize.ProfileFull} {
		for _, mode := range []optimize.Guard{optimize.GuardRestore, optimize.GuardOff} {
			t.Run(string(profile)+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				ws := longSite(t)
				for _, output := range []string{"one", "two"} {
					cfg := config(t, ws)
					cfg.Profile, cfg.Guard, cfg.Output = profile, mode, output
					r := run(t, cfg)
					if r.Profile != profile {
						t.Errorf("profile = %q, want %q", r.Profile, profile)
					}
				}
				one := snapshot(t, filepath.Join(ws, "one"))
				if diff := cmp.Diff(one, snapshot(t, filepath.Join(ws, "two"))); diff != "" {
					t.Errorf("two runs differ (-one +two):\n%s", diff)
				}
				for name, content := range one {
					if strings.Contains(content, `content="Pageflare 2`) {
						t.Errorf("%s has the time of the run", name)
					}
				}
				for i, name := range []string{"index.html", "about.html"} {
					whole := strings.Contains(one[name], "The end") && strings.Contains(one[name], "</a> <a") && strings.Contains(one[name], fmt.Sprintf("Page %d", i))
					if mode != optimize.GuardOff && !whole {
						t.Errorf("%s lost something: %.3000s", name, one[name])
					}
				}
			})
		}
	}
}

func TestTheTimeOfASourceIsTheOneInItsPages(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	cfg := config(t, ws)
	cfg.SourceDate = time.Unix(1767323045, 0)
	run(t, cfg)
	if got := read(t, ws, "dist/index.html"); !strings.Contains(got, `<meta name="generator" content="Pageflare 2026-01-02 03:04:05 UTC">`) {
		t.Errorf("page = %q, want the time of the source", got)
	}
}

// An output of which every page was published as it was has no mark in a page.
func TestAnOutputWithoutAMarkInItsPagesIsKnown(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	cfg := guarded(faked(t, ws, `cp "$src/index.html" "$out"; echo "$ok"`))
	cfg.Output = "out"
	for range 2 {
		run(t, cfg)
		if got := read(t, ws, "out/index.html"); got != page {
			t.Errorf("page = %q, want it as it was", got)
		}
	}
	if err := os.Mkdir(filepath.Join(ws, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, ws, map[string]string{"other/.pageflare-output": "", "other/index.html": page})
	cfg.Output = "other"
	run(t, cfg)
}

func TestModesWithSetgidAndStickyAreKept(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/d/a.css": "a { color: red }", "dist/.d/x": ""})
	modes := map[string]os.FileMode{"d": os.ModeSetgid | 0o775, ".d": os.ModeSticky | 0o777, "d/a.css": 0o664, ".": os.ModeSetgid | 0o755}
	for name, mode := range modes {
		if err := os.Chmod(filepath.Join(ws, "dist", name), mode); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config(t, ws)
	cfg.Output = "out"
	run(t, cfg)
	for name, want := range modes {
		info, err := os.Stat(filepath.Join(ws, "out", name))
		if err != nil || info.Mode()&^os.ModeDir != want {
			t.Errorf("mode of out/%s = %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
}
