package summary_test

import (
	"flag"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pageflare/ci/action/summary"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func site() *summary.Site {
	return &summary.Site{
		Source: "dist", Output: "dist", InPlace: true, Tier: "Free", Profile: "safe", Duration: 1234 * time.Millisecond,
		Before: summary.Size{Files: 30, Bytes: 614400}, After: summary.Size{Files: 32, Bytes: 409600},
		All: summary.TypeSize{
			Before: summary.Size{Files: 30, Bytes: 614400}, After: summary.Size{Files: 32, Bytes: 409600},
			PackedBefore: &summary.Packed{Gzip: 530000, Brotli: 525000}, PackedAfter: &summary.Packed{Gzip: 370000, Brotli: 366000, Estimated: true},
		},
		Types: []summary.TypeSize{
			{Type: "image", Before: summary.Size{Files: 8, Bytes: 512000}, After: summary.Size{Files: 10, Bytes: 358400}},
			{
				Type: "html", Before: summary.Size{Files: 22, Bytes: 102400}, After: summary.Size{Files: 22, Bytes: 51200},
				PackedBefore: &summary.Packed{Gzip: 20000, Brotli: 18000}, PackedAfter: &summary.Packed{Gzip: 12000, Brotli: 10000},
			},
			{Type: "json", After: summary.Size{Files: 1, Bytes: 10}},
			{Type: "css", Before: summary.Size{Files: 1, Bytes: 10}, After: summary.Size{Files: 1, Bytes: 25}},
		},
		Top: []summary.FileSize{{Path: "img/hero.png", Before: 60000, After: 20000}, {Path: "img/hero.webp", Before: -1, After: 9000}},
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	license := summary.License{
		State: "refreshed", Tier: "pro", Reason: "expires in 2 days, on 2026-03-03 12:00 UTC; refresh-before is 7d",
		ExpiresAt: now.AddDate(1, 0, 0), ValidUntil: now.AddDate(2, 0, 0), Now: now,
	}
	hostile := site()
	hostile.InPlace, hostile.Output = false, "out|<b>"
	hostile.Top = []summary.FileSize{{Path: "a\n::set-output name=x::y|`<script>`@octocat [x](http://x) **b** ~~s~~ :smile: #1", Before: 1, After: 2}}
	hostile.Broken = []summary.BrokenRef{{Source: "index.html", Target: "</code></td><img src=x onerror=alert(1)>"}}
	hostile.Warnings = []string{"restored \"x\ny\""}
	tooLarge := site()
	tooLarge.Tier, tooLarge.Before.Files, tooLarge.After.Files, tooLarge.Duration = "Pro", 1, 1, 70*time.Millisecond
	tooLarge.Largest = []summary.FileSize{{Path: "img/hero.png", Before: 60000, After: 20000}, {Path: "a.css", Before: 10, After: 5}}
	many := site()
	for range 30 {
		many.Broken = append(many.Broken, summary.BrokenRef{Source: "p.html", Target: "gone.png"})
		many.Top = append(many.Top, summary.FileSize{Path: "f.css", Before: 10, After: 5})
	}
	guarded := &summary.Guard{
		Published: true, Repaired: 1, Rerun: []string{"minify_html", "critical_css"},
		PutBack: []summary.PutBack{
			{Kind: "text", Key: "minify_html", Files: 1, Example: "docs/<b>|.html", Detail: "blanks between words or links were removed (3 times)"},
			{Kind: "link", Files: 1, Example: "index.html", Detail: "links got attributes that change how they are followed"},
		},
		Files: []summary.Rejected{
			{Path: "about.html", Detail: "words are gone", Before: "Home About", After: "HomeAbout", More: 3}, {Path: "app.js", Detail: `the script no longer defines "SITE"`},
			{Path: "a|`<b>`.html", Detail: "text <script> | @octocat", After: "**x** [y](http://z)\n| cell"},
		},
		Costs: []summary.Cost{{Kind: "text", Key: "minify_html", Files: 2, Bytes: 4096}, {Kind: "script", Files: 1, Bytes: -20}},
	}
	own := site()
	own.Profile = "own"
	refused := *guarded
	refused.Published, refused.Repaired, refused.PutBack, refused.Rerun = false, 0, nil, nil
	for name, r := range map[string]summary.Result{
		"guarded": {License: license, Site: own, Guard: guarded},
		"refused": {License: license, Problems: []summary.Problem{{Error: true, Text: "the optimizer changed 3 files more than it should"}}, Guard: &refused},
		"refreshed": {
			License: license, Site: site(),
			Secret: &summary.Secret{Name: "PAGEFLARE_TOKEN", Targets: []summary.Target{{Name: "repository", Outcome: "updated"}}},
		},
		"write-failed": {
			License: license, Site: site(),
			Problems: []summary.Problem{{Text: "the new token could not be stored"}},
			Secret:   &summary.Secret{Name: "PAGEFLARE_TOKEN", Targets: []summary.Target{{Name: "repository", Problem: "GitHub refused (403)"}}},
		},
		"expired": {
			License:  summary.License{State: "expired", Tier: "pro", Reason: "expired 3 days ago", ExpiresAt: now.AddDate(0, 0, -3), ValidUntil: now.Add(30 * time.Hour), Now: now},
			Problems: []summary.Problem{{Error: true, Text: "the license token has expired"}},
		},
		"missing":   {License: summary.License{State: "missing", Now: now}, Site: site()},
		"too-large": {License: license, Site: tooLarge, Problems: []summary.Problem{{Error: true, Text: "the optimized site has 409600 bytes"}}},
		"hostile":   {License: license, Site: hostile},
		"many":      {License: license, Site: many},
		"checked": {
			License: summary.License{State: "kept", Tier: "pro", Reason: "expires in 2 days; a run would refresh it now", ExpiresAt: now.AddDate(0, 0, 2), Now: now},
			Secret: &summary.Secret{Name: "PAGEFLARE_TOKEN", Checked: true, Targets: []summary.Target{
				{Name: "repository", Outcome: "may be written; is not there yet"}, {Name: "organization:acme", Problem: "GitHub refused (403)"},
				{Name: "dependabot/repository", Problem: "GitHub has trouble (503)", Unknown: true},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", name+".md")
			got := summary.Render(r)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got); run make update-golden and look at the change\n%s", file, diff)
			}
		})
	}
}

func TestNoSummaryIsTooLargeForGitHub(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		long := strings.Repeat(rapid.StringN(0, 20, -1).Draw(t, "text"), 200)
		n := rapid.SampledFrom([]int{0, 1, 19, 20, 21, 3000}).Draw(t, "n")
		s := site()
		r := summary.Result{Site: s, Secret: &summary.Secret{Name: long}, License: summary.License{State: long, Tier: long, Reason: long}}
		g := &summary.Guard{Rerun: []string{long}}
		r.Guard = g
		for range n {
			r.Problems = append(r.Problems, summary.Problem{Text: long})
			r.Secret.Targets = append(r.Secret.Targets, summary.Target{Name: long, Problem: long})
			s.Top = append(s.Top, summary.FileSize{Path: long})
			s.Largest = append(s.Largest, summary.FileSize{Path: long})
			s.Broken = append(s.Broken, summary.BrokenRef{Source: long, Target: long})
			s.Warnings = append(s.Warnings, long)
			g.Files = append(g.Files, summary.Rejected{Path: long, Detail: long, Before: long, After: long, More: n})
			g.Costs = append(g.Costs, summary.Cost{Kind: long, Key: long})
		}
		got := summary.Render(r)
		if len(got) > summary.MaxSize {
			t.Fatalf("%d bytes", len(got))
		}
		if strings.Count(got, "<details") != strings.Count(got, "</details>") {
			t.Fatal("a <details> stays open")
		}
		for line := range strings.SplitSeq(got, "\n") {
			if strings.HasPrefix(line, "::") {
				t.Fatalf("a line is a command: %q", line)
			}
		}
		if n == 3000 && strings.Count(got, " more") < 4 {
			t.Fatal("it does not say what was cut")
		}
	})
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"plain", "a|b", "`x`", "<script>", "a\r\nb", "::error::x", "@me #1 [a](b)", "www.x.y WWW.x", ":smile: 1:2", "_a_ a_b __", "\x00\u202e", strings.Repeat("x", 1000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := summary.Escape(s)
		if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("Escape(%q) = %q holds something that cannot be seen", s, got)
		}
		// what is left beside character references must not be markup
		if rest := stripReferences(got); strings.ContainsAny(rest, "|<>&`*[]~@#\\!+{}$^") {
			t.Errorf("Escape(%q) = %q holds markup", s, got)
		}
		if visible := html.UnescapeString(got); len([]rune(s)) < 400 && isPrintable(s) && visible != s {
			t.Errorf("Escape(%q) shows as %q", s, visible)
		}
	})
}

func stripReferences(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "&#")
		if i < 0 {
			return b.String() + s
		}
		b.WriteString(s[:i])
		end := strings.IndexByte(s[i:], ';')
		s = s[i+end+1:]
	}
}

func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == '�' }) < 0
}

func TestBytesForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB"} {
		if got := summary.Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}
