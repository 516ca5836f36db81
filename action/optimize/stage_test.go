package optimize_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pageflare/ci/action/optimize"
)

func TestSwapInPlaceKeepsEverythingElse(t *testing.T) {
	t.Parallel()
	for name, exchanges := range map[string]bool{"at once": true, "by two renames": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page, "dist/a/.keep": "", "dist/a/z.zip": "z", "other/f": "f"})
			p := check(t, faked(t, ws, done))
			if !exchanges {
				p.WithSwap(func(_, _ string) error { return optimize.ErrNoExchange })
			}
			if _, err := p.Run(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if got := read(t, ws, "dist/index.html"); got != "optimized\n" {
				t.Errorf("dist/index.html = %q, want the new one", got)
			}
			if got := names(t, ws) + ": " + names(t, filepath.Join(ws, "dist/a")); got != "dist other: .keep z.zip" {
				t.Errorf("workspace = %q, want nothing lost and nothing beside", got)
			}
		})
	}
}

func TestSwapThatFailsLeavesTheOutput(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		set  func(p *optimize.Plan)
	}{
		{"at once", func(p *optimize.Plan) { p.WithSwap(func(_, _ string) error { return syscall.EBUSY }) }},
		{"between two renames", func(p *optimize.Plan) {
			p.WithSwap(func(staging, _ string) error {
				return errors.Join(optimize.ErrNoExchange, os.RemoveAll(staging)) // so that the second rename fails
			})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page})
			before := snapshot(t, ws)
			p := check(t, faked(t, ws, done))
			tt.set(p)
			if _, err := p.Run(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "put the result in place") {
				t.Errorf("Run = %v, want the swap's error", err)
			}
			if diff := cmp.Diff(before, snapshot(t, ws)); diff != "" {
				t.Errorf("workspace (-before +after):\n%s", diff)
			}
		})
	}
}

func TestAFullDiskComesWithARemedy(t *testing.T) {
	t.Parallel()
	p := check(t, faked(t, site(t, map[string]string{"dist/index.html": page}), done))
	p.WithSwap(func(from, to string) error {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.ENOSPC}
	})
	if _, err := p.Run(t.Context(), ""); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "; free space on the disk of the workspace") {
		t.Errorf("Run = %v, want what to do about it", err)
	}
}

func TestOutputThatIsALinkIsReplacedAtItsTarget(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "real/index.html": earlier, "real/old.html": "", "out": "-> real"})
	cfg := faked(t, ws, done)
	cfg.Output = "out"
	run(t, cfg)
	if got := names(t, ws) + ": " + names(t, filepath.Join(ws, "real")); got != "dist out real: index.html" {
		t.Errorf("workspace = %q, want the target replaced and the link kept", got)
	}
	if target, err := os.Readlink(filepath.Join(ws, "out")); target != "real" {
		t.Errorf("out -> %q, %v, want real", target, err)
	}
}

func TestOptimizerWritesAreNeverReplaced(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/.dot": "source", "dist/a.zip": "source", "dist/folder": "-> sub", "dist/sub/x.zip": ""})
	run(t, faked(t, ws, `echo cli > "$out/.dot"; echo cli > "$out/a.zip"; echo cli > "$out/folder"; `+done))
	for _, name := range []string{".dot", "a.zip", "folder", "index.html"} {
		if got := read(t, ws, "dist", name); got != "cli\n" && got != "optimized\n" {
			t.Errorf("dist/%s = %q, want what the optimizer wrote", name, got)
		}
	}
}

func TestSourceThatChangesUnderneathStopsTheRun(t *testing.T) {
	t.Parallel()
	for _, act := range []string{`ln -s /etc/passwd "$src/.dot"`, `mkfifo "$src/.dot"`, `mkdir "$src/.dot"`, `true`} {
		ws := site(t, map[string]string{"dist/index.html": page, "dist/.dot": "x"})
		cfg := faked(t, ws, `rm "$src/.dot"; `+act+`; `+done)
		cfg.Output = "out"
		if err := fails(t, t.Context(), cfg); !strings.Contains(err.Error(), `bring over ".dot"`) {
			t.Errorf("Run after %s = %v, want a refusal", act, err)
		}
		if got := names(t, ws); got != "dist" {
			t.Errorf("workspace after %s = %q, want no output", act, got)
		}
	}
}

// What somebody writes into the source while it is optimized would be gone once the result stands
// in its place.
func TestInPlaceNothingThatIsWrittenMeanwhileIsLost(t *testing.T) {
	t.Parallel()
	for act, want := range map[string]string{
		`echo y > "$src/new.html"`:                        `"new.html" is new`,
		`mkdir "$src/sub"; echo y > "$src/sub/.new"`:      `"sub" is new`,
		`echo longer > "$src/a.css"`:                      `"a.css" was changed`,
		`touch -d 2001-01-01 "$src/a.css"`:                `"a.css" was changed`,
		`rm "$src/a.css"; ln -s index.html "$src/a.css"`:  `"a.css" was changed`,
		`rm "$src/a.css"; echo x > "$out/a.css"`:          `"a.css" is gone`,
		`mkdir -p "$src/.appz/x"; touch "$src/.appz/x/y"`: "", // the optimizer's own
	} {
		ws := site(t, map[string]string{"dist/index.html": page, "dist/a.css": "x"})
		cfg := faked(t, ws, act+"; "+done)
		if want == "" {
			run(t, cfg)
			continue
		}
		if err := fails(t, t.Context(), cfg); !strings.Contains(err.Error(), "written to while it was optimized: "+want) {
			t.Errorf("Run with %s = %v, want %s", act, err, want)
		}
		if got := read(t, ws, "dist", "index.html"); got != page {
			t.Errorf("after %s the page is %q, want it as it was", act, got)
		}
		if strings.HasSuffix(want, "is new") && !strings.Contains(names(t, filepath.Join(ws, "dist")), strings.Split(want, `"`)[1]) {
			t.Errorf("after %s what was written is gone", act)
		}
	}
}

// The Action runs as root in a container; the next step of the job runs as the owner of the
// workspace. An earlier container step may have built the source as somebody else. What was there
// before keeps its owner.
func TestWhatARunMakesBelongsToTheOwnerOfTheWorkspace(t *testing.T) {
	t.Parallel()
	for name, output := range map[string]string{"in place": "", "beside": "build/site/public"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page, "dist/.d/x": "", "dist/e/": "", "dist/l": "-> e", "build/kept": "", "other": ""})
			us := owners(t, ws)["other"]
			want := us
			if os.Geteuid() == 0 {
				want = "12345:12346"
				for path, uid := range map[string]int{ws: 12345, filepath.Join(ws, "dist"): 777} {
					if err := os.Chown(path, uid, uid+1); err != nil {
						t.Fatal(err)
					}
				}
			}
			cfg := faked(t, ws, done)
			cfg.Output = output
			before := owners(t, ws)
			run(t, cfg)
			for path, owner := range owners(t, ws) {
				is := want
				if was, ok := before[path]; ok && (output != "" || !strings.HasPrefix(path, "dist")) {
					is = was
				}
				if owner != is {
					t.Errorf("owner of %s = %s, want %s", path, owner, is)
				}
			}
		})
	}
}

// owners lists everything below root with its owner and group.
func owners(t testing.TB, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for path := range snapshot(t, root) {
		info, err := os.Lstat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		all[path] = fmt.Sprintf("%d:%d", st.Uid, st.Gid)
	}
	return all
}

// A user other than root needs care with folders that it may not write to.
func TestReadOnlyFoldersAreReplacedAndRemoved(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/ro/.a": "x", "dist/ro/b.zip": "y"})
	modes := func(mode os.FileMode) {
		_ = os.Chmod(filepath.Join(ws, "dist/ro"), mode)
		_ = os.Chmod(filepath.Join(ws, "dist"), mode)
	}
	modes(0o555)
	t.Cleanup(func() { modes(0o755) })
	asUser(t)
	cfg := faked(t, ws, done)
	run(t, cfg)
	if got := names(t, ws); got != "dist" {
		t.Errorf("workspace = %q, want the old folder removed; log: %v", got, cfg.Log)
	}
	if info, err := os.Stat(filepath.Join(ws, "dist/ro")); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("mode of dist/ro = %v (%v), want it kept", info, err)
	}
}

func TestSweepTakesOnlyWhatIsOursAndUnused(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{
		"dist/index.html": page, ".dist.pageflare-1/index.html": "left over", ".dist.pageflare-2/index.html": "in use",
		".dist.pageflare-3.old/index.html": "moved aside", ".dist.pageflare-x/f": "", ".dist.pageflare-/f": "", ".other.pageflare-4/f": "",
		".dist.pageflare-5": "a file", ".dist.pageflare-6": "-> .other.pageflare-4", "dist.pageflare-7/f": "",
	})
	inUse, err := os.Open(filepath.Join(ws, ".dist.pageflare-2"))
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Close()
	if err := unix.Flock(int(inUse.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	run(t, faked(t, ws, done))
	want := ".dist.pageflare- .dist.pageflare-2 .dist.pageflare-3.old .dist.pageflare-5 .dist.pageflare-6 .dist.pageflare-x .other.pageflare-4 dist dist.pageflare-7"
	if got := names(t, ws); got != want {
		t.Errorf("workspace = %q, want only the unused left-over gone: %q", got, want)
	}
	if got := names(t, filepath.Join(ws, ".other.pageflare-4")); got != "f" {
		t.Errorf("behind the link = %q, want it untouched", got)
	}
}

func TestParallelRunsDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/.nojekyll": ""})
	ended := make(chan error)
	const runs = 4
	var plans []*optimize.Plan
	for i := range runs {
		cfg := faked(t, ws, done)
		cfg.Output = fmt.Sprintf("out%d", i/2) // pairs share an output
		plans = append(plans, check(t, cfg))
	}
	for _, p := range plans {
		go func() {
			_, err := p.Run(t.Context(), "")
			ended <- err
		}()
	}
	for range runs {
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want a report", err)
		}
	}
	if got := names(t, ws); got != "dist out0 out1" {
		t.Errorf("workspace = %q, want both outputs and nothing beside", got)
	}
}

// What the Action adds to the optimizer's own time: check, complete, measure (also compressed) and
// swap. Making a file costs far more than looking at one, so what must be brought over is told
// apart.
func BenchmarkStageMeasure(b *testing.B) {
	for _, carried := range []int{0, 10, 100} {
		b.Run(fmt.Sprintf("brought-over=%d", carried), func(b *testing.B) { benchmarkStage(b, 1000, carried) })
	}
}

// post is a page of some 5 KB with text of its own.
func post(n int) string {
	random := rand.New(rand.NewPCG(uint64(n), 0))
	var b strings.Builder
	b.WriteString(page)
	for b.Len() < 5000 {
		fmt.Fprintf(&b, "<p class=\"lead\">Paragraph %d of post %d says %x.</p>\n", random.IntN(1000), n, random.Uint64())
	}
	return b.String()
}

func benchmarkStage(b *testing.B, files, carried int) {
	all := map[string]string{"dist/index.html": earlier} // as the output of the loop before
	for i := range files - carried - 1 {
		all[fmt.Sprintf("dist/posts/%d/f%d.html", i%50, i)] = post(i)
	}
	for i := range carried {
		all[fmt.Sprintf("dist/.well-known/f%d", i)] = page
	}
	ws := site(b, all)
	cfg := faked(b, ws, "")
	cfg.Output = "out"
	for b.Loop() {
		_, err := check(b, cfg).Stage(b.Context(), func(staging string) {
			b.StopTimer()
			if err := os.CopyFS(staging, os.DirFS(filepath.Join(ws, "dist"))); err != nil {
				b.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(staging, ".well-known")); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1e3/float64(b.N)/(float64(files)/1000), "ms/1000files")
}
