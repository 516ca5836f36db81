package summary

import (
	"fmt"
	"strings"
)

// Guard is what the guard found in the optimizer's results.
type Guard struct {
	Published bool // the site is; else it was left as it was
	Repaired  int  // files
	PutBack   []PutBack
	Rerun     []string
	Files     []Rejected // by path
	Costs     []Cost     // those of most files first
}

// Rejected is a file whose result was not the same file.
type Rejected struct {
	Path          string
	Detail        string // of its first difference, for a person
	Before, After string // excerpts
	More          int    // differences
}

// PutBack is one kind of thing that was put back into files.
type PutBack struct {
	Kind, Key       string
	Files           int
	Example, Detail string // a file, and what differed there
}

// Cost is what one kind of difference costs.
type Cost struct {
	Kind, Key string
	Files     int
	Bytes     int64
}

const (
	maxRejected = 30
	maxCosts    = 20
)

// guardDocs is where it is said what the guard compares.
const guardDocs = "https://github.com/pageflare/ci/blob/main/docs/action.md#the-guard"

// renderGuard tells what was not published as the optimizer made it.
func renderGuard(b *strings.Builder, g Guard) {
	b.WriteString("### Guard\n\n")
	if g.Repaired > 0 {
		fmt.Fprintf(b, "%s: what the optimizer lost was put back, and the rest of its work is published.\n\n", files(g.Repaired))
		renderPutBack(b, g.PutBack)
	}
	if len(g.Rerun) > 0 {
		fmt.Fprintf(b, "The optimizer ran twice, the second time without %s, which changed many pages more than it should.\n\n", keys(g.Rerun))
	}
	if len(g.Files) == 0 {
		return
	}
	fmt.Fprintf(b, "The optimizer changed %s more than it should: %s. Nothing is wrong with what you built ([what is compared](%s)).\n\n",
		files(len(g.Files)), becomes(g), guardDocs)
	b.WriteString("| File | What differed | Before → after |\n| --- | --- | --- |\n")
	for _, f := range g.Files[:min(len(g.Files), maxRejected)] {
		more := ""
		if f.More > 0 {
			more = fmt.Sprintf(" (and %d more)", f.More)
		}
		fmt.Fprintf(b, "| %s | %s%s | %s |\n", code(f.Path), Escape(f.Detail), more, excerpts(f.Before, f.After))
	}
	more(b, len(g.Files)-maxRejected)
	b.WriteString("\n| Kind | Files | Savings not published | Avoided in pageflare.jsonc by |\n| --- | ---: | ---: | --- |\n")
	for _, c := range g.Costs[:min(len(g.Costs), maxCosts)] {
		fmt.Fprintf(b, "| %s | %d | %s | %s |\n", Escape(c.Kind), c.Files, whole(signed(c.Bytes)), avoided(c.Key))
	}
	more(b, len(g.Costs)-maxCosts)
	b.WriteString("\n")
}

// becomes is what is published in the place of results that are not the same file.
func becomes(g Guard) string {
	switch {
	case !g.Published:
		return "nothing is published"
	case len(g.Files) == 1:
		return "it is published as it was"
	}
	return "they are published as they were"
}

// renderPutBack tells what would have been lost.
func renderPutBack(b *strings.Builder, all []PutBack) {
	if len(all) == 0 {
		return
	}
	b.WriteString("<details><summary>What was put back</summary>\n\n| Kind | Files | For example | Avoided in pageflare.jsonc by |\n| --- | ---: | --- | --- |\n")
	for _, p := range all[:min(len(all), maxCosts)] {
		fmt.Fprintf(b, "| %s | %d | %s: %s | %s |\n", Escape(p.Kind), p.Files, code(p.Example), Escape(p.Detail), avoided(p.Key))
	}
	more(b, len(all)-maxCosts)
	b.WriteString("\n</details>\n\n")
}

// avoided is how a user avoids what a pass does.
func avoided(key string) string {
	if key == "" {
		return "–"
	}
	return code(fmt.Sprintf("%q: false", key))
}

func excerpts(before, after string) string {
	if before == "" && after == "" {
		return "–"
	}
	side := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return code(s)
	}
	return side(before) + " → " + side(after)
}

// signed is a number of bytes that may be negative.
func signed(n int64) string {
	if n < 0 {
		return "−" + Bytes(-n)
	}
	return Bytes(n)
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

func keys(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = code(n)
	}
	return strings.Join(quoted, ", ")
}
