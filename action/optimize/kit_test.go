package optimize_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pageflare/ci/action/optimize"
)

const page = "<!doctype html>\n<html>\n  <head><title>A   page</title></head>\n  <body>\n    <!-- note -->\n    <p>Hello</p>\n  </body>\n</html>\n"

// earlier is a page of an earlier output.
const earlier = `<html><head><meta name="generator" content="Pageflare 2026-01-02 03:04:05 UTC"></head><body>earlier</body></html>`

// site writes files below a new workspace and answers with it. A name that ends in "/" is a folder,
// content "-> x" a link.
func site(t testing.TB, files map[string]string) string {
	t.Helper()
	ws := filepath.Join(t.TempDir(), "ws")
	if err := os.Mkdir(ws, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, ws, files)
	return ws
}

func write(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		target, isLink := strings.CutPrefix(content, "-> ")
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case isLink:
			err = os.Symlink(target, path)
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// config optimizes dist of the workspace with the real CLI, by its own defaults and without the
// guard: what these do is tested in guarded_test.go and profile_test.go.
func config(t testing.TB, ws string) optimize.Config {
	t.Helper()
	binary, err := filepath.Abs("cli/node_modules/@pageflare/cli-linux-x64/bin/pageflare")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("the pageflare CLI is not installed: run make optimizer (%v)", err)
	}
	return optimize.Config{
		Binary: binary, Workspace: ws, Source: "dist", APIURL: "http://127.0.0.1:9",
		Environ: os.Environ(), Log: &logbook{}, TempDir: t.TempDir(), Profile: optimize.ProfileFull, Guard: optimize.GuardOff,
	}
}

// faked optimizes with testdata/fake, which runs the script.
func faked(t testing.TB, ws, script string) optimize.Config {
	t.Helper()
	cfg := optimize.Config{
		Workspace: ws, Source: "dist", Environ: []string{"PATH=" + os.Getenv("PATH")}, Log: &logbook{}, TempDir: t.TempDir(),
		Profile: optimize.ProfileFull, Guard: optimize.GuardOff,
	}
	var err error
	if cfg.Binary, err = filepath.Abs("testdata/fake"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Args = "--log=" + file
	return cfg
}

func check(t testing.TB, cfg optimize.Config) *optimize.Plan {
	t.Helper()
	p, err := optimize.Check(cfg)
	if err != nil {
		t.Fatalf("Check = %v, want a plan", err)
	}
	if filepath.Base(cfg.Binary) == "fake" { // its scripts tell tests what they see
		p.Unconfined()
	}
	return p
}

func run(t testing.TB, cfg optimize.Config) optimize.Report {
	t.Helper()
	r, err := check(t, cfg).Run(t.Context(), "")
	if err != nil {
		t.Fatalf("Run = %v, want a report; log:\n%v", err, cfg.Log)
	}
	return r
}

func fails(t testing.TB, ctx context.Context, cfg optimize.Config) error {
	t.Helper()
	_, err := check(t, cfg).Run(ctx, "")
	if err == nil {
		t.Fatal("Run = nil, want an error")
	}
	return err
}

// snapshot lists everything below root with type, mode and content.
func snapshot(t testing.TB, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			content, err = os.Readlink(path)
		case info.Mode().IsRegular():
			var b []byte
			b, err = os.ReadFile(path)
			content = string(b)
		}
		rel, _ := filepath.Rel(root, path)
		all[rel] = fmt.Sprintf("%v %s", info.Mode(), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t testing.TB, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// logbook is a log that can be watched: on is called with each write.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
	on  func(line string)
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on != nil {
		l.on(string(b))
	}
	return l.buf.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
