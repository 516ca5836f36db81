package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/pageflare/ci/action/optimize"
)

// guardBench measures what the guard costs and what it keeps: its time beside the optimizer's on a
// site of 2,000 pages, and the bytes that each profile saves on the sites of real generators.
type guardBench struct {
	optimizer, sites string
}

const guardPages = 2000

func (b guardBench) run(ctx context.Context) (err error) {
	debug.SetGCPercent(400) // as the Action does
	if b.optimizer, err = filepath.Abs(b.optimizer); err != nil {
		return err
	}
	dist, err := filepath.Glob(filepath.Join(b.sites, "*", "dist"))
	if err != nil || len(dist) == 0 {
		return errors.Join(err, fmt.Errorf("no sites in %s", b.sites))
	}
	temp, err := os.MkdirTemp("", "pageflare-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	fmt.Printf("\n%-12s %-8s %10s %10s %10s %10s %9s %9s\n", "site", "profile", "bytes", "optimizer", "published", "pages", "repaired", "restored")
	var pages, restored int
	for _, d := range dist {
		for _, profile := range []optimize.Profile{optimize.ProfileSafe, optimize.ProfileFull} {
			p, r, err := b.measure(ctx, temp, d, profile)
			if err != nil {
				return fmt.Errorf("%s: %w", d, err)
			}
			if profile == optimize.ProfileSafe {
				pages, restored = pages+p, restored+r
			}
		}
	}
	fmt.Printf("\nsafe profile: %d of %d pages restored (%.1f %%; the target is that fewer than 2 %% are restored without need)\n",
		restored, pages, float64(restored)*100/float64(max(pages, 1)))
	return b.large(ctx, temp, dist)
}

// measure optimizes one site without the guard and with it. The bytes are what is saved.
func (b guardBench) measure(ctx context.Context, temp, dist string, profile optimize.Profile) (pages, restored int, err error) {
	raw, err := b.optimize(ctx, temp, dist, profile, optimize.GuardOff)
	if err != nil {
		return 0, 0, err
	}
	kept, err := b.optimize(ctx, temp, dist, profile, optimize.GuardRestore)
	if err != nil {
		return 0, 0, err
	}
	for _, r := range kept.Guard.Rejected {
		if optimize.TypeOf(r.Path) == optimize.HTML {
			restored++
		}
	}
	pages = kept.Before.ByType[optimize.HTML].Files
	fmt.Printf("%-12s %-8s %10d %10d %10d %10d %9d %9d\n", filepath.Base(filepath.Dir(dist)), profile, kept.Before.Bytes,
		raw.BytesSaved(), kept.BytesSaved(), pages, kept.Guard.Repaired, len(kept.Guard.Rejected))
	return pages, restored, nil
}

// optimize runs the optimizer over a copy of a site.
func (b guardBench) optimize(ctx context.Context, temp, dist string, profile optimize.Profile, guard optimize.Guard) (r measured, err error) {
	workspace, err := os.MkdirTemp(temp, "workspace-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(workspace)) }()
	if err := os.CopyFS(filepath.Join(workspace, "dist"), os.DirFS(dist)); err != nil {
		return r, err
	}
	plan, err := optimize.Check(optimize.Config{
		Binary: b.optimizer, Workspace: workspace, Source: "dist", APIURL: "http://127.0.0.1:9", Profile: profile, Guard: guard,
		Environ: []string{"PATH=" + os.Getenv("PATH")}, Log: io.Discard,
	})
	if err != nil {
		return r, err
	}
	its, ours := processorTime(syscall.RUSAGE_CHILDREN), processorTime(syscall.RUSAGE_SELF)
	r.Report, err = plan.Run(ctx, "")
	r.its, r.ours = processorTime(syscall.RUSAGE_CHILDREN)-its, processorTime(syscall.RUSAGE_SELF)-ours
	return r, err
}

// measured is a run, with the processor time of the optimizer and of the Action around it.
type measured struct {
	optimize.Report
	its, ours time.Duration
}

// large is the guard's share of the time on a large site: the pages of all sites, again and again.
func (b guardBench) large(ctx context.Context, temp string, dist []string) error {
	site := filepath.Join(temp, "large")
	made, err := manyPages(site, dist, guardPages)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d pages of these sites, safe profile, %d cores\n\n", made, runtime.NumCPU())
	fmt.Printf("%-10s %12s %12s %8s %14s %14s %8s\n", "profile", "optimizer", "guard", "ratio", "its processor", "our processor", "ratio")
	for _, profile := range []optimize.Profile{optimize.ProfileSafe, optimize.ProfileFull} {
		debug.FreeOSMemory()
		r, err := b.optimize(ctx, temp, site, profile, optimize.GuardRestore)
		if err != nil {
			return err
		}
		fmt.Printf("%-10s %12s %12s %8.2f %14s %14s %8.2f\n", profile, r.Optimizing.Round(time.Millisecond), r.Guarding.Round(time.Millisecond),
			float64(r.Guarding)/float64(r.Optimizing), r.its.Round(time.Millisecond), r.ours.Round(time.Millisecond), float64(r.ours)/float64(r.its))
	}
	memory, err := peakMemory()
	if err != nil {
		return err
	}
	fmt.Printf("\nthe target is a ratio of 0.15; memory of the Action at its peak: %d MiB\n", memory>>20)
	return nil
}

// processorTime is what this process or its children have used so far. Other programs on the
// machine do not change it, as they do the time on the clock.
func processorTime(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// manyPages writes pages of the sites into folders of their own, until there are enough.
func manyPages(site string, dist []string, enough int) (made int, err error) {
	var pages [][]byte
	for _, d := range dist {
		err := filepath.WalkDir(d, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() || optimize.TypeOf(path) != optimize.HTML {
				return err
			}
			b, err := os.ReadFile(path)
			pages = append(pages, b)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	for ; made < enough; made++ {
		folder := filepath.Join(site, fmt.Sprint(made))
		if made == 0 {
			folder = site // the optimizer takes no site without a first page
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return 0, err
		}
		// no two pages are the same
		page := append([]byte{}, pages[made%len(pages)]...)
		page = append(page, fmt.Sprintf("<!-- page number %d -->\n", made)...)
		if err := os.WriteFile(filepath.Join(folder, "index.html"), page, 0o644); err != nil {
			return 0, err
		}
	}
	return made, nil
}

// peakMemory is the largest resident set of this process so far, in bytes.
func peakMemory() (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no VmHWM in /proc")
}
