package optimize_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/optimize"
	"github.com/pageflare/ci/service/opaque"
)

const manifest = `{
  "manifest": {
    "total_files": 3, "files_processed": 2, "files_skipped": 1, "files_copied": 0, "files_errored": 1, "bytes_saved": -70,
    "errors": ["bad.css: no"], "results": [{"path": "index.html", "size_in": 35}], "unknown": {"a": [1]},
    "broken_refs": [{"source": "index.html", "target": "no.png"}],
    "phase_timings": [{"phase": "discover", "duration": 5}, {"phase": "write", "duration": 0.5}]
  },
  "tier": "Free",
  "features": [{"label": "minify_html", "status": "active"}, {"label": "spa_mode", "status": "pro_locked"}]
}
`

func TestParseManifest(t *testing.T) {
	t.Parallel()
	want := optimize.Report{
		Tier:       "Free",
		BrokenRefs: []optimize.BrokenRef{{Source: "index.html", Target: "no.png"}},
		Warnings: []string{
			"the optimizer could not process 1 of the files; they are published as they were", `optimizer: "bad.css: no"`,
		},
	}
	for _, before := range []string{"", "  (zero-config)\n\n  ✓  sw.js {2260B}\n"} {
		got, err := optimize.ParseManifest([]byte(before + manifest))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("ParseManifest after %q = %v (-want +got):\n%s", before, err, diff)
		}
	}
}

func TestParseManifestRefuses(t *testing.T) {
	t.Parallel()
	for name, stdout := range map[string]string{
		"nothing": "", "prose": "all is well\n", "half a document": manifest[:100], "text after it": manifest + "done", "a second one": manifest + manifest,
		"another object": "{}", "null": `{"manifest": null}`, "counts that are no numbers": `{"manifest": {"files_errored": "1"}}`, "a list": "[1]",
	} {
		if got, err := optimize.ParseManifest([]byte(stdout)); err == nil {
			t.Errorf("ParseManifest(%s) = %+v, want an error", name, got)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(manifest))
	f.Add([]byte("prose\n{\"manifest\":{}}"))
	f.Add([]byte(`{"manifest":{"phase_timings":[{"duration":1e308}]}}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, stdout []byte) {
		if _, err := optimize.ParseManifest(stdout); err != nil {
			return
		}
		if !json.Valid(stdout[strings.IndexByte(string(stdout), '{'):]) && !strings.Contains(string(stdout), "\n{") {
			t.Errorf("ParseManifest(%q) = nil, want an error for what is no JSON", stdout)
		}
	})
}

func TestUnfold(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, stderr, want string }{
		{"one line", "Error:   × Config parse error: EOF at line 2\n\n", "Config parse error: EOF at line 2"},
		{"folded at a space", "Error:   × Input path /my site/one two\n  │ eleven/twelve is not a directory\n", "Input path /my site/one two eleven/twelve is not a directory"},
		{"folded at a hyphen", "Error:   × Input path /tmp/and-\n  │ even-more is not a directory\n", "Input path /tmp/and-even-more is not a directory"},
		{"folded inside a long word", "Error:   × Input path /tmp/\n  │ " + strings.Repeat("a", 74) + "\n  │ aa is not a directory\n", "Input path /tmp/" + strings.Repeat("a", 76) + " is not a directory"},
		{"paragraphs", "Error:   × No index.html found in /x\n  │ \n  │   pageflare expects a site (dist/,\n  │ out/).\n", "No index.html found in /x; pageflare expects a site (dist/, out/)."},
		{"a usage error", "error: unexpected argument '--x' found\n\n  tip: y\n\nUsage: pageflare\n", "error: unexpected argument '--x' found"},
		{"commands to a terminal", "Error:   × \x1b[2Jbad \x1b[1;31mfile\x1b[0m \x1b]0;title\x07a\tb\r\x00\u202ec\u009b3J\n", "bad file a bc"},
		{"nothing", "\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := optimize.Unfold(tt.stderr); got != tt.want {
				t.Errorf("Unfold = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheLicenseHidesItself(t *testing.T) {
	t.Parallel()
	s := opaque.Secret("not-for-you")
	for _, text := range []string{fmt.Sprintf("%v", s), fmt.Sprintf("%+v", optimize.Config{License: s}), fmt.Sprintf("%#v", s), s.LogValue().String()} {
		if strings.Contains(text, "not-for-you") {
			t.Errorf("a secret prints as %q", text)
		}
	}
}
