package optimize_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/optimize"
)

// Each test here is one trap of the real CLI that this package must defuse.

func TestTrapCLIDropsDotfiles(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		".nojekyll": "", ".well-known/security.txt": "Contact: x", "docs/.htaccess": "Deny from all", "docs/.hidden/deep/a.bin": "x",
	}
	ws := site(t, map[string]string{"dist/index.html": page})
	write(t, filepath.Join(ws, "dist"), files)
	cfg := config(t, ws)
	cfg.Output = "out"
	r := run(t, cfg)
	for name, want := range files {
		if got := read(t, ws, "out", name); got != want {
			t.Errorf("out/%s = %q, want %q", name, got, want)
		}
	}
	if len(r.Restored) != 0 {
		t.Errorf("Restored = %q, want none: dotfiles are a matter of course", r.Restored)
	}
}

func TestTrapCLIDropsFilesByTypeAndFolder(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{
		"dist/index.html": page, "dist/a.zip": "zip", "dist/feed.atom": "<feed/>", "dist/pagefind/x.pf_meta": "meta",
		"dist/node_modules/lib/a.js": "let a  =  1", "dist/style.css.br": "br", "dist/empty/": "",
	})
	cfg := config(t, ws)
	cfg.Output = "out"
	r := run(t, cfg)
	want := []string{"a.zip", "feed.atom", "node_modules/lib/a.js", "pagefind/x.pf_meta", "style.css.br"}
	if diff := cmp.Diff(want, r.Restored); diff != "" {
		t.Errorf("Restored (-want +got):\n%s", diff)
	}
	for _, name := range append(want, "empty") {
		if _, err := os.Stat(filepath.Join(ws, "out", name)); err != nil {
			t.Errorf("out/%s: %v, want it kept", name, err)
		}
	}
	if len(r.Warnings) != 2 || !strings.Contains(r.Warnings[0], `"node_modules/lib/a.js"`) || !strings.Contains(r.Warnings[1], `"style.css.br"`) {
		t.Errorf("Warnings = %q, want one on the script and one on the compressed file", r.Warnings)
	}
}

func TestTrapCLIDropsModes(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/bin/run.sh": "#!/bin/sh", "dist/secret.txt": "x", "dist/l.txt": "-> secret.txt"})
	modes := map[string]fs.FileMode{"index.html": 0o640, "bin/run.sh": 0o755, "secret.txt": 0o600, "bin": 0o750, ".": 0o711}
	for name, mode := range modes {
		if err := os.Chmod(filepath.Join(ws, "dist", name), mode); err != nil {
			t.Fatal(err)
		}
	}
	modes["l.txt"] = 0o600 // the CLI makes a file of it
	cfg := config(t, ws)
	cfg.Output = "out"
	run(t, cfg)
	for name, want := range modes {
		info, err := os.Stat(filepath.Join(ws, "out", name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of out/%s = %v (%v), want %v", name, info.Mode().Perm(), err, want)
		}
	}
}

func TestTrapCLIPublishesItsManifest(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"", "out"} {
		ws := site(t, map[string]string{
			"dist/index.html": page, "dist/.pageflare-output-manifest.json": `["stale"]`, "dist/sub/.pageflare-output-manifest.json": "[]",
		})
		cfg := config(t, ws)
		cfg.Output = output
		run(t, cfg)
		for name := range snapshot(t, filepath.Join(ws, "dist")) {
			if output == "" && strings.Contains(name, "pageflare-output-manifest") {
				t.Errorf("dist/%s exists, want it removed in place", name)
			}
		}
		if output != "" {
			for name := range snapshot(t, filepath.Join(ws, "out")) {
				if strings.Contains(name, "pageflare-output-manifest") {
					t.Errorf("out/%s exists, want it left out", name)
				}
			}
		}
	}
}

func TestTrapCLIFollowsLinks(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{
		"dist/index.html": page, "dist/sub/deep/a.txt": "a", "dist/folder": "-> sub/deep", "dist/sub/up.txt": "-> ../index.html",
		"dist/broken": "-> sub/none", "dist/loop": "-> loop", "dist/around": "-> ../dist/sub", "dist/a.zip": "-> sub/deep/a.txt", "dist/self": "-> .",
	})
	for link, target := range map[string]string{"abs": "sub/deep", "absbroken": "sub/no"} {
		if err := os.Symlink(filepath.Join(ws, "dist", target), filepath.Join(ws, "dist", link)); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config(t, ws)
	cfg.Output = "out"
	run(t, cfg)
	want := map[string]string{
		"folder": "sub/deep", "broken": "sub/none", "loop": "loop", "around": "sub", "a.zip": "sub/deep/a.txt", "abs": "sub/deep",
		"absbroken": "sub/no", "self": ".",
	}
	for name, target := range want {
		if got, err := os.Readlink(filepath.Join(ws, "out", name)); err != nil || got != target {
			t.Errorf("out/%s -> %q (%v), want %q", name, got, err, target)
		}
	}
	if info, err := os.Lstat(filepath.Join(ws, "out/sub/up.txt")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("out/sub/up.txt = %v (%v), want the file that the CLI made of the link", info, err)
	}
}

func TestTrapCLIRenamesWordPressFolders(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"dist/index.html":           `<html><head><title>x</title><link rel="stylesheet" href="/wp-content/s.css"></head><body><a href="/wp-content/up/z.zip">z</a></body></html>`,
		"dist/wp-content/s.css":     "a { color: red }",
		"dist/wp-content/up/z.zip":  "zip",
		"dist/wp-content/.htaccess": "x",
		"dist/wp-admin/a.css":       "b { color: red }",
	}
	ws := site(t, files)
	cfg := config(t, ws)
	cfg.Output = "out"
	r := run(t, cfg)
	if got := names(t, filepath.Join(ws, "out")); got != "content index.html" {
		t.Errorf("out = %q, want only what wp_hide leaves", got)
	}
	if got := names(t, filepath.Join(ws, "out/content")); got != ".htaccess s.css up" {
		t.Errorf("out/content = %q, want all of wp-content", got)
	}
	if !strings.Contains(read(t, ws, "out/index.html"), "/content/up/z.zip") {
		t.Error("the page links to the old name, want the CLI's new one")
	}
	if diff := cmp.Diff([]string{"wp-admin/a.css"}, r.Omitted); diff != "" || len(r.Warnings) != 1 {
		t.Errorf("Omitted (-want +got):\n%s\nwarnings %q, want one", diff, r.Warnings)
	}

	write(t, ws, map[string]string{"dist/pageflare.jsonc": `{"wp_hide_paths": false}`})
	run(t, cfg)
	if got := names(t, filepath.Join(ws, "out")); got != "index.html wp-admin wp-content" {
		t.Errorf("out without wp_hide = %q, want the names of the source", got)
	}
}

// wp_hide counts as active here too, but leaves a site alone whose wp-content holds nothing that
// the CLI reads.
func TestTrapActiveDoesNotMeanAtWork(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/wp-content/z.zip": "z", "dist/wp-admin/z.zip": "z"})
	r := run(t, config(t, ws))
	if got := names(t, filepath.Join(ws, "dist")); got != "index.html wp-admin wp-content" || len(r.Omitted) > 0 {
		t.Errorf("dist = %q, omitted %q, want the names of the source", got, r.Omitted)
	}
}

func TestTrapTwoNamesFallTogether(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{
		"dist/index.html": page, "dist/content/a.zip": "own", "dist/wp-content/a.zip": "moved", "dist/wp-content/s.css": "a { color: red }",
		"dist/wp-content/b.zip": "b", "dist/wp-content.zip": "beside", "dist/wp-content-old/a.zip": "old",
	})
	run(t, config(t, ws))
	for name, want := range map[string]string{
		"content/a.zip": "own", "wp-content/a.zip": "moved", "content/b.zip": "b", "wp-content.zip": "beside", "wp-content-old/a.zip": "old",
	} {
		if got := read(t, ws, "dist", name); got != want {
			t.Errorf("dist/%s = %q, want %q", name, got, want)
		}
	}
}

func TestTrapFailureInPlace(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/.nojekyll": "", "dist/pageflare.jsonc": "{"})
	before := snapshot(t, ws)
	cfg := config(t, ws)
	err := fails(t, t.Context(), cfg)
	exit, ok := errors.AsType[*optimize.ExitError](err)
	if !ok || exit.Code != 1 || !strings.HasPrefix(exit.Message, "Config parse error: EOF while parsing an object") {
		t.Errorf("Run = %v, want the CLI's own words and exit status 1", err)
	}
	if diff := cmp.Diff(before, snapshot(t, ws)); diff != "" {
		t.Errorf("workspace after a failure (-before +after):\n%s", diff)
	}
	if left := names(t, cfg.TempDir); left != "" {
		t.Errorf("temporary folder holds %q, want the home removed", left)
	}
}

func TestTrapCancellationLeavesHalfAnOutput(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/a.css": "a { color: red }"})
	before := snapshot(t, ws)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := config(t, ws)
	cfg.Output = "new/parent/out"
	cfg.Args = "--log trace"
	cfg.Log = &logbook{on: func(string) { cancel() }} // the first line says that the CLI is at work
	if err := fails(t, ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
	if diff := cmp.Diff(before, snapshot(t, ws)); diff != "" {
		t.Errorf("workspace after a cancellation (-before +after):\n%s", diff)
	}
}

func TestTrapUnknownFlag(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	cfg := config(t, ws)
	cfg.Args = "--bogus"
	exit, ok := errors.AsType[*optimize.ExitError](fails(t, t.Context(), cfg))
	if !ok || exit.Code != 2 || exit.Message != "error: unexpected argument '--bogus' found" {
		t.Errorf("Run = %+v, want exit status 2 and the first paragraph", exit)
	}
}

func TestTrapBrokenRefsExitLikeAnError(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": `<html><head><title>x</title></head><body>  <img src="/no.png"></body></html>`})
	cfg := config(t, ws)
	r := run(t, cfg)
	if r.ExitCode != 0 || r.BrokenRefsFailed || len(r.BrokenRefs) != 1 {
		t.Errorf("without the flag: exit %d, failed %v, refs %v; want 0, false, one", r.ExitCode, r.BrokenRefsFailed, r.BrokenRefs)
	}
	cfg.Args, cfg.Output = "--fail-on-broken-refs", "out"
	r = run(t, cfg)
	want := []optimize.BrokenRef{{Source: "index.html", Target: "no.png"}}
	if diff := cmp.Diff(want, r.BrokenRefs); diff != "" || r.ExitCode != 1 || !r.BrokenRefsFailed {
		t.Errorf("with the flag: exit %d, failed %v, refs (-want +got):\n%s", r.ExitCode, r.BrokenRefsFailed, diff)
	}
	if _, err := os.Stat(filepath.Join(ws, "out/index.html")); err != nil {
		t.Errorf("out/index.html: %v, want the output complete", err)
	}
}

func TestTrapInPlaceTwice(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{
		"dist/index.html": page, "dist/a.css": "a { color: red }", "dist/.nojekyll": "", "dist/a.zip": "z", "dist/pageflare.jsonc": "{}",
	})
	cfg := config(t, ws)
	for range 2 {
		run(t, cfg)
		if got := names(t, filepath.Join(ws, "dist")); got != ".nojekyll a.css a.zip index.html pageflare.jsonc" {
			t.Fatalf("dist = %q, want all files", got)
		}
	}
	if got := names(t, ws); got != "dist" {
		t.Errorf("workspace = %q, want nothing beside dist", got)
	}
	if strings.Contains(read(t, ws, "dist/index.html"), "<!-- note -->") {
		t.Error("dist/index.html still has its comment, want it optimized")
	}
}

func TestTrapToolsOwnFilesStayOutOfAnotherOutput(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{
		"dist/index.html": page, "dist/pageflare.jsonc": "{}", "dist/.appz/output/static/index.html": "old", "dist/.git/config": "url",
		"dist/sub/.git": "gitdir: x",
	})
	cfg := config(t, ws)
	cfg.Output = "out"
	run(t, cfg)
	if got := names(t, filepath.Join(ws, "out")); got != "index.html sub" {
		t.Errorf("out = %q, want the site alone", got)
	}
}

func TestTrapTelemetry(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan struct{}, 100)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
			calls <- struct{}{}
		}
	}()
	ws := site(t, map[string]string{"dist/index.html": page})
	cfg := config(t, ws)
	cfg.APIURL = "http://" + l.Addr().String() + "/"
	run(t, cfg)
	l.Close()
	<-stopped
	if n := len(calls); n != 0 {
		t.Errorf("connections to the API = %d, want none", n)
	}
}

func TestTrapWarmCacheSkipsLostFiles(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/b.html": page, "dist/a.css": "a { color: red }"})
	cfg := config(t, ws)
	cfg.Output = "out"
	run(t, cfg)
	first := read(t, ws, "out/a.css")
	if err := os.Remove(filepath.Join(ws, "out/b.html")); err != nil {
		t.Fatal(err)
	}
	write(t, ws, map[string]string{"out/a.css": "tampered", "out/stale.txt": "x"})
	run(t, cfg)
	if got := names(t, filepath.Join(ws, "out")); got != "a.css b.html index.html" {
		t.Errorf("out = %q, want it filled anew", got)
	}
	if got := read(t, ws, "out/a.css"); got != first {
		t.Errorf("out/a.css = %q, want %q", got, first)
	}
}

func TestTrapRelativeOutputMeansTheSource(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"sub/dist/index.html": page, "sub/my.jsonc": `{"minify_html": false}`})
	cfg := config(t, ws)
	cfg.Source, cfg.Output, cfg.Args = "sub/../sub/dist/", "./a/b c", "--config sub/my.jsonc"
	source := snapshot(t, filepath.Join(ws, "sub"))
	run(t, cfg)
	if got := read(t, ws, "a/b c/index.html"); !strings.Contains(got, "<!-- note -->") {
		t.Errorf("a/b c/index.html = %q, want it there and not minified, as the config says", got)
	}
	if diff := cmp.Diff(source, snapshot(t, filepath.Join(ws, "sub"))); diff != "" {
		t.Errorf("source (-before +after):\n%s", diff)
	}
}

func TestTrapUnusualNames(t *testing.T) {
	t.Parallel()
	files := map[string]string{"new\nline.txt": "a", "-o.txt": "b", "100% ü.txt": "c", "bad\xff.bin": "d", ".bad\xff.txt": "g", "a;b|c.txt": "e", "::error::.txt": "f"}
	ws := site(t, map[string]string{"dist/index.html": page})
	write(t, filepath.Join(ws, "dist"), files)
	run(t, config(t, ws))
	for name, want := range files {
		if got := read(t, ws, "dist", name); got != want {
			t.Errorf("dist/%q = %q, want %q", name, got, want)
		}
	}
}

// The CLI would write bad?.html with a replacement character for the byte, over a page that has
// this very name.
func TestTrapNamesThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{
		"dist/index.html": page, "dist/a\xff.html": "one", "dist/a\ufffd.html": "two", "dist/b\xff.TXT": "x", "dist/d\xff/c.css": "", "dist/l\xff.js": "-> index.html", "dist/n\xff": "",
	})
	cfg := config(t, ws)
	cfg.Output = "out"
	refused(t, cfg, `source "dist": "a\xff.html" has a name that is not UTF-8`, `"b\xff.TXT" has`, `"d\xff/c.css" has`, `"l\xff.js" has`, `"n\xff" has`, "rename it")

	ws = site(t, map[string]string{"dist/index.html": page, "dist/a\xff.zip": "one", "dist/d\xff/.c.css": "", "dist/d\xff/x.md": ""})
	cfg = config(t, ws)
	cfg.Output = "out"
	run(t, cfg)
	if got := names(t, filepath.Join(ws, "out")); got != "a\xff.zip d\xff index.html" {
		t.Errorf("out = %q, want each name as it was and no other", got)
	}
}

func TestReportMeasuresTheDisk(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/a.css": "a { color: red }\n", "dist/z.zip": "zip", "dist/.nojekyll": "", "dist/d/": "", "dist/l": "-> d"})
	cfg := config(t, ws)
	cfg.Output = "out"
	r := run(t, cfg)
	want := optimize.Total{
		Size: optimize.Size{Files: 4, Bytes: int64(len(page)) + 17 + 3},
		ByType: map[optimize.Type]optimize.Size{
			optimize.HTML: {Files: 1, Bytes: int64(len(page))}, optimize.CSS: {Files: 1, Bytes: 17}, optimize.Other: {Files: 2, Bytes: 3},
		},
	}
	if p := r.Before.Packed[optimize.HTML]; p.Brotli == 0 || p.Brotli >= p.Gzip || p.Gzip >= int64(len(page)) {
		t.Errorf("html before = %+v packed, want brotli < gzip < %d", p, len(page))
	}
	r.Before.Packed = nil // the rest of it: pack_test.go
	if diff := cmp.Diff(want, r.Before); diff != "" {
		t.Errorf("Before (-want +got):\n%s", diff)
	}
	html := int64(len(read(t, ws, "out/index.html")))
	css := int64(len(read(t, ws, "out/a.css")))
	if got := r.After.Bytes; got != html+css+3 || r.BytesSaved() != r.Before.Bytes-got {
		t.Errorf("After = %d bytes, saved %d, want %d on disk", got, r.BytesSaved(), html+css+3)
	}
	changes := []optimize.Change{
		{Path: ".nojekyll", Type: optimize.Other}, {Path: "a.css", Type: optimize.CSS, Before: 17, After: css},
		{Path: "index.html", Type: optimize.HTML, Before: int64(len(page)), After: html}, {Path: "z.zip", Type: optimize.Other, Before: 3, After: 3},
	}
	if diff := cmp.Diff(changes, r.Changes); diff != "" {
		t.Errorf("Changes (-want +got):\n%s", diff)
	}
	if r.Tier != "Free" || r.Duration <= 0 {
		t.Errorf("tier %q after %v, want Free and the time it took", r.Tier, r.Duration)
	}
}
