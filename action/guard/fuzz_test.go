package guard_test

import (
	"bytes"
	"testing"

	"github.com/pageflare/ci/action/guard"
)

// FuzzPage holds pages against changed forms of themselves: nothing panics, a page held against
// itself is the same, and what is published for a changed one is the source, or smaller and
// accepted again.
func FuzzPage(f *testing.F) {
	f.Add([]byte(document("<p>One <b>two</b> three</p>")), []byte(minified("<p>One <b>two</b>three")))
	f.Add([]byte("<!doctype html><pre>\n a</pre><svg><title>x</title>"), []byte("<!doctype html><pre>a"))
	f.Add([]byte("<!doctype html><noscript><p>a</noscript><script>x"), []byte("<!doctype html><script>x</script>"))
	f.Fuzz(func(t *testing.T, source, result []byte) {
		s := siteOf(t, nil)
		if v := s.Judge("a.html", source, source); v.Publish != guard.PublishResult || len(v.Differences) > 0 {
			t.Fatalf("a page held against itself: %+v", v)
		}
		v := s.Judge("a.html", source, result)
		out := published(v, string(source), string(result))
		if v.Publish == guard.PublishRepaired && len(out) >= len(source) {
			t.Fatalf("published %d bytes of %d", len(out), len(source))
		}
		if v.Publish == guard.PublishSource {
			return
		}
		again := s.Judge("a.html", source, []byte(out))
		if bytes.Equal(source, []byte(out)) || again.Publish == guard.PublishResult {
			return
		}
		t.Fatalf("what was published is not accepted again: %s %+v\nsource %q\npublished %q", again.Publish, again.Differences, source, out)
	})
}
