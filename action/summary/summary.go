// Package summary renders what a run did as GitHub-flavoured Markdown, for the job summary.
//
// It decides how a result reads. What the result is comes from action/run.go, ready to print; the
// machine-readable report is action/report.go. Everything that is not our own text is escaped here:
// names of files come from anybody.
package summary

import (
	"fmt"
	"strings"
	"time"
)

// Result is a run, ready to be shown. It holds no token.
type Result struct {
	Problems []Problem // worst first
	License  License
	Secret   *Secret // nil when there was nothing to write
	Site     *Site   // nil when the optimizer did not finish
	Guard    *Guard  // nil when every result was the same file

	Suggestion *Suggestion // nil unless the job was refused and could be allowed
}

// Problem is something that somebody should know or fix.
type Problem struct {
	Error bool // else a warning
	Text  string
}

// License is the state of the license token.
type License struct {
	State      string // the output token-state
	Tier       string // of the token; empty without one
	Reason     string // what was decided and why
	ExpiresAt  time.Time
	ValidUntil time.Time
	Now        time.Time
}

// Secret is where the new token was written, or would be.
type Secret struct {
	Name    string
	Checked bool // nothing was written: it was looked whether it could be
	Targets []Target
}

// Target is one place of a secret.
type Target struct {
	Name    string
	Outcome string // created, updated, or what a check found out; empty when it failed
	Problem string
	Unknown bool // a check got no answer: Problem says why
}

// Site is what the optimizer did.
type Site struct {
	Source, Output string
	InPlace        bool
	Tier           string // that the optimizer ran with
	Profile        string // likewise: safe, full or own
	Before, After  Size
	All            TypeSize   // the sum of Types
	Types          []TypeSize // largest first
	Top            []FileSize // largest change first
	Largest        []FileSize // largest file first; nil unless that is asked for, by a budget that was missed
	Broken         []BrokenRef
	Warnings       []string
	Duration       time.Duration
}

// Size is files and their bytes.
type Size struct {
	Files int
	Bytes int64
}

// Packed is what files weigh when a server sends them compressed.
type Packed struct {
	Gzip, Brotli int64
	Estimated    bool // from a sample of them
}

// TypeSize is one type of files.
type TypeSize struct {
	Type                      string
	Before, After             Size
	PackedBefore, PackedAfter *Packed // nil when it was not measured
}

// FileSize is one file; -1 where it is only on the other side.
type FileSize struct {
	Path          string
	Before, After int64
}

// BrokenRef is an asset that a page names and the site lacks.
type BrokenRef struct{ Source, Target string }

// What is shown at most of each kind; a line says how much more there is. With the bound on foreign
// texts (escape.go) no summary comes near the 1 MiB above which GitHub shows none.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits
const (
	maxProblems = 20
	maxTargets  = 40
	maxTop      = 10
	maxBroken   = 20
	maxWarnings = 20
)

// MaxSize is a bound on the bytes of every summary. Nothing is cut at it: the bounds above keep
// every summary below, and a test holds that.
const MaxSize = 900 << 10

// limits is where it is said why a token of tier pro does not make this optimizer one.
const limits = "https://github.com/pageflare/ci#the-action"

// Render returns the summary. Equal results give equal text.
func Render(r Result) string {
	var b strings.Builder
	b.WriteString("## Pageflare\n\n")
	for _, p := range r.Problems[:min(len(r.Problems), maxProblems)] {
		kind := "WARNING"
		if p.Error {
			kind = "CAUTION"
		}
		fmt.Fprintf(&b, "> [!%s]\n> %s\n\n", kind, escape(p.Text, maxProblem))
	}
	more(&b, len(r.Problems)-maxProblems)
	if r.Suggestion != nil {
		renderSuggestion(&b, *r.Suggestion)
	}
	renderLicense(&b, r.License, r.Secret)
	if r.Site != nil {
		renderSite(&b, *r.Site, r.License.Tier)
	}
	if r.Guard != nil {
		renderGuard(&b, *r.Guard)
	}
	return b.String()
}

func renderLicense(b *strings.Builder, l License, s *Secret) {
	line := func(name, text string) { fmt.Fprintf(b, "| %s | %s |\n", name, text) }
	b.WriteString("### License\n\n")
	line("Token", Escape(l.State)) // the head of the table, which is bold
	line("---", "---")
	if l.Tier != "" {
		line("Tier", Escape(l.Tier))
	}
	if l.Reason != "" {
		line("Decision", Escape(l.Reason))
	}
	if !l.ExpiresAt.IsZero() {
		line("Token expires", when(l.ExpiresAt, l.Now))
	}
	if !l.ValidUntil.IsZero() {
		line("License ends", when(l.ValidUntil, l.Now))
	}
	if s != nil {
		failed := "not written: "
		if s.Checked {
			failed = "could not be written: "
		}
		for _, t := range s.Targets[:min(len(s.Targets), maxTargets)] {
			text := Escape(t.Outcome)
			switch {
			case t.Unknown:
				text = "not known whether it could be written: " + Escape(t.Problem)
			case t.Problem != "":
				text = failed + Escape(t.Problem)
			}
			line("Secret "+code(s.Name)+", "+Escape(t.Name), text)
		}
		if n := len(s.Targets) - maxTargets; n > 0 {
			line("", fmt.Sprintf("%d more targets: see the report", n))
		}
	}
	b.WriteString("\n")
}

// renderSite tells what became of the site; licensed is the tier of the token.
func renderSite(b *strings.Builder, s Site, licensed string) {
	place := code(s.Source) + " in place"
	if !s.InPlace {
		place = code(s.Source) + " to " + code(s.Output)
	}
	files := "files"
	if s.Before.Files == 1 && s.After.Files == 1 {
		files = "file"
	}
	fmt.Fprintf(b, "### Site\n\n%s: **%s to %s** (%s), %s %s, in %s, tier %s, %s.\n\n", place,
		Bytes(s.Before.Bytes), Bytes(s.After.Bytes), change(s.Before.Bytes, s.After.Bytes), counts(s.Before.Files, s.After.Files), files,
		seconds(s.Duration), Escape(s.Tier), profile(s.Profile))
	if licensed != "" && !strings.EqualFold(licensed, s.Tier) {
		fmt.Fprintf(b, "The token is for tier %s, and the optimizer ran as %s: see [what this cannot do](%s).\n\n", Escape(licensed), Escape(s.Tier), limits)
	}
	b.WriteString("| Type | Files | Size | Change | Picture | gzip | brotli |\n| --- | ---: | ---: | ---: | :--- | ---: | ---: |\n")
	for _, t := range s.Types {
		typeRow(b, Escape(t.Type), t)
	}
	typeRow(b, "**all**", s.All)
	b.WriteString("\n█ kept, ░ saved, ▒ added. gzip and brotli: what a server sends.")
	if s.All.PackedBefore != nil && (s.All.PackedBefore.Estimated || s.All.PackedAfter.Estimated) {
		b.WriteString(" ≈: estimated from a sample of the files.")
	}
	b.WriteString("\n\n")
	renderLargest(b, s.Largest)
	renderTop(b, s.Top)
	renderBroken(b, s.Broken)
	if len(s.Warnings) > 0 {
		b.WriteString("Worth knowing:\n\n")
	}
	for _, w := range s.Warnings[:min(len(s.Warnings), maxWarnings)] {
		fmt.Fprintf(b, "- %s\n", Escape(w))
	}
	more(b, len(s.Warnings)-maxWarnings)
}

// profile names what the optimizer was configured by.
func profile(name string) string {
	if name == "own" {
		return "configured by the site's own pageflare.jsonc"
	}
	return "profile " + Escape(name)
}

func typeRow(b *strings.Builder, name string, t TypeSize) {
	gzip, brotli := "–", "–"
	if t.PackedBefore != nil && t.PackedAfter != nil {
		about := ""
		if t.PackedBefore.Estimated || t.PackedAfter.Estimated {
			about = "≈ "
		}
		gzip = about + sizes(t.PackedBefore.Gzip, t.PackedAfter.Gzip)
		brotli = about + sizes(t.PackedBefore.Brotli, t.PackedAfter.Brotli)
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", name, whole(counts(t.Before.Files, t.After.Files)), whole(sizes(t.Before.Bytes, t.After.Bytes)),
		whole(change(t.Before.Bytes, t.After.Bytes)), bar(t.Before.Bytes, t.After.Bytes), whole(gzip), whole(brotli))
}

// sizes are both sides, in one unit where they have the same.
func sizes(before, after int64) string {
	was, is := Bytes(before), Bytes(after)
	number, unit, _ := strings.Cut(was, " ")
	if strings.HasSuffix(is, " "+unit) {
		was = number
	}
	return was + " → " + is
}

// whole keeps a figure and its unit on one line, however narrow the table is.
func whole(figure string) string { return strings.ReplaceAll(figure, " ", "\u00a0") }

// bar is a picture of the change in ten cells, which are the larger of both sides: what was kept,
// then what was saved or added. A change is never without a cell. The numbers stand beside it, for
// those who do not see it.
func bar(before, after int64) string {
	const cells = 10
	most, kept, rest := before, after, "░"
	if after > before {
		most, kept, rest = after, before, "▒"
	}
	if most <= 0 {
		return ""
	}
	full := int(float64(kept)/float64(most)*cells + 0.5)
	if full == cells && kept < most {
		full--
	}
	return strings.Repeat("█", full) + strings.Repeat(rest, cells-full)
}

// renderLargest answers where the bytes are.
func renderLargest(b *strings.Builder, largest []FileSize) {
	if len(largest) == 0 {
		return
	}
	b.WriteString("<details open><summary>Largest files</summary>\n\n| File | Size |\n| --- | ---: |\n")
	for _, f := range largest[:min(len(largest), maxTop)] {
		fmt.Fprintf(b, "| %s | %s |\n", code(f.Path), whole(Bytes(f.After)))
	}
	more(b, len(largest)-maxTop)
	b.WriteString("\n</details>\n\n")
}

func renderTop(b *strings.Builder, top []FileSize) {
	if len(top) == 0 {
		return
	}
	b.WriteString("<details><summary>Largest changes</summary>\n\n| File | Before | After |\n| --- | ---: | ---: |\n")
	for _, f := range top[:min(len(top), maxTop)] {
		fmt.Fprintf(b, "| %s | %s | %s |\n", code(f.Path), whole(side(f.Before)), whole(side(f.After)))
	}
	more(b, len(top)-maxTop)
	b.WriteString("\n</details>\n\n")
}

func renderBroken(b *strings.Builder, broken []BrokenRef) {
	if len(broken) == 0 {
		return
	}
	fmt.Fprintf(b, "<details open><summary>Broken references: %d</summary>\n\n| Page | Missing |\n| --- | --- |\n", len(broken))
	for _, r := range broken[:min(len(broken), maxBroken)] {
		fmt.Fprintf(b, "| %s | %s |\n", code(r.Source), code(r.Target))
	}
	more(b, len(broken)-maxBroken)
	b.WriteString("\n</details>\n\n")
}

// more says what a table leaves out.
func more(b *strings.Builder, n int) {
	if n > 0 {
		fmt.Fprintf(b, "\n%d more: see the report.\n", n)
	}
}

func side(n int64) string {
	if n < 0 {
		return "–"
	}
	return Bytes(n)
}

func counts(before, after int) string {
	if before == after {
		return fmt.Sprint(after)
	}
	return fmt.Sprintf("%d → %d", before, after)
}

// change is how much smaller or larger, in percent.
func change(before, after int64) string {
	if before == after {
		return "±0 %"
	}
	if before == 0 {
		return "new"
	}
	return strings.Replace(fmt.Sprintf("%+.1f %%", float64(after-before)*100/float64(before)), "-", "−", 1)
}

// seconds is a duration for people.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Bytes is a number of bytes for people: 1,024-based, one decimal.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n)/unit, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, suffix = value/unit, next
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}

// when is a date and how far away it is.
func when(t, now time.Time) string {
	text := t.UTC().Format("2006-01-02 15:04 UTC")
	switch left := t.Sub(now); {
	case left <= 0:
		return text + " (over)"
	case left < time.Minute:
		return text + " (in less than a minute)"
	case left < 2*time.Hour:
		return fmt.Sprintf("%s (in %d min)", text, int(left.Minutes()))
	case left < 48*time.Hour:
		return fmt.Sprintf("%s (in %d h)", text, int(left.Hours()))
	default:
		return fmt.Sprintf("%s (in %d days)", text, int(left.Hours()/24))
	}
}
