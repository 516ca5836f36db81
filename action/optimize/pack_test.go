package optimize_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"

	"github.com/pageflare/ci/action/optimize"
)

// weigh compresses as the package says that it does, by other means: all at once, in memory.
func weigh(t testing.TB, text string) (zipped, br int64) {
	t.Helper()
	var g, b bytes.Buffer
	gw, err := gzip.NewWriterLevel(&g, 6)
	bw := brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 5, LGWin: 18})
	for _, w := range []io.WriteCloser{gw, bw} {
		_, werr := io.WriteString(w, text)
		err = errors.Join(err, werr, w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return min(int64(g.Len()), int64(len(text))), min(int64(b.Len()), int64(len(text)))
}

func TestPackedSizes(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("compressible text. ", 100)
	zipped, br := weigh(t, text)
	exactly := func(n int64) optimize.Packed { return optimize.Packed{Gzip: n, Brotli: n} }
	for name, c := range map[string]struct {
		files map[string]string
		want  map[optimize.Type]optimize.Packed
	}{
		"text is compressed":                  {map[string]string{"a.HTML": text}, map[optimize.Type]optimize.Packed{optimize.HTML: {Gzip: zipped, Brotli: br}}},
		"files are compressed one by one":     {map[string]string{"a.css": text, "b.css": text}, map[optimize.Type]optimize.Packed{optimize.CSS: {Gzip: 2 * zipped, Brotli: 2 * br}}},
		"an image counts as it is":            {map[string]string{"a.png": text}, map[optimize.Type]optimize.Packed{optimize.Image: exactly(int64(len(text)))}},
		"a font counts as it is":              {map[string]string{"a.woff2": text}, map[optimize.Type]optimize.Packed{optimize.Font: exactly(int64(len(text)))}},
		"an unknown file counts as it is":     {map[string]string{"a": text, "b.html.gz": text}, map[optimize.Type]optimize.Packed{optimize.Other: exactly(2 * int64(len(text)))}},
		"an image that is text is compressed": {map[string]string{"a.svg": text, "b.gif": "GIF"}, map[optimize.Type]optimize.Packed{optimize.Image: {Gzip: zipped + 3, Brotli: br + 3}}},
		"what would grow counts as it is":     {map[string]string{"a.js": "x"}, map[optimize.Type]optimize.Packed{optimize.JS: exactly(1)}},
		"an empty file is nothing":            {map[string]string{"a.js": "", "d/b.txt": ""}, map[optimize.Type]optimize.Packed{optimize.JS: {}, optimize.Other: {}}},
		"a link is nothing":                   {map[string]string{"a.js": "x", "l.css": "-> a.js"}, map[optimize.Type]optimize.Packed{optimize.JS: exactly(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := optimize.Pack(t.Context(), site(t, c.files), 2)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("Pack = %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// The site is larger than what is compressed of it: many pages and a bundle are estimated, the
// little CSS is measured.
func TestALargeSiteIsEstimated(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a.css": strings.Repeat("a{b:c}", 50), "app.js": ""}
	for i := range 120 {
		files[fmt.Sprintf("p/%d/index.html", i)] = strings.Join([]string{post(i), post(i + 1000), post(i + 2000)}[:1+i%3], "")
	}
	for i := range 100 {
		files["app.js"] += post(i)
	}
	var html optimize.Packed
	for name, text := range files {
		if strings.HasSuffix(name, ".html") {
			zipped, br := weigh(t, text)
			html.Gzip, html.Brotli = html.Gzip+zipped, html.Brotli+br
		}
	}
	jsZipped, jsBr := weigh(t, files["app.js"])
	dir := site(t, files)
	got, err := optimize.Pack(t.Context(), dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	wantNear(t, "html", got[optimize.HTML], html, 0.03)
	wantNear(t, "js", got[optimize.JS], optimize.Packed{Gzip: jsZipped, Brotli: jsBr}, 0.03)
	if got[optimize.CSS].Estimated {
		t.Error("CSS is an estimate, want it measured: there is little of it")
	}
	if again, err := optimize.Pack(t.Context(), dir, 1); err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
		t.Errorf("Pack again = %v, %v, want %v as before", again, err, got)
	}
}

func wantNear(t *testing.T, name string, got, want optimize.Packed, tolerance float64) {
	t.Helper()
	if !got.Estimated || off(got.Gzip, want.Gzip) > tolerance || off(got.Brotli, want.Brotli) > tolerance {
		t.Errorf("Pack(%s) = %+v, want an estimate near %+v", name, got, want)
	}
}

// A file of 2 GB, 100,000 files: what is read does not grow with the site.
func TestOfAHugeSiteLittleIsRead(t *testing.T) {
	t.Parallel()
	many := make([]int64, 100_000)
	for i := range many {
		many[i] = int64(i % 5000)
	}
	for name, sizes := range map[string][]int64{
		"one file of 2 GB": {2 << 30}, "2 GB and a little": {100, 2 << 30, 50}, "100,000 files": many, "files of 1 TB": {1 << 40, 1 << 40, 1 << 40},
	} {
		if got := optimize.Sampled(sizes); got <= 0 || got > 1<<20 {
			t.Errorf("%s: %d bytes are compressed, want at most 1 MiB", name, got)
		}
	}
	dir := site(t, map[string]string{"small.json": `{"a": 1}`, "huge.json": ""})
	if err := os.Truncate(filepath.Join(dir, "huge.json"), 2<<30); err != nil {
		t.Fatal(err)
	}
	got, err := optimize.Pack(t.Context(), dir, 2)
	if p := got[optimize.JSON]; err != nil || !p.Estimated || p.Gzip <= 0 || p.Gzip > 64<<20 {
		t.Errorf("Pack = %+v, %v, want a small estimate: it is all zeros", got, err)
	}
}

func TestPackEnds(t *testing.T) {
	t.Parallel()
	dir := site(t, map[string]string{"a.html": page, "b.html": page})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := optimize.Pack(cancelled, dir, 2); !errors.Is(err, context.Canceled) || got != nil {
		t.Errorf("Pack(cancelled) = %v, %v, want nothing", got, err)
	}
	got, err := optimize.PackAfter(t.Context(), dir, func() error { return os.Remove(filepath.Join(dir, "b.html")) })
	if !errors.Is(err, os.ErrNotExist) || got != nil {
		t.Errorf("Pack(a file that is gone) = %v, %v, want nothing", got, err)
	}
}

func TestARunMeasuresBothSides(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": post(1), "dist/.x.txt": post(2)})
	r := run(t, faked(t, ws, `mkdir -p "$out"; head -c 3000 "$src/index.html" > "$out/index.html"; echo "$ok"`))
	for _, c := range []struct {
		name string
		got  optimize.Total
		html string
	}{{"before", r.Before, post(1)}, {"after", r.After, post(1)[:3000]}} {
		zipped, br := weigh(t, c.html)
		dotZipped, dotBr := weigh(t, post(2))
		sum, ok := c.got.PackedSum()
		if want := (optimize.Packed{Gzip: zipped + dotZipped, Brotli: br + dotBr}); !ok || sum != want || c.got.Packed[optimize.HTML].Gzip != zipped {
			t.Errorf("%s: %+v, want %+v", c.name, c.got.Packed, want)
		}
	}
}

// A measurement that fails takes nothing away from the run. The site loses a file while the
// optimizer runs, before it can be read.
func TestARunWithoutPackedSizesIsGood(t *testing.T) {
	t.Parallel()
	r := optimize.Report{}
	log := optimize.Take(t.Context(), &r, t.TempDir())
	if _, ok := r.Before.PackedSum(); ok || r.Before.Packed != nil || r.After.Packed != nil || !strings.Contains(log, "compressed sizes were not measured") {
		t.Errorf("report = %+v, log %q, want neither side and a line", r, log)
	}
}

// The demo site, with the real optimizer: each type is what it is when all of it is compressed.
// Both columns of the summary can be read side by side.
func TestFiguresOfARealSiteAreTrue(t *testing.T) {
	t.Parallel()
	ws := t.TempDir()
	if err := os.CopyFS(filepath.Join(ws, "dist"), os.DirFS("../../e2e/site")); err != nil {
		t.Fatal(err)
	}
	r := run(t, config(t, ws))
	for dir, got := range map[string]optimize.Total{"../../e2e/site": r.Before, filepath.Join(ws, "dist"): r.After} {
		for kind, want := range weighAll(t, dir) {
			if p := got.Packed[kind]; off(p.Gzip, want.Gzip) > 0.05 || off(p.Brotli, want.Brotli) > 0.05 {
				t.Errorf("%s, %s: %+v, want %+v", dir, kind, p, want)
			}
		}
	}
}

// Files differ in how well they compress, so a sample of them is off by as much as its luck. What
// the optimizer did to them must not be: with a sample of its own on each side, nothing would come
// out as growth.
func TestASampleTellsTheChangeBetterThanTheSize(t *testing.T) {
	t.Parallel()
	before, after := map[string]string{}, map[string]string{}
	for i := range 300 {
		text := strings.Repeat("<p>the same again and again</p>\n", 20*(i%7)) + strings.Repeat(post(i), 1+i%3)
		name := fmt.Sprintf("p/%d.html", i)
		before[name], after[name] = text, text[:len(text)*9/10]
	}
	from, to := site(t, before), site(t, after)
	was, is, err := optimize.PackBoth(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	trueWas, trueIs := weighAll(t, from)[optimize.HTML], weighAll(t, to)[optimize.HTML]
	change := func(is, was int64) int64 { return is * 1e6 / was }
	got, want := change(is[optimize.HTML].Gzip, was[optimize.HTML].Gzip), change(trueIs.Gzip, trueWas.Gzip)
	if !was[optimize.HTML].Estimated || !is[optimize.HTML].Estimated || off(got, want) > 0.01 {
		t.Errorf("after a change of %d millionths the sizes are %+v and %+v: %d millionths", want, was[optimize.HTML], is[optimize.HTML], got)
	}
}

// weighAll compresses every file of a folder.
func weighAll(t *testing.T, dir string) map[optimize.Type]optimize.Packed {
	t.Helper()
	sum := map[optimize.Type]optimize.Packed{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		kind := optimize.TypeOf(path)
		p := sum[kind]
		zipped, br := int64(len(b)), int64(len(b))
		if optimize.IsText(path) {
			zipped, br = weigh(t, string(b))
		}
		sum[kind] = optimize.Packed{Gzip: p.Gzip + zipped, Brotli: p.Brotli + br}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func off(a, b int64) float64 { return math.Abs(float64(a-b)) / float64(b) }
