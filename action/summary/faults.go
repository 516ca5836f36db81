package summary

import (
	"fmt"
	"strings"
)

// maxFaults is how many faults are shown at most.
const maxFaults = 50

// RenderFaults returns the summary of a run whose inputs are faulty, so that nothing was done. A
// fault is a text from anybody.
func RenderFaults(faults []string) string {
	var b strings.Builder
	b.WriteString("## Pageflare\n\n> [!CAUTION]\n> Nothing was done, since the inputs are faulty:\n\n")
	for _, f := range faults[:min(len(faults), maxFaults)] {
		fmt.Fprintf(&b, "- %s\n", escape(f, maxProblem))
	}
	if n := len(faults) - maxFaults; n > 0 {
		fmt.Fprintf(&b, "\n%d more: see the log.\n", n)
	}
	return b.String()
}
