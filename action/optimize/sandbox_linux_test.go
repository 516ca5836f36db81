package optimize_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The names and references that lead out of the site, with something there to read or to overwrite.
func hostileSite(t testing.TB) string {
	t.Helper()
	return site(t, map[string]string{
		"package.json": "precious", "canary.css": ".canary{color:#123456}", "canary.svg": "<svg><title>canary</title></svg>", "sub/page.html": "precious",
		"dist/index.html": `<!doctype html><html><head><title>x</title><link rel="stylesheet" href="../canary.css"><link rel="stylesheet" href="..\canary.css">` +
			`<link rel="stylesheet" href="%2e%2e/canary.css"><link rel="stylesheet" href="/etc/passwd"><style>@import "../canary.css";</style></head>` +
			`<body><p class="canary">x</p><img src="../canary.svg" srcset="../canary.svg 2x"><script src="../canary.js"></script></body></html>`,
		"dist/sub/page.html": page, "dist/sub\\page.html": "<p>another</p>", "dist/x\\..\\..\\package.json": `{ "scripts": {} }`,
		"dist/s\\d/a.css": "a  {  color: red  }", "dist/a.css": "@import '../canary.css';\na  {  background: url(../canary.svg)  }\n/*# sourceMappingURL=../canary.css */",
	})
}

func TestNothingLeadsTheOptimizerOutOfItsFolders(t *testing.T) {
	t.Parallel()
	for name, confined := range map[string]bool{"with Landlock": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := hostileSite(t)
			before := snapshot(t, ws)
			cfg := config(t, ws)
			cfg.Output = "out"
			p := check(t, cfg)
			if !confined {
				p.WithoutLandlock()
			}
			if _, err := p.Run(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			after := snapshot(t, ws)
			for name, content := range after {
				if strings.HasPrefix(name, "out") {
					if strings.Contains(content, "#123456") || strings.Contains(content, "root:") {
						t.Errorf("%s holds what lies outside of the site: %s", name, content)
					}
					delete(after, name)
				}
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("workspace without the output (-before +after):\n%s", diff)
			}
			for _, name := range []string{"sub\\page.html", "x\\..\\..\\package.json", "s\\d/a.css"} {
				if got, want := read(t, ws, "out", name), read(t, ws, "dist", name); got != want {
					t.Errorf("out/%s = %q, want the source's bytes", name, got)
				}
			}
			if got := read(t, ws, "out/sub/page.html"); strings.Contains(got, "another") || !strings.Contains(got, "generator") {
				t.Errorf("out/sub/page.html = %q, want it optimized", got)
			}
		})
	}
}

// A program that tries to get out, in place of the optimizer.
func TestTheSandboxIsClosed(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "canary": "precious", ".git/config": "token"})
	beside := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(beside, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	cfg := faked(t, ws, `
for f in "$src/../canary" "$src/../.git/config" `+beside+`; do
	(: < "$f") 2>/dev/null && echo "read $f" >&2
	(echo bad > "$f") 2>/dev/null && echo "wrote $f" >&2
	rm -f "$f" 2>/dev/null && [ ! -e "$f" ] && echo "removed $f" >&2
done
(echo bad > "$src/new") 2>/dev/null && echo "wrote into the source" >&2
mv "$out" "$out.moved" 2>/dev/null && echo "moved the stage" >&2
ln "$src/index.html" "$out/link.html" 2>/dev/null && echo bad >> "$out/link.html" 2>/dev/null && echo "wrote through a link" >&2
cat "$src/index.html" > "$out/index.html" && echo x > "$HOME/x" && echo x > /dev/null && head -c 1 /dev/urandom > /dev/null && echo fine >&2
echo "$ok"`)
	cfg.Output = "out"
	if err := os.Rename(strings.TrimPrefix(cfg.Args, "--log="), filepath.Join(ws, "dist", "script")); err != nil { // where it can be read
		t.Fatal(err)
	}
	cfg.Args = "--log=" + filepath.Join(ws, "dist", "script")
	before := snapshot(t, ws)
	p := check(t, cfg)
	p.Confined()
	if _, err := p.Run(t.Context(), ""); err != nil {
		t.Fatalf("%v; log:\n%v", err, cfg.Log)
	}
	log := fmt.Sprint(cfg.Log)
	if strings.Contains(log, "without Landlock") {
		t.Fatal("this kernel has no Landlock: the test needs one")
	}
	for line := range strings.SplitSeq(log, "\n") {
		for _, bad := range []string{"read ", "wrote ", "removed ", "moved "} {
			if strings.HasPrefix(line, bad) {
				t.Errorf("the optimizer got out: %s", line)
			}
		}
	}
	if !strings.Contains(log, "fine\n") {
		t.Errorf("the optimizer could not do its work:\n%s", log)
	}
	after := snapshot(t, ws)
	for name := range after {
		if strings.HasPrefix(name, "out") {
			delete(after, name)
		}
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("workspace (-before +after):\n%s", diff)
	}
}

func TestWithoutLandlockAChangeOutsideIsAnError(t *testing.T) {
	t.Parallel()
	for act, want := range map[string]string{
		`echo bad > "$src/../package.json"`: "package.json", `echo bad > "$src/../sub/new"`: "sub/new", `rm "$src/../sub/old"`: "sub/old",
	} {
		ws := site(t, map[string]string{"dist/index.html": page, "package.json": "precious", "sub/old": "x"})
		cfg := faked(t, ws, act+"; "+done)
		p := check(t, cfg)
		p.WithoutLandlock()
		_, err := p.Run(t.Context(), "")
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q in the workspace was changed", want)) {
			t.Errorf("Run with %s = %v, want an error that names %s", act, err, want)
		}
		if got := read(t, ws, "dist/index.html"); got != page {
			t.Errorf("dist/index.html = %q, want it as it was", got)
		}
	}
}

func TestConfinementDoesNotChangeTheResult(t *testing.T) {
	t.Parallel()
	ws := longSite(t)
	for _, output := range []string{"one", "two"} {
		cfg := config(t, ws)
		cfg.Output = output
		p := check(t, cfg)
		if output == "two" {
			p.Unconfined()
		}
		if _, err := p.Run(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(snapshot(t, filepath.Join(ws, "two")), snapshot(t, filepath.Join(ws, "one"))); diff != "" {
		t.Errorf("result (-without +with):\n%s", diff)
	}
}
