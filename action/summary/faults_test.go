package summary_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/action/summary"
)

func TestFaultsAreEscapedAndBounded(t *testing.T) {
	t.Parallel()
	hostile := "input mode: \"</li><script>\n::error::x `a` @octocat [x](http://x)\" is not known"
	got := summary.RenderFaults([]string{hostile, "input source: gone"})
	for _, want := range []string{"> [!CAUTION]\n> Nothing was done", "\n- input mode: ", "\n- input source: gone\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("RenderFaults lacks %q:\n%s", want, got)
		}
	}
	if strings.ContainsAny(got, "<`@") || strings.Contains(got, "\n:") || strings.Contains(got, "more: see") {
		t.Errorf("RenderFaults is not escaped:\n%s", got)
	}

	many := make([]string, 3000)
	for i := range many {
		many[i] = fmt.Sprintf("input x: fault %d %s", i, strings.Repeat("<", 5000))
	}
	got = summary.RenderFaults(many)
	if len(got) > summary.MaxSize || strings.Count(got, "\n- ") != 50 || !strings.HasSuffix(got, "\n2950 more: see the log.\n") {
		t.Errorf("RenderFaults has %d bytes and %d faults: …%s", len(got), strings.Count(got, "\n- "), got[len(got)-60:])
	}
}

func TestWhatIsLeftOfATokenIsToldInAFittingUnit(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]string{
		59 * time.Minute: "(in 59 min)", 59*time.Minute + 59*time.Second: "(in 59 min)", time.Hour: "(in 60 min)", 119 * time.Minute: "(in 119 min)",
		2 * time.Hour: "(in 2 h)", 47 * time.Hour: "(in 47 h)", 48 * time.Hour: "(in 2 days)", 59 * time.Second: "(in less than a minute)", 0: "(over)",
	} {
		got := summary.Render(summary.Result{License: summary.License{State: "exchanged", ExpiresAt: now.Add(left), Now: now}})
		if !strings.Contains(got, want) {
			t.Errorf("%s left: want %s in\n%s", left, want, got)
		}
	}
}
