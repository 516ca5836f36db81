package optimize

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/action/guard"
)

// ErrGuard says that the optimizer changed more than it should, under GuardFail. The site is as it
// was, and the report that comes with the error says what differed.
var ErrGuard = errors.New("the optimizer changed more than it should")

// made is an optimized site in its staging folder, judged and ready to be swapped in.
type made struct {
	plan   *Plan
	stage  *stage
	report Report
	after  tree
	judge  *judge // nil without the guard
}

func (m *made) discard() { m.plan.discard(m.stage) }

// guarded is what the guard found so far.
func (m *made) guarded() Guarded {
	if m == nil {
		return Guarded{}
	}
	return m.report.Guard
}

// make optimizes the site into a stage. Where a key of pageflare.jsonc costs many pages, it does so
// again without that key, once, and takes the better of both. The caller discards what is answered,
// also when there is an error.
func (p *Plan) make(ctx context.Context, site tree, token string) (*made, error) {
	first, err := p.attempt(ctx, site, token, nil)
	if failed := (*ExitError)(nil); errors.As(err, &failed) && strings.Contains(failed.Message, critters) {
		return p.makeWithout(ctx, site, token, first, guard.KeyCritical)
	}
	if err != nil || first.judge == nil || p.guard() == GuardFail {
		return first, err
	}
	off := first.report.Guard.Rerun
	if len(off) == 0 {
		return first, nil
	}
	p.logf("the guard has to put %d files back as they were: the optimizer runs once more without %s",
		len(first.report.Guard.Rejected), strings.Join(off, ", "))
	first.report.Guard.Rerun = nil
	second, err := p.attempt(ctx, site, token, off)
	if second != nil {
		optimizing, guarding := first.report.Optimizing+second.report.Optimizing, first.report.Guarding+second.report.Guarding
		for _, m := range []*made{first, second} {
			m.report.Optimizing, m.report.Guarding = optimizing, guarding
		}
	}
	switch {
	case ctx.Err() != nil:
		if second != nil {
			second.discard()
		}
		return first, err
	case err != nil:
		p.logf("the second run failed, and the result of the first is published: %v", err)
	case second.judge.gain() > first.judge.gain():
		first.discard()
		second.report.Guard.Rerun = off
		return second, nil
	default:
		p.logf("the second run saved no more (%d bytes, %d the first), whose result is published", second.judge.gain(), first.judge.gain())
	}
	if second != nil {
		second.discard()
	}
	return first, nil
}

// makeWithout makes the site without a pass at which the CLI broke off.
func (p *Plan) makeWithout(ctx context.Context, site tree, token string, failed *made, key string) (*made, error) {
	p.logf("the optimizer broke off at the pass %s: it runs once more without it", key)
	failed.discard()
	m, err := p.attempt(ctx, site, token, []string{key})
	if err == nil {
		m.report.Guard.Rerun = []string{key}
	}
	return m, err
}

func (p *Plan) guard() Guard {
	if p.cfg.Guard == "" {
		return GuardRestore
	}
	return p.cfg.Guard
}

// attempt runs the CLI once, without the passes of the keys off, and makes of its result what can
// be published.
func (p *Plan) attempt(ctx context.Context, site tree, token string, off []string) (*made, error) {
	s, err := newStage(p.Workspace, p.Output, p.swap)
	if err != nil {
		return nil, err
	}
	m := &made{plan: p, stage: s}
	if err := p.runCLI(ctx, site, m, token, off); err != nil {
		return m, err
	}
	c, err := s.carrierFor(site, &m.report, p.guard() != GuardOff)
	if err != nil {
		return m, fmt.Errorf("complete the optimized site: %w", err)
	}
	defer c.close()
	if err := c.complete(ctx, site, s); err != nil {
		return m, fmt.Errorf("complete the optimized site: %w", err)
	}
	if err := m.hold(ctx, site, c); err != nil {
		return m, err
	}
	if m.after, err = c.finish(site, s); err != nil {
		return m, fmt.Errorf("complete the optimized site: %w", err)
	}
	return m, nil
}

// runCLI runs the CLI into the stage, in a private home.
func (p *Plan) runCLI(ctx context.Context, site tree, m *made, token string, off []string) error {
	began := p.now()
	home, err := os.MkdirTemp(p.temp, "pageflare-home-")
	if err != nil {
		return fmt.Errorf("make a private home: %w", err)
	}
	defer os.RemoveAll(home)
	settings := p.settings()
	config, err := settings.write(home, off)
	if err != nil {
		return err
	}
	copied := home + "-source"
	defer os.RemoveAll(copied)
	source, err := p.view(site, copied, false)
	if err != nil {
		return fmt.Errorf("copy the source for the optimizer: %w", err)
	}
	out, err := p.execute(ctx, home, source, m.stage.path, config, token)
	if err == nil && out.code != 0 && strings.Contains(Unfold(out.stderr), cyclic) {
		p.logf("pages name each other in link elements, which the optimizer cannot resolve: " +
			"it runs once more without seeing them")
		unlinked := home + "-unlinked"
		defer os.RemoveAll(unlinked)
		if source, err = p.view(site, unlinked, true); err != nil {
			return fmt.Errorf("copy the source for the optimizer: %w", err)
		}
		out, err = p.execute(ctx, home, source, m.stage.path, config, token)
	}
	if err != nil {
		return err
	}
	took := p.now().Sub(began)
	p.logf("optimizer ended with exit status %d after %v", out.code, took.Round(time.Millisecond))
	m.report, err = reportOf(out, token)
	m.report.Profile, m.report.Optimizing = settings.profile, took
	return err
}

// hold holds the stage against the source and settles what is published.
func (m *made) hold(ctx context.Context, site tree, c *carrier) error {
	p := m.plan
	staged, err := list(m.stage.path)
	if err != nil {
		return err
	}
	j := p.newJudge(site, staged, c.from, c.to)
	if p.guard() == GuardOff {
		if err := j.stampAll(ctx, staged); err != nil {
			return err
		}
	} else if err := m.hear(ctx, j, c.hidden); err != nil {
		return err
	}
	if staged, err = list(m.stage.path); err != nil {
		return err
	}
	if m.report.BrokenRefs, err = p.broken(ctx, j, staged); err != nil {
		return err
	}
	m.report.BrokenRefsFailed = len(m.report.BrokenRefs) > 0 && (p.failOnBroken || m.report.BrokenRefsFailed)
	m.report.ExitCode = 0
	if m.report.BrokenRefsFailed {
		m.report.ExitCode = 1
	}
	return nil
}

// hear has the guard judge all files.
func (m *made) hear(ctx context.Context, j *judge, hidden bool) error {
	began := m.plan.now()
	if err := j.judgeAll(ctx); err != nil {
		return err
	}
	off := j.costly()
	if hidden && !slices.Contains(off, keyHide) {
		off = append(off, keyHide)
	}
	if m.plan.guard() == GuardFail && len(j.rejected) > 0 {
		m.report.Guard = j.report()
		return ErrGuard
	}
	if err := j.settle(ctx); err != nil {
		return err
	}
	m.report.Restored = slices.DeleteFunc(m.report.Restored, func(name string) bool { return j.siblings[name] })
	if slices.Sort(j.strangers); len(j.strangers) > 0 {
		m.report.Warnings = append(m.report.Warnings, some(j.strangers)+": holds something else than the file "+
			"that it is named after, and is left as it is; compress after this step")
	}
	m.report.Guard, m.judge = j.report(), j
	m.report.Guard.Rerun = off
	m.report.Guarding = m.plan.now().Sub(began)
	m.plan.logf("guard: %d files are published optimized (%d of them repaired), %d results were not the same file, after %v",
		len(j.published), j.repaired, len(j.rejected), m.report.Guarding.Round(time.Millisecond))
	if m.plan.guard() == GuardFail && len(j.rejected) > 0 { // by a digest
		return ErrGuard
	}
	return nil
}

// keyHide is the key of the pass that renames the folders of WordPress.
const keyHide = "wp_hide_paths"
