package optimize

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Run optimizes the site. Until the very end the source and the output are as they were: a failure,
// a cancellation or a crash leaves them whole. token is PAGEFLARE_TOKEN; "" runs unlicensed.
//
// Errors: *ExitError when the CLI failed; the context's error, wrapped, when cancelled before the
// swap. Broken references under --fail-on-broken-refs are no error but Report.ExitCode 1, since the
// output is complete. The log ends with a whole line.
func (p *Plan) Run(ctx context.Context, token string) (Report, error) {
	report, err := p.run(ctx, token)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w; %s", err, remedyForFull)
	}
	return report, err
}

// remedyForFull is what to do when the disk is full.
const remedyForFull = "free space on the disk of the workspace before this step: for a moment the site is there twice"

func (p *Plan) run(ctx context.Context, token string) (Report, error) {
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("optimizer not started: %w", err)
	}
	defer p.log.end()
	site, err := scanSite(p.Source, p.cfg.Source, p.InPlace) // again: a refresh of the token may have taken its time
	if err != nil {
		return Report{}, err
	}
	began := p.now()
	spare := &compressors{}
	already := marked(p.Source)
	before := startPacking(ctx, p.Source, site, nil, 1, spare) // one core: the CLI is at work
	defer before.cancel()
	made, err := p.make(ctx, site, token)
	if made != nil {
		defer made.discard()
	}
	if err != nil {
		return Report{Guard: made.guarded()}, err
	}
	report, after := made.report, made.after
	packed := startPacking(ctx, made.stage.path, after, before, runtime.GOMAXPROCS(0), spare)
	defer packed.cancel()
	report.Before, report.After, report.Changes = measure(site), measure(after), compare(site, after)
	report.OptimizedBefore = already
	p.remark(&report)
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("optimizer stopped before its result was put in place: %w", err)
	}
	if p.InPlace {
		if err := unchanged(site); err != nil {
			return Report{}, err
		}
	} else if err := markOutput(made.stage.path); err != nil {
		return Report{}, fmt.Errorf("mark the output: %w", err)
	}
	if err := made.stage.replace(); err != nil {
		return Report{}, fmt.Errorf("put the result in place: %w", err)
	}
	before.settle() // it reads the source, which may be gone in a moment
	made.discard()  // while the result is measured
	p.takePacked(&report, before, packed)
	report.Duration = p.now().Sub(began)
	return report, nil
}

func (p *Plan) discard(s *stage) {
	if err := s.discard(); err != nil {
		p.logf("left behind %s: %v", s.path, err)
	}
}

// takePacked never fails: the site is in place, and these are figures for people.
func (p *Plan) takePacked(r *Report, before, after *packing) {
	var berr, aerr error
	r.Before.Packed, berr = before.wait()
	r.After.Packed, aerr = after.wait()
	if err := errors.Join(berr, aerr); err != nil {
		p.logf("compressed sizes were not measured: %v", err)
		r.Before.Packed, r.After.Packed = nil, nil
	}
}

// reportOf tells a result from a failure. Exit status 1 means both "broken references, output
// complete" and "failed"; only the manifest tells them apart.
func reportOf(out outcome, token string) (Report, error) {
	report, err := ParseManifest(out.stdout)
	report.ExitCode = out.code
	report.BrokenRefsFailed = err == nil && out.code == 1 && len(report.BrokenRefs) > 0
	switch {
	case out.code == 0 && err != nil:
		return Report{}, &ExitError{Code: 1, Message: "it reported success, but printed " + err.Error()}
	case out.code == 0 || report.BrokenRefsFailed:
		return report, nil
	}
	return Report{}, out.failure(token)
}

// remark tells the user what the CLI left out: in the log as a matter of course, as a warning where
// pages may suffer.
func (p *Plan) remark(r *Report) {
	if len(r.Restored) > 0 {
		p.logf("kept as they were, since the optimizer leaves them out: %s", some(r.Restored))
	}
	var pages, packed []string
	for _, name := range r.Restored {
		switch {
		case TypeOf(name) == HTML || TypeOf(name) == CSS || TypeOf(name) == JS:
			pages = append(pages, name)
		case p.guard() != GuardOff: // it makes them anew, or warns of those that hold something else
		case strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".br"):
			packed = append(packed, name)
		}
	}
	warn := func(names []string, text string) {
		if len(names) > 0 {
			r.Warnings = append(r.Warnings, some(names)+": "+text)
		}
	}
	warn(pages, "left out by the optimizer and published as they were")
	warn(packed, "compressed before the optimizer ran, so they hold the files as they were; compress after this step")
	warn(r.Omitted, `hidden by the optimizer's wp_hide; to keep them set "wp_hide_paths": false in pageflare.jsonc`)
}

// some names the first few of many.
func some(names []string) string {
	const shown = 5
	quoted := make([]string, 0, shown)
	for _, name := range names[:min(len(names), shown)] {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	text := strings.Join(quoted, ", ")
	if more := len(names) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (p *Plan) now() time.Time {
	if p.cfg.Now != nil {
		return p.cfg.Now()
	}
	return time.Now()
}

func (p *Plan) logf(format string, args ...any) {
	p.log.end()
	fmt.Fprintf(p.log, format+"\n", args...)
}
