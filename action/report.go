package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pageflare/ci/action/atomicfile"
	"github.com/pageflare/ci/action/optimize"
	"github.com/pageflare/ci/action/summary"
	"github.com/pageflare/ci/github/secret"
)

// reportName is the JSON report in the workspace, the output report-path.
const reportName = "pageflare-report.json"

// report tells everybody what happened: annotations, outputs, the job summary and the JSON report.
// What cannot be written is a warning: a report that fails must not break a build that worked.
func (r *run) report() {
	path := r.attempt("the JSON report", func() error { return r.writeReport() })
	r.annotate()
	r.attempt("the outputs", func() error { r.setOutputs(path); return nil })
	if r.cfg.Summary {
		r.attempt("the job summary", func() error { r.addSummary(); return nil })
	}
}

// attempt runs f and turns its error, or the panic of the library, into a warning. It tells whether
// f worked.
func (r *run) attempt(what string, f func() error) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			r.gha.Warningf("%s could not be written: %v", what, p)
			ok = false
		}
	}()
	if err := f(); err != nil {
		r.gha.Warningf("%s could not be written: %v", what, err)
		return false
	}
	return true
}

// maxAnnotation is the most letters of an annotation; GitHub cuts at 4,096 without a sign.
const maxAnnotation = 4000

// maxOfOne is how many faults of one input are shown in the annotation: more of them would push
// those of others out.
const maxOfOne = 5

// annotateFaults shows the faults of the inputs in one annotation, whole ones, as many as fit. When
// some do not, the log has all of them, each in a line that begins with a dash and so is no
// command.
func (r *run) annotateFaults(err error) {
	faults := strings.Split(err.Error(), "\n")
	var shown []string
	size, of := 0, map[string]int{}
	for _, f := range faults {
		name, _, _ := strings.Cut(f, ": ")
		letters := len([]rune(f)) + 1
		if of[name]++; of[name] <= maxOfOne && (len(shown) == 0 || size+letters <= maxAnnotation) {
			shown, size = append(shown, f), size+letters
		}
	}
	text := clip(strings.Join(shown, "\n"), maxAnnotation)
	if more := len(faults) - len(shown); more > 0 {
		for _, f := range faults {
			fmt.Fprintf(r.stdout, "- %s\n", printable(f))
		}
		text += fmt.Sprintf("\nand %d more: see the log", more)
	}
	r.gha.Errorf("%s", text)
}

// printable is a line of text without what could be a command of the old form ##[name], which the
// runner takes anywhere in a line.
func printable(s string) string { return strings.ReplaceAll(oneLine(s), "##[", "# #[") }

// annotate shows the problems, one annotation each.
func (r *run) annotate() {
	for _, p := range r.problems {
		if p.fails {
			r.gha.Errorf("%s", clip(p.text, maxAnnotation))
		} else {
			r.gha.Warningf("%s", clip(p.text, maxAnnotation))
		}
	}
	if r.site == nil {
		return
	}
	for _, w := range r.site.Warnings {
		r.gha.Infof("Note: %q", w)
	}
	b, a := r.site.Before, r.site.After
	change := r.savedPercent() + " % saved"
	if a.Bytes > b.Bytes {
		change = strings.TrimPrefix(r.savedPercent(), "-") + " % larger"
	}
	r.gha.Infof("Site: %s in %d files before, %s in %d files after (%s).", summary.Bytes(b.Bytes), b.Files, summary.Bytes(a.Bytes), a.Files, change)
}

// written says whether this run stored the secret in every target.
func (r *run) written() bool {
	return len(r.writes) > 0 && !slices.ContainsFunc(r.writes, func(w write) bool { return w.err != nil || w.outcome == secret.Elsewhere.String() })
}

// tier is that of the token that was used.
func (r *run) tier() string {
	if r.token == "" {
		return "free"
	}
	return orElse(r.claims.Tier, "free")
}

func (r *run) expiresAt() string {
	if r.claims.ExpiresAt.IsZero() {
		return ""
	}
	return r.claims.ExpiresAt.UTC().Format(time.RFC3339)
}

func (r *run) savedPercent() string {
	if r.site == nil || r.site.Before.Bytes == 0 {
		return "0.0"
	}
	return strconv.FormatFloat(float64(r.site.BytesSaved())*100/float64(r.site.Before.Bytes), 'f', 1, 64)
}

// setOutputs sets the outputs that action.yml names. None of them is a secret.
func (r *run) setOutputs(reported bool) {
	if r.getenv("GITHUB_OUTPUT") == "" {
		return
	}
	set := func(name string, value any) { r.gha.SetOutput(name, oneLine(fmt.Sprint(value))) }
	set("token-state", r.state)
	set("refreshed", r.state == StateRefreshed)
	set("secret-updated", r.written())
	set("expires-at", r.expiresAt())
	set("tier", r.tier())
	if reported {
		set("report-path", reportName)
	}
	if r.site == nil {
		return
	}
	set("files", r.site.After.Files)
	set("bytes-before", r.site.Before.Bytes)
	set("bytes-after", r.site.After.Bytes)
	set("bytes-saved", r.site.BytesSaved())
	set("saved-percent", r.savedPercent())
	set("files-restored", len(r.site.Guard.Rejected))
}

// oneLine keeps a value from ending its output and beginning another: the word that ends it is
// always the same.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, s)
}

func (r *run) addSummary() {
	if r.getenv("GITHUB_STEP_SUMMARY") == "" {
		return
	}
	r.gha.AddStepSummary(summary.Render(r.summary()))
}

// summary is the run as it is shown.
func (r *run) summary() summary.Result {
	out := summary.Result{License: summary.License{
		State: string(r.state), Tier: r.claims.Tier, Reason: r.reason, ExpiresAt: r.claims.ExpiresAt, ValidUntil: r.claims.ValidUntil, Now: r.now(),
	}}
	out.Suggestion = r.suggested.shown()
	for _, p := range r.problems {
		out.Problems = append(out.Problems, summary.Problem{Error: p.fails, Text: p.text})
	}
	slices.SortStableFunc(out.Problems, func(a, b summary.Problem) int {
		return cmp.Compare(rank(a.Error), rank(b.Error))
	})
	if len(r.writes) > 0 {
		out.Secret = &summary.Secret{Name: r.cfg.SecretName}
		for _, w := range r.writes {
			out.Secret.Targets = append(out.Secret.Targets, summary.Target{Name: w.target, Outcome: w.outcome, Problem: errText(w.err)})
		}
	}
	if len(r.findings) > 0 {
		out.Secret = &summary.Secret{Name: r.cfg.SecretName, Checked: true}
		for _, f := range r.findings {
			t := summary.Target{Name: f.Target.String(), Problem: errText(f.Err), Unknown: silent(f.Err)}
			if f.Err == nil {
				t.Outcome = finding(f)
			}
			out.Secret.Targets = append(out.Secret.Targets, t)
		}
	}
	if r.site != nil {
		out.Site = r.siteSummary(*r.site)
	}
	out.Guard = r.guardSummary()
	return out
}

// guardSummary is what the guard found; nil where there is nothing to say.
func (r *run) guardSummary() *summary.Guard {
	g := r.guarded
	if len(g.Rejected) == 0 && g.Repaired == 0 && len(g.Rerun) == 0 {
		return nil
	}
	out := &summary.Guard{Published: r.site != nil, Repaired: g.Repaired, Rerun: g.Rerun}
	for _, p := range g.PutBack {
		out.PutBack = append(out.PutBack, summary.PutBack{Kind: string(p.Kind), Key: p.Key, Files: p.Files, Example: p.Example, Detail: p.Detail})
	}
	for _, f := range g.Rejected {
		d := f.Differences[0]
		out.Files = append(out.Files, summary.Rejected{Path: f.Path, Detail: d.Detail, Before: d.Before, After: d.After, More: len(f.Differences) - 1})
	}
	for _, c := range g.Costs() {
		out.Costs = append(out.Costs, summary.Cost{Kind: string(c.Kind), Key: c.Key, Files: c.Files, Bytes: c.Bytes})
	}
	return out
}

func rank(isError bool) int {
	if isError {
		return 0
	}
	return 1
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (r *run) siteSummary(s optimize.Report) *summary.Site {
	p := r.cfg.Plan
	out := &summary.Site{
		Source: r.relative(p.Source), Output: r.relative(p.Output), InPlace: p.InPlace, Tier: s.Tier, Profile: string(s.Profile), Duration: s.Duration, Warnings: s.Warnings,
		Before: summary.Size{Files: s.Before.Files, Bytes: s.Before.Bytes}, After: summary.Size{Files: s.After.Files, Bytes: s.After.Bytes},
	}
	for _, t := range typeSizes(s) {
		out.Types = append(out.Types, summary.TypeSize{
			Type: t.Type, Before: t.Before.size(), After: t.After.size(), PackedBefore: t.Before.packed(), PackedAfter: t.After.packed(),
		})
	}
	before, after := sumOf(s.Before), sumOf(s.After)
	out.All = summary.TypeSize{Before: out.Before, After: out.After, PackedBefore: before.packed(), PackedAfter: after.packed()}
	for _, c := range largestChanges(s.Changes) {
		out.Top = append(out.Top, summary.FileSize{Path: c.Path, Before: c.Before, After: c.After})
	}
	if r.overBudget(s) {
		for _, c := range largestFiles(s.Changes) {
			out.Largest = append(out.Largest, summary.FileSize{Path: c.Path, Before: c.Before, After: c.After})
		}
	}
	for _, b := range s.BrokenRefs {
		out.Broken = append(out.Broken, summary.BrokenRef(b))
	}
	return out
}

func (r *run) relative(path string) string {
	if rel, err := filepath.Rel(r.cfg.Workspace, path); err == nil {
		return rel
	}
	return path
}

// largestChanges are the files whose size changed, largest change first.
func largestChanges(all []optimize.Change) []optimize.Change {
	changed := slices.DeleteFunc(slices.Clone(all), func(c optimize.Change) bool { return c.Before == c.After })
	slices.SortFunc(changed, byChange)
	return changed
}

// overBudget tells a site that is larger than max-size allows.
func (r *run) overBudget(s optimize.Report) bool {
	return r.cfg.MaxSize > 0 && s.After.Bytes > r.cfg.MaxSize
}

// largestFiles are the files of the optimized site, largest first.
func largestFiles(all []optimize.Change) []optimize.Change {
	there := slices.DeleteFunc(slices.Clone(all), func(c optimize.Change) bool { return c.After < 0 })
	slices.SortFunc(there, func(a, b optimize.Change) int {
		return cmp.Or(cmp.Compare(b.After, a.After), strings.Compare(a.Path, b.Path))
	})
	return there
}

// byChange puts the largest change first.
func byChange(a, b optimize.Change) int {
	delta := func(c optimize.Change) int64 {
		d := max(c.After, 0) - max(c.Before, 0)
		return max(d, -d)
	}
	return cmp.Or(cmp.Compare(delta(b), delta(a)), strings.Compare(a.Path, b.Path))
}

// writeReport writes the JSON report into the workspace, whole or not at all, for the owner of the
// workspace.
func (r *run) writeReport() error {
	b, err := json.MarshalIndent(r.jsonReport(), "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(r.cfg.Workspace, reportName)
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s in the workspace is a folder: give it another name", reportName)
	}
	if err := atomicfile.Replace(path, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return optimize.GiveAway(r.cfg.Workspace, path)
}
