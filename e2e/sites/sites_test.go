//go:build e2e

package sites_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/andybalholm/brotli"

	"github.com/pageflare/ci/e2e/browser"
)

var (
	action = flag.String("action", "", "the Action; built when it is not given")
	extra  = flag.String("folder", "", "built site of your own to try, instead of those of this folder; it is copied")
	limit  = flag.Int("pages", 12, "how many pages of a site are looked at")
	guard  = flag.String("guard", "", "input guard; its default when it is not given")
)

// profiles are the values of the input optimizer-profile.
var profiles = []string{"safe", "full"}

// A visitor, a crawler and a script get the same from the site that the Action publishes as from the source.
func TestASiteIsTheSameAfterwards(t *testing.T) {
	program := build(t)
	b, err := browser.Start(context.WithoutCancel(t.Context())) // it ends after the subtests
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	table := &table{}
	t.Cleanup(func() { t.Log("\n" + table.String()) })
	turns := make(chan struct{}, 2*runtime.GOMAXPROCS(0)) // pages that are open at a time
	for name, dist := range sites(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages, err := browser.Pages(dist, *limit)
			if err != nil || len(pages) == 0 {
				t.Fatalf("pages = %q, %v", pages, err)
			}
			before := lookAll(t, b, turns, dist, pages)
			for _, s := range before {
				if strings.HasSuffix(s.Click, "(no answer)") {
					t.Errorf("%s: the source itself does not answer a click: %q", s.Page, s.Click)
				}
			}
			for _, profile := range profiles {
				t.Run(profile, func(t *testing.T) {
					t.Parallel()
					r := run(t, program, dist, profile)
					after := lookAll(t, b, turns, r.site, pages)
					found := staleSiblings(t, r.site)
					for i := range pages {
						for _, d := range browser.Compare(before[i], after[i]) {
							found = append(found, d.String())
						}
					}
					table.add(row{name, profile, len(pages), len(found), r.outputs})
					for _, line := range found {
						t.Error(line)
					}
				})
			}
		})
	}
}

// sites gives the folder of each site by its name.
func sites(t *testing.T) map[string]string {
	t.Helper()
	if *extra != "" {
		return map[string]string{filepath.Base(*extra): *extra}
	}
	found, err := filepath.Glob("*/dist")
	if err != nil || len(found) == 0 {
		t.Fatalf("no sites: %v, %v", found, err)
	}
	all := map[string]string{}
	for _, dist := range found {
		all[filepath.Dir(dist)] = dist
	}
	return all
}

func lookAll(t *testing.T, b *browser.Browser, turns chan struct{}, dir string, pages []string) []*browser.Snapshot {
	t.Helper()
	site, err := b.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer site.Close()
	snapshots, errs := make([]*browser.Snapshot, len(pages)), make([]error, len(pages))
	var all sync.WaitGroup
	for i, page := range pages {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			snapshots[i], errs[i] = site.Look(t.Context(), page)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return snapshots
}

// staleSiblings tells which compressed siblings do not hold what the file beside them holds.
func staleSiblings(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		ext := filepath.Ext(p)
		if err != nil || ext != ".gz" && ext != ".br" {
			return err
		}
		want, err := os.ReadFile(strings.TrimSuffix(p, ext))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if got, err := decompress(p, ext); err != nil || !bytes.Equal(got, want) {
			rel, _ := filepath.Rel(dir, p)
			found = append(found, fmt.Sprintf("/%s: compressed sibling: it is not the file that it stands for (%v)", rel, err))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func decompress(path, ext string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if ext == ".br" {
		return io.ReadAll(brotli.NewReader(bytes.NewReader(b)))
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// result is what a run of the Action left.
type result struct {
	site    string
	outputs map[string]string
}

// run runs the Action on a copy of a site, with the environment that a runner gives it and no token.
func run(t *testing.T, program, dist, profile string) result {
	t.Helper()
	dir := t.TempDir()
	ws := filepath.Join(dir, "ws")
	must(t, os.CopyFS(filepath.Join(ws, "dist"), os.DirFS(dist)))
	for _, name := range []string{"output", "summary", "home", "tmp"} {
		if name == "home" || name == "tmp" {
			must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		} else {
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir = ws
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"), "TMPDIR=" + filepath.Join(dir, "tmp"), "CI=true", "GITHUB_ACTIONS=true",
		"GITHUB_WORKSPACE=" + ws, "GITHUB_REPOSITORY=acme/site", "GITHUB_REPOSITORY_ID=1296269", "GITHUB_EVENT_NAME=push", "GITHUB_ACTOR=octocat",
		"GITHUB_API_URL=http://127.0.0.1:9", "GITHUB_OUTPUT=" + filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY=" + filepath.Join(dir, "summary"),
		"INPUT_API-URL=http://127.0.0.1:9", "INPUT_SOURCE=dist", "INPUT_MODE=optimize", "INPUT_JOB-TOTAL=1", "INPUT_OPTIMIZER-PATH=" + optimizer(t),
		"INPUT_OPTIMIZER-PROFILE=" + profile, "INPUT_GUARD=" + *guard,
	}
	log, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the Action: %v\n%s", err, log)
	}
	text, err := os.ReadFile(filepath.Join(dir, "output"))
	must(t, err)
	r := result{filepath.Join(ws, "dist"), map[string]string{}}
	for _, m := range outputForm.FindAllStringSubmatch(string(text), -1) {
		r.outputs[m[1]] = m[3]
	}
	return r
}

// outputForm is one output in the file GITHUB_OUTPUT: name<<word, value, word.
var outputForm = regexp.MustCompile(`(?m)^([a-z-]+)<<(\S+)\n(.*)\n\S+$`)

func build(t *testing.T) string {
	t.Helper()
	if *action != "" {
		p, err := filepath.Abs(*action)
		must(t, err)
		return p
	}
	p := filepath.Join(t.TempDir(), "pageflare-action")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", p, "../../action")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the Action: %v\n%s", err, out)
	}
	return p
}

// optimizer is the real CLI, which make installs.
func optimizer(t *testing.T) string {
	t.Helper()
	p, err := filepath.Abs("../../action/optimize/cli/node_modules/@pageflare/cli-linux-x64/bin/pageflare")
	must(t, err)
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("the optimizer is not installed: run make optimizer: %v", err)
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// table collects what was found, a line for each site and profile.
type table struct {
	mu   sync.Mutex
	rows []row
}

type row struct {
	site, profile string
	pages, found  int
	outputs       map[string]string
}

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

func (t *table) String() string {
	slices.SortFunc(t.rows, func(a, b row) int { return strings.Compare(a.site+" "+a.profile, b.site+" "+b.profile) })
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "site\tprofile\tpages\tdifferences\tfiles\trestored\tbytes before\tbytes saved\t")
	for _, r := range t.rows {
		restored := r.outputs["files-restored"]
		if restored == "" {
			restored = "–"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t\n", r.site, r.profile, r.pages, r.found, r.outputs["files"], restored, r.outputs["bytes-before"], r.outputs["bytes-saved"])
	}
	_ = w.Flush()
	return text.String()
}
