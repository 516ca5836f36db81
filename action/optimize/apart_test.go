package optimize_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/optimize"
)

// Pages of documentation, of pagers and of translations name each other; the CLI alone makes
// nothing of such a site.
func TestPagesThatNameEachOtherInLinksAreOptimized(t *testing.T) {
	t.Parallel()
	withLinks := func(links string) string {
		return strings.Replace(page, "</title>", "</title>\n    "+links, 1)
	}
	for _, tt := range []struct{ name, index, other, want string }{
		{"next and previous", `<link rel="next" title="other.html" href="other.html" />`, `<LINK REL=prev HREF=index.html>`,
			"<link href=other.html rel=next title=other.html>"},
		{"a page that names itself", `<link rel='canonical' href='/index.html'>`, "", "<link rel='canonical' href='/index.html'>"},
		{"translations", `<link rel="alternate" hreflang="de" href="/other.html#top">`, `<link rel="alternate" href = "./index.html">
			<link rel="alternate" href="index.html">`, `<link rel="alternate" hreflang="de" href="/other.html#top">`},
	} {
		for _, guard := range []optimize.Guard{optimize.GuardRestore, optimize.GuardOff} {
			t.Run(tt.name+", guard "+string(guard), func(t *testing.T) {
				t.Parallel()
				ws := site(t, map[string]string{"dist/index.html": withLinks(tt.index), "dist/other.html": withLinks(tt.other)})
				cfg := config(t, ws)
				cfg.Profile, cfg.Guard = optimize.ProfileSafe, guard
				r := run(t, cfg)
				if r.BytesSaved() <= 0 || len(r.Guard.Rejected) > 0 {
					t.Errorf("saved %d bytes, rejected %v; want savings and nothing rejected", r.BytesSaved(), r.Guard.Rejected)
				}
				if got := read(t, ws, "dist/index.html"); guard != optimize.GuardOff && !strings.Contains(got, tt.want) {
					t.Errorf("page = %s\nwant %s in it", got, tt.want)
				}
			})
		}
	}
}

func TestOnlyTheAddressesOfPagesInLinksAreHidden(t *testing.T) {
	t.Parallel()
	const hidden = `<link rel=next href=&#32;b.html><LINK title="a.htm" Href = '&#32;a.htm#x'/>`
	const rest = `<link rel=stylesheet href=b.css><link href="https://example.com/b.html"><link href="//a.example/b.html">` +
		"<a href=b.html>\xe9</a><link><link href><!-- <link href=b.html> --><script>'<link href=b.html>'</script><link href=b.html"
	page := strings.ReplaceAll(hidden, "&#32;", "") + rest
	if diff := cmp.Diff(hidden+rest, string(optimize.Apart([]byte(page)))); diff != "" {
		t.Errorf("Apart (-want +got):\n%s", diff)
	}
}

// A pass that breaks off costs its own savings, not the job.
func TestWhereThePassForCriticalStylesBreaksOffItIsLeftOut(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	cfg := faked(t, ws, `
case "$*" in *--config*) ;; *) echo "Main thread panicked at vendor/critters-rs/src/lib.rs" >&2; exit 134;; esac
`+done)
	r := run(t, cfg)
	if diff := cmp.Diff([]string{"critical_css"}, r.Guard.Rerun); diff != "" {
		t.Errorf("passes left out (-want +got):\n%s", diff)
	}
}
