package summary

import (
	"fmt"
	"strings"
)

// What is shown at most of faulty inputs.
const (
	maxFaults = 50
	maxFault  = 600 // letters of one
)

// RenderFaults returns the summary of a run whose inputs are faulty, so that nothing was done. A fault is a text from anybody.
func RenderFaults(faults []string) string {
	var b strings.Builder
	b.WriteString("## Pageflare\n\n> [!CAUTION]\n> Nothing was done, since the inputs are faulty:\n\n")
	for _, f := range faults[:min(len(faults), maxFaults)] {
		fmt.Fprintf(&b, "- %s\n", escape(f, maxFault))
	}
	if n := len(faults) - maxFaults; n > 0 {
		fmt.Fprintf(&b, "\n%d more: see the log.\n", n)
	}
	return b.String()
}
