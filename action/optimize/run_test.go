package optimize_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pageflare/ci/action/optimize"
)

// done is a script of an optimizer that does its work.
const done = `mkdir -p "$out"; echo optimized > "$out/index.html"; echo "$ok"`

func TestOptimizerSeesNothingOfTheJob(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	seen := filepath.Join(t.TempDir(), "seen")
	cfg := faked(t, ws, `cat /proc/$$/environ > `+seen+`; pwd > `+seen+`.pwd; echo "$@" > `+seen+`.args; `+done)
	cfg.Environ = []string{
		"PATH=" + os.Getenv("PATH"), "LANG=C", "LC_ALL=C", "LC_TIME=C", "TZ=UTC", "CI=true", "HTTP_PROXY=http://me:pw@p", "https_proxy=http://q",
		"NO_PROXY=x", "SSL_CERT_FILE=/c", "SSL_CERT_DIR=/d",
		"HOME=/root", "TMPDIR=/t", "INPUT_TOKEN=a", "INPUT_APP-PRIVATE-KEY=b", "GITHUB_TOKEN=c", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=d", "PAGEFLARE_TOKEN=old",
		"PAGEFLARE_LICENSE=old", "AWS_SECRET_ACCESS_KEY=e", "LCX=f", "PATHX=g", "LD_PRELOAD=h",
	}
	cfg.License, cfg.APIURL = "blob", "https://api.example/base/"
	if _, err := check(t, cfg).Run(t.Context(), "jwt"); err != nil {
		t.Fatal(err)
	}
	env := strings.Split(strings.TrimRight(read(t, seen), "\x00"), "\x00")
	home := ""
	for i, pair := range env {
		if value, ok := strings.CutPrefix(pair, "HOME="); ok {
			home, env[i] = value, "HOME"
		}
	}
	sort.Strings(env)
	want := []string{
		"CI=true", "HOME", "LANG=C", "LC_ALL=C", "PAGEFLARE_API_URL=https://api.example/base",
		"PAGEFLARE_LICENSE=blob", "PAGEFLARE_NO_AUTO_INSTALL=1", "PAGEFLARE_TELEMETRY=0", "PAGEFLARE_TOKEN=jwt", "PATH=" + os.Getenv("PATH"),
		"SSL_CERT_DIR=/d", "SSL_CERT_FILE=/c", "TMPDIR=" + home, "TZ=UTC",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if filepath.Dir(home) != cfg.TempDir || strings.TrimSpace(read(t, seen+".pwd")) != home {
		t.Errorf("HOME = %q, working folder %q, want one private folder below %q", home, read(t, seen+".pwd"), cfg.TempDir)
	}
	if left := names(t, cfg.TempDir); left != "" {
		t.Errorf("temporary folder holds %q, want the home removed", left)
	}
	args := strings.Fields(read(t, seen+".args"))
	staging := filepath.Join(ws, ".dist.pageflare-")
	if len(args) != 7 || args[0] != "optimize" || args[1] != filepath.Join(ws, "dist") || args[2] != "--output" || !strings.HasPrefix(args[3], staging) ||
		args[4] != "--json" || args[5] != "--no-browser" {
		t.Errorf("arguments = %q, want absolute folders and a staging folder beside", args)
	}
}

func TestOptimizerGetsNoEmptyValues(t *testing.T) {
	t.Parallel()
	seen := filepath.Join(t.TempDir(), "seen")
	run(t, faked(t, site(t, map[string]string{"dist/index.html": page}), `env > `+seen+`; `+done))
	if got := read(t, seen); strings.Contains(got, "PAGEFLARE_TOKEN") || strings.Contains(got, "LICENSE") || strings.Contains(got, "API_URL") {
		t.Errorf("environment = %q, want no empty values", got)
	}
}

func TestOptimizerThatFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script string
		code         int
		message      string
	}{
		{"an error", `echo 'Error:   × it is' >&2; echo '  │ bad' >&2; exit 1`, 1, "it is bad"},
		{"an error after half of the work", `echo x > "$out/half.html"; echo "Error: full" >&2; exit 1`, 1, "full"},
		{"a manifest without broken refs", `echo "$ok"; echo why >&2; exit 1`, 1, "why"},
		{"another status with a manifest", `echo "$ok"; exit 3`, 3, "it said nothing on stderr"},
		{"no manifest", `echo x > "$out/index.html"; exit 0`, 1, "it reported success, but printed no manifest on its standard output"},
		{"garbage for a manifest", `echo '{"manifest": <html>'`, 1, "it reported success, but printed read manifest: invalid character"},
		{"killed for memory", `kill -KILL $$`, 137, "killed by SIGKILL"},
		{"killed by another signal", `echo last words >&2; kill -ABRT $$`, 134, "killed by signal 6 (aborted): last words"},
		{"terminated by somebody", `kill -TERM $$`, 143, "killed by signal 15 (terminated)"},
		{"much on stderr", `head -c 1000000 /dev/zero | tr '\0' x >&2; printf '\n\nlast words\n' >&2; exit 1`, 1, "last words"},
		{"a full disk", `echo 'Error:   × IO error: No space left on device (os error 28).' >&2; exit 1`, 1, "(os error 28); free space on the disk"},
		{"the token on stderr", `echo "bad token $PAGEFLARE_TOKEN" >&2; exit 1`, 1, "bad token ***"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page, "dist/a/b.txt": "b", "out/index.html": earlier})
			before := snapshot(t, ws)
			cfg := faked(t, ws, tt.script)
			cfg.Output = "out"
			_, err := check(t, cfg).Run(t.Context(), "jwt")
			exit, ok := errors.AsType[*optimize.ExitError](err)
			if !ok || exit.Code != tt.code || !strings.Contains(exit.Message, tt.message) || len(exit.Message) > 70_000 {
				t.Fatalf("Run = %v, want exit status %d and %q", err, tt.code, tt.message)
			}
			if diff := cmp.Diff(before, snapshot(t, ws)); diff != "" {
				t.Errorf("workspace (-before +after):\n%s", diff)
			}
			if left := names(t, cfg.TempDir); left != "" {
				t.Errorf("temporary folder holds %q, want the home removed", left)
			}
		})
	}
}

func TestOptimizerThatPrintsWithoutEndIsStopped(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	p := check(t, faked(t, ws, `exec cat /dev/zero`))
	p.WithMaxStdout(1 << 20)
	_, err := p.Run(t.Context(), "")
	if exit, ok := errors.AsType[*optimize.ExitError](err); !ok || exit.Code != 1 || !strings.Contains(exit.Message, "more than 1048576 bytes") {
		t.Errorf("Run = %v, want an end to it", err)
	}
	if got := names(t, ws); got != "dist" {
		t.Errorf("workspace = %q, want nothing beside dist", got)
	}
}

func TestOptimizerThatCannotStart(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	cfg := faked(t, ws, "")
	cfg.Binary = filepath.Join(t.TempDir(), "elf")
	if err := os.WriteFile(cfg.Binary, []byte("\x7fELF for another machine"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := fails(t, t.Context(), cfg); !errors.Is(err, syscall.ENOEXEC) || !strings.Contains(err.Error(), "built for this machine") {
		t.Errorf("Run = %v, want ENOEXEC and a hint", err)
	}
	if got := names(t, ws); got != "dist" {
		t.Errorf("workspace = %q, want nothing beside dist", got)
	}
}

// A hanging optimizer that ignores SIGTERM, and a child of it, hold a FIFO open: its end tells that
// both are gone.
func TestCancellationEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	before := snapshot(t, ws)
	fifo := newFifo(t)
	cfg := faked(t, ws, `trap "" TERM; exec 3> `+fifo+`; tail -f /dev/null 2>&1 & echo up >&3; wait; tail -f /dev/null`)
	cfg.Grace = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := check(t, cfg).Run(ctx, "")
		ended <- err
	}()
	awaitEnd(t, fifo, cancel)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
	if diff := cmp.Diff(before, snapshot(t, ws)); diff != "" {
		t.Errorf("workspace (-before +after):\n%s", diff)
	}
}

// What the optimizer starts and leaves behind does not outlive it, nor hold up the run.
func TestLeftBehindChildrenEnd(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	fifo := newFifo(t)
	cfg := faked(t, ws, `exec 3> `+fifo+`; tail -f /dev/null > /dev/null 2>&1 & echo up >&3; `+done)
	ended := make(chan error, 1)
	go func() {
		_, err := check(t, cfg).Run(t.Context(), "")
		ended <- err
	}()
	awaitEnd(t, fifo, func() {})
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want a report", err)
	}
}

func newFifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// awaitEnd waits for the first line, acts, and waits until every writer is gone.
func awaitEnd(t *testing.T, fifo string, act func()) {
	t.Helper()
	f, err := os.Open(fifo) // waits for the writer
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if line, err := r.ReadString('\n'); line != "up\n" {
		t.Fatalf("fifo = %q, %v, want up", line, err)
	}
	act()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Fatalf("fifo = %q, %v, want its end", rest, err)
	}
}

func TestCancellationAfterTheOptimizerButBeforeTheSwap(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"when it has ended": "exit status 0", "when its result is complete": "kept as they were"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page, "dist/.nojekyll": "", "dist/a.zip": ""})
			before := snapshot(t, ws)
			ctx, cancel := context.WithCancel(t.Context())
			cfg := faked(t, ws, done)
			cfg.Log = &logbook{on: func(said string) {
				if strings.Contains(said, line) {
					cancel()
				}
			}}
			if err := fails(t, ctx, cfg); !errors.Is(err, context.Canceled) {
				t.Errorf("Run = %v, want context.Canceled", err)
			}
			if err := fails(t, ctx, cfg); !errors.Is(err, context.Canceled) {
				t.Errorf("Run with a cancelled context = %v, want context.Canceled", err)
			}
			if diff := cmp.Diff(before, snapshot(t, ws)); diff != "" {
				t.Errorf("workspace (-before +after):\n%s", diff)
			}
		})
	}
}

func TestLogCarriesWhatTheOptimizerSays(t *testing.T) {
	t.Parallel()
	cfg := faked(t, site(t, map[string]string{"dist/index.html": page, "dist/a.zip": ""}), `echo careful >&2; `+done)
	run(t, cfg)
	log := fmt.Sprint(cfg.Log)
	for _, want := range []string{"careful\n", "optimizer ended with exit status 0 after ", `kept as they were, since the optimizer leaves them out: "a.zip"`} {
		if !strings.Contains(log, want) {
			t.Errorf("log = %q, want it to hold %q", log, want)
		}
	}
}

func TestWhatTheOptimizerLeavesOpenIsEnded(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"by an optimizer that works":    `printf 'half a line' >&2; ` + done,
		"by an optimizer that fails":    `printf 'half a line' >&2; exit 1`,
		"by an optimizer that is ended": `printf 'half a line' >&2; exec cat /dev/zero`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := faked(t, site(t, map[string]string{"dist/index.html": page}), script)
			p := check(t, cfg)
			p.WithMaxStdout(1 << 20)
			_, _ = p.Run(t.Context(), "")
			if log := fmt.Sprint(cfg.Log); !strings.HasPrefix(log, "half a line\n") || !strings.HasSuffix(log, "\n") || strings.Contains(log, "\n\n") {
				t.Errorf("log = %q, want whole lines", log)
			}
		})
	}
}

// The process that optimizes is killed, as a runner does in the end. This test runs itself anew for
// that.
func TestCrashLeavesTheSourceWhole(t *testing.T) {
	if ws := os.Getenv("OPTIMIZE_TEST_CRASH"); ws != "" {
		cfg := faked(t, ws, `echo half > "$out/index.html"; exec 3> `+filepath.Join(filepath.Dir(ws), "fifo")+`; echo up >&3; exec cat `+filepath.Join(filepath.Dir(ws), "never"))
		_, err := check(t, cfg).Run(t.Context(), "")
		t.Fatalf("Run = %v, want to be killed", err)
	}
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/.nojekyll": ""})
	before := snapshot(t, filepath.Join(ws, "dist"))
	fifo := filepath.Join(filepath.Dir(ws), "fifo")
	for _, path := range []string{fifo, filepath.Join(filepath.Dir(ws), "never")} { // nobody opens never, so reading it waits
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashLeavesTheSourceWhole$")
	cmd.Env = append(os.Environ(), "OPTIMIZE_TEST_CRASH="+ws)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, fifo, func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	})
	_ = cmd.Wait()
	if diff := cmp.Diff(before, snapshot(t, filepath.Join(ws, "dist"))); diff != "" {
		t.Errorf("source after a crash (-before +after):\n%s", diff)
	}
	if got := names(t, ws); !strings.Contains(got, ".dist.pageflare-") {
		t.Fatalf("workspace = %q, want the left-over that this test is about", got)
	}
	run(t, faked(t, ws, done))
	if got := names(t, ws); got != "dist" {
		t.Errorf("workspace after the next run = %q, want the left-over gone", got)
	}
	if got := names(t, filepath.Join(ws, "dist")); got != ".nojekyll index.html" {
		t.Errorf("dist = %q, want the site alone", got)
	}
}
