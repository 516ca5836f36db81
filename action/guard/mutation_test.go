package guard_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pageflare/ci/action/guard"
)

// The guard is proven by damage: results of the real optimizer that are published are damaged in
// the ways that the optimizer is known for and in random ones, and held against their sources
// again. What is not caught is counted. docs/action.md has the figures.

// mutant damages a file of a type, or answers false where it finds nothing to damage.
type mutant struct {
	name   string
	types  string // extensions, divided by blanks
	damage func(r *rand.Rand, good string) (string, bool)
}

// known are the ways in which the optimizer is known to damage sites. None may be missed.
var known = []mutant{
	{"a page cut off", ".html", func(r *rand.Rand, s string) (string, bool) {
		body := strings.Index(s, "<body")
		if body < 0 || len(s)-body < 200 {
			return "", false
		}
		return s[:body+100+r.IntN(len(s)-body-150)], true
	}},
	{"a word lost", ".html", replaceOne(`>[^<>]*?([a-zA-Z]{3,})[^<>]*<`, "")},
	{"a blank between words lost", ".html", replaceOne(`>[^<>]*?[a-z]( )[a-z][^<>]*<`, "")},
	{"a blank between links lost", ".html", replaceOne(`</a>( )<a`, "")},
	{"a link changed", ".html", replaceOne(`<a [^>]*href="?([^" >]+)`, "#")},
	{"an image exchanged", ".html", replaceOne(`<img [^>]*src="?([^" >]+)`, "/other.png")},
	{"an id lost", ".html", replaceOne(`<[a-z0-9]+ [^>]*( id="?[^" >]+"?)`, "")},
	{"a class lost", ".html", replaceOne(`<[a-z0-9]+ [^>]*( class="?[^" >]+"?)`, "")},
	{"a description lost", ".html", replaceOne(`(<meta [^>]*name="?description[^>]*>)`, "")},
	{"a title changed", ".html", replaceOne(`<title>[^<]*?([a-zA-Z]{3,})`, "Page")},
	{"a heading made a paragraph", ".html", replaceOne(`<(h[1-6])[ >]`, "p")},
	{"a script removed", ".html", replaceOne(`(<script[^>]*></script>)`, "")},
	{"a script deferred", ".html", replaceOne(`<script(?: defer)? (src)=`, "data-src")},
	{"a script inserted", ".html", replaceOne(`()</title>`, `</title><script>alert(1)</script><title>`)},
	{"a sheet for all media", ".html", replaceOne(`<link [^>]*( media="?[a-z]+"?)`, "")},
	{"a sheet removed", ".html", replaceOne(`(<link [^>]*rel="?stylesheet"?[^>]*>)`, "")},
	{"a digest changed", ".html", replaceOne(`integrity="?sha[0-9]+-([A-Za-z0-9+/]{5})`, "AAAAA")},
	{"an icon without its size", ".html", replaceOne(`<svg [^>]*( width="[^"]*")`, "")},
	{"a mark of hydration lost", ".html", replaceOne(`(<!--\[-->|<!--/?\$-->|<!--\]-->)`, "")},
	{"a script emptied", ".js .mjs", func(*rand.Rand, string) (string, bool) { return "", true }},
	{"a string lost", ".js .mjs", replaceOne("[`\"']([a-zA-Z]{4,})[`\"']", "zzzz")},
	{"a property renamed", ".js .mjs", replaceOne(`\.([a-zA-Z]{4,})[(.=]`, "zzzz")},
	{"a rule lost", ".css", replaceOne(`(\.[a-z][a-z0-9-]*\{[^{}]+\})`, "")},
	{"a declaration lost", ".css", replaceOne(`[{;]([a-z-]{4,}:[^;{}]+;)`, "")},
	{"a medium changed", ".css", replaceOne(`@media [^{]*?(print|width)`, "all")},
	{"a custom property renamed", ".css", replaceOne(`[{;](--[a-z-]+):`, "--zz")},
	{"a sheet emptied", ".css", func(*rand.Rand, string) (string, bool) { return "", true }},
	{"a number changed", ".json .js .mjs", replaceOne(`[:=(,\[]([0-9]{2,})[,);}\]]`, "70707")},
	{"a value lost", ".json .webmanifest .xml .svg", replaceOne(`[">]([a-zA-Z]{4,})[<"]`, "zz")},
}

// random damage is of bytes: letters of words, of names and of values. Some of it means nothing to
// anybody, and is counted as missed all the same.
var random = []mutant{
	{"a letter changed", ".html .js .mjs .css .json .svg .xml", func(r *rand.Rand, s string) (string, bool) {
		for range 50 {
			if i := r.IntN(len(s)); s[i] >= 'a' && s[i] < 'z' {
				return s[:i] + string(s[i]+1) + s[i+1:], true
			}
		}
		return "", false
	}},
	{"a piece cut out", ".html .js .mjs .css .json .svg .xml", func(r *rand.Rand, s string) (string, bool) {
		i := r.IntN(len(s))
		return s[:i] + s[min(len(s), i+1+r.IntN(30)):], true
	}},
	{"a piece doubled", ".html .js .mjs .css .json .svg .xml", func(r *rand.Rand, s string) (string, bool) {
		i := r.IntN(len(s))
		j := min(len(s), i+1+r.IntN(30))
		return s[:j] + s[i:], true
	}},
}

// replaceOne replaces the first group of a random match.
func replaceOne(pattern, by string) func(*rand.Rand, string) (string, bool) {
	re := regexp.MustCompile(pattern)
	return func(r *rand.Rand, s string) (string, bool) {
		all := re.FindAllStringSubmatchIndex(s, 400)
		if len(all) == 0 {
			return "", false
		}
		m := all[r.IntN(len(all))]
		return s[:m[2]] + by + s[m[3]:], true
	}
}

// good is a result of the optimizer that is published, and its source.
type good struct {
	site      *guard.Site
	name      string
	source    []byte
	published []byte
}

// goods are the published results of the sites that real generators made.
func goods(t *testing.T) []good {
	t.Helper()
	binary, err := filepath.Abs("../optimize/cli/node_modules/@pageflare/cli-linux-x64/bin/pageflare")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("the pageflare CLI is not installed: run make optimizer (%v)", err)
	}
	sites, err := filepath.Glob("../../e2e/sites/*/dist")
	if err != nil || len(sites) < 5 {
		t.Fatalf("Glob = %v, %v, want the sites of e2e/sites", sites, err)
	}
	var all []good
	for _, dir := range sites {
		all = append(all, goodsOf(t, binary, dir)...)
	}
	return all
}

func goodsOf(t *testing.T, binary, dir string) (all []good) {
	t.Helper()
	source, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	out, home := t.TempDir(), t.TempDir()
	settings := filepath.Join(home, "pageflare.jsonc")
	const safe = `{"critical_css":false,"js_defer":false,"add_image_dimensions":false,"font_preload":false,"optimize_svg":false,"optimize_images":false}`
	if err := os.WriteFile(settings, []byte(safe), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "optimize", source, "--output", out, "--json", "--no-browser", "--config", settings)
	cmd.Env = []string{"HOME=" + home, "PAGEFLARE_TELEMETRY=0", "PAGEFLARE_API_URL=http://127.0.0.1:9"}
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("optimize %s: %v\n%s", dir, err, b)
	}
	var names []string
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, strings.TrimPrefix(path, source+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	site := guard.NewSite(guard.Config{Files: names, Read: func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(source, name)) }})
	for _, pages := range []bool{true, false} {
		for _, name := range names {
			if guard.IsPage(name) != pages {
				continue
			}
			was, err := os.ReadFile(filepath.Join(source, name))
			is, rerr := os.ReadFile(filepath.Join(out, name))
			if err != nil || rerr != nil || len(was) > 40_000 || len(is) == 0 || bytes.Equal(was, is) {
				continue
			}
			v := site.Judge(name, was, is)
			if p := published(v, string(was), string(is)); v.Publish != guard.PublishSource && p != "" {
				all = append(all, good{site, name, was, []byte(p)})
			}
		}
	}
	return all
}

func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	all := goods(t)
	missed, tried := try(t, known, all, 30)
	if missed > 0 {
		t.Errorf("%d of %d known damages were missed, want none", missed, tried)
	}
	t.Logf("known damage: %d of %d missed", missed, tried)
	missed, tried = try(t, random, all, 400)
	t.Logf("random damage: %d of %d missed", missed, tried)
	if tried < 1000 || missed*1000 > tried*maxMissed {
		t.Errorf("%d of %d random damages were missed, want %.1f %% at most", missed, tried, maxMissed/10.0)
	}
}

func TestTheDocumentsSayHowMuchDamageIsMissed(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/action.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(b)), " ")
	for _, want := range []string{fmt.Sprintf("in the %d ways", len(known)), fmt.Sprintf("at most %d %%", maxMissed/10)} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/action.md does not say %q", want)
		}
	}
}

// maxMissed is the share of random damages, in thousandths, that may be missed. docs/action.md says
// it.
const maxMissed = 30

// try makes each mutant damage files that are drawn at random, as often as said.
func try(t *testing.T, mutants []mutant, all []good, times int) (missed, tried int) {
	t.Helper()
	for _, m := range mutants {
		var files []good
		for _, g := range all {
			if strings.Contains(" "+m.types+" ", " "+filepath.Ext(g.name)+" ") {
				files = append(files, g)
			}
		}
		r := rand.New(rand.NewPCG(1, 1))
		used := 0
		for draw := 0; draw < 20*times && used < times && len(files) > 0; draw++ {
			g := files[r.IntN(len(files))]
			bad, ok := m.damage(r, string(g.published))
			if !ok || bad == string(g.published) {
				continue
			}
			used++
			if v := g.site.Judge(g.name, g.source, []byte(bad)); v.Publish == guard.PublishResult {
				missed++
				t.Logf("%s: %s: missed%s", m.name, g.name, around(string(g.published), bad))
			}
		}
		if used == 0 {
			t.Errorf("%s: no file to damage", m.name)
		}
		tried += used
	}
	return missed, tried
}

// around shows where two texts part.
func around(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-30)
	return fmt.Sprintf("\n  - %q\n  + %q", a[from:min(len(a), i+40)], b[from:min(len(b), i+40)])
}
