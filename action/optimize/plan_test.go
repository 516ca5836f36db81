package optimize_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pageflare/ci/action/optimize"
)

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files map[string]string
		set   func(cfg *optimize.Config, ws string)
		want  []string
	}{
		{"a missing binary", nil, func(c *optimize.Config, ws string) { c.Binary = ws + "/none" }, []string{"optimizer", "no such file", "optimizer-path"}},
		{"a binary named relatively", nil, func(c *optimize.Config, ws string) { c.Binary = "testdata/fake" }, []string{"not an absolute path"}},
		{"a folder as binary", nil, func(c *optimize.Config, ws string) { c.Binary = ws }, []string{"not a file"}},
		{"a binary that cannot run", nil, func(c *optimize.Config, ws string) { c.Binary = ws + "/dist/index.html" }, []string{"not executable", "chmod +x"}},
		{"a missing source", nil, func(c *optimize.Config, ws string) { c.Source = "nope" }, []string{`source "nope"`, "no such file or folder", "build the site first"}},
		{"no source", nil, func(c *optimize.Config, ws string) { c.Source = "" }, []string{"source is not set"}},
		{"a file as source", map[string]string{"f": ""}, func(c *optimize.Config, ws string) { c.Source = "f" }, []string{`source "f" is not a folder`}},
		{"an empty source", map[string]string{"e/": ""}, func(c *optimize.Config, ws string) { c.Source = "e" }, []string{`source "e" is empty`}},
		{"the workspace as source", nil, func(c *optimize.Config, ws string) { c.Source = "." }, []string{"workspace itself", "folder of its own"}},
		{"the workspace as source through a link", map[string]string{"l": "-> ."}, func(c *optimize.Config, ws string) { c.Source = "l" }, []string{"workspace itself"}},
		{"a source above the workspace", nil, func(c *optimize.Config, ws string) { c.Source = ".." }, []string{"outside the workspace"}},
		{"a source outside through a link", map[string]string{"l": "-> /usr"}, func(c *optimize.Config, ws string) { c.Source = "l" }, []string{"outside the workspace (/usr)"}},
		{"a sibling whose name begins like the workspace", map[string]string{"../ws2/index.html": page}, func(c *optimize.Config, ws string) { c.Source = "../ws2" }, []string{"outside the workspace"}},
		{"a workspace that is not there", nil, func(c *optimize.Config, ws string) { c.Workspace = ws + "/none" }, []string{"workspace"}},
		{"a temporary folder in the workspace", map[string]string{"tmp/": ""}, func(c *optimize.Config, ws string) { c.TempDir = ws + "/tmp" }, []string{"temporary folder", "inside the workspace"}},

		{"a link out of the source", map[string]string{"dist/a/x.txt": "-> /etc/passwd"}, nil, []string{`"a/x.txt" is a link to "/etc/passwd" outside`}},
		{"a link to a neighbour", map[string]string{"dist/x": "-> ../other", "other/f": ""}, nil, []string{`"x" is a link to "../other" outside`}},
		{"a link out by way of another link", map[string]string{"dist/a": "-> b", "dist/b": "-> ../.."}, nil, []string{`"a" is a link to "b"`, `"b" is a link to "../.."`}},
		{"a broken link out of the source", map[string]string{"dist/x": "-> ../none"}, nil, []string{`"x" is a link to "../none" outside`}},
		{"a link below a dot folder", map[string]string{"dist/.d/x": "-> /etc"}, nil, []string{`".d/x" is a link to "/etc" outside`}},
		{"a link to the credentials of a checkout", map[string]string{"dist/.git/config": "token", "dist/robots.txt": "-> .git/config"}, toOut,
			[]string{`"robots.txt" is a link to ".git/config", which is kept out of the published site; remove the link`}},
		{"a link to a checkout", map[string]string{"dist/sub/.git/config": "token", "dist/x": "-> sub/.git", "dist/y": "-> x/config"}, toOut,
			[]string{`"x" is a link to "sub/.git"`, `"y" is a link to "x/config"`}},
		{"a broken link into a checkout", map[string]string{"dist/x": "-> .git/config"}, nil, []string{`"x" is a link to ".git/config"`}},
		{"a link to a file of the optimizer's own", map[string]string{"dist/pageflare.jsonc": "{}", "dist/.appz/a": "", "dist/a.json": "-> pageflare.jsonc", "dist/b": "-> .appz/a"},
			toOut, []string{`"a.json" is a link`, `"b" is a link`}},
		{"a link to the optimizer's manifest", map[string]string{"dist/.pageflare-output-manifest.json": "[]", "dist/m.json": "-> .pageflare-output-manifest.json"}, nil,
			[]string{`"m.json" is a link`}},
		{"every fault of the site", map[string]string{"dist/x": "-> /etc", "dist/\ny": "-> /usr"}, nil, []string{`"x"`, `"\ny"`}},
		{"a checkout in place", map[string]string{"dist/.git/HEAD": "ref"}, nil, []string{`".git" is a Git checkout`}},
		{"a submodule in place", map[string]string{"dist/sub/.git": "gitdir: x"}, nil, []string{`"sub/.git" is a Git checkout`}},

		{"an output inside the source", nil, func(c *optimize.Config, ws string) { c.Output = "dist/out" }, []string{`output "dist/out" lies inside the source`}},
		{"an output inside the source through a link", map[string]string{"l": "-> dist"}, func(c *optimize.Config, ws string) { c.Output = "l/out" }, []string{"lies inside the source"}},
		{"an output above the source", map[string]string{"a/dist/index.html": page}, func(c *optimize.Config, ws string) { c.Source, c.Output = "a/dist", "a" }, []string{`output "a" holds the source`}},
		{"the workspace as output", nil, func(c *optimize.Config, ws string) { c.Output = ws }, []string{"is the workspace itself"}},
		{"an output outside", nil, func(c *optimize.Config, ws string) { c.Output = "../out" }, []string{"outside the workspace"}},
		{"an output outside through a link", map[string]string{"l": "-> /tmp"}, func(c *optimize.Config, ws string) { c.Output = "l/out" }, []string{"outside the workspace"}},
		{"a file as output", map[string]string{"f": ""}, func(c *optimize.Config, ws string) { c.Output = "f" }, []string{`output "f" is a file`}},
		{"an output below a file", map[string]string{"f": ""}, func(c *optimize.Config, ws string) { c.Output = "f/out" }, []string{`output "f/out"`, "not a directory"}},
		{"an output that is a checkout", map[string]string{"o/.git": "gitdir: x"}, func(c *optimize.Config, ws string) { c.Output = "o" }, []string{`output "o" holds the checkout ".git"`}},
		{"an output with a checkout in it", map[string]string{"o/pkgs/a/.git/HEAD": "ref"}, func(c *optimize.Config, ws string) { c.Output = "o" }, []string{`output "o" holds the checkout "pkgs/a/.git"`}},
		{"the repository itself as output", map[string]string{".git/HEAD": "ref"}, func(c *optimize.Config, ws string) { c.Output = ".git" }, []string{`output ".git" lies in a .git folder`}},
		{"a part of the repository as output", map[string]string{".git/hooks/x": ""}, func(c *optimize.Config, ws string) { c.Output = ".git/hooks" }, []string{`output ".git/hooks" lies in a .git folder`}},
		{"the repository itself as source", map[string]string{".git/HEAD": "ref"}, func(c *optimize.Config, ws string) { c.Source = ".git" }, []string{`source ".git" lies in a .git folder`}},
		{"the workflows as output", nil, func(c *optimize.Config, ws string) { c.Output = ".github" }, []string{`output ".github" lies in .github, where the workflows are`}},
		{"an output among the workflows", map[string]string{".github/x": ""}, func(c *optimize.Config, ws string) { c.Output = ".github/site" }, []string{"where the workflows are"}},
		{"an output with the sources of a program", map[string]string{"src/main.js": "x"}, func(c *optimize.Config, ws string) { c.Output = "src" },
			[]string{`output "src" holds files that this Action did not make, such as "main.js"`, "remove it in a step before, or set input output to another folder"}},
		{"an output with pages that were not optimized", map[string]string{"public/index.html": page}, func(c *optimize.Config, ws string) { c.Output = "public" },
			[]string{`output "public" holds files that this Action did not make, such as "index.html"`}},
		{"an output with a link to an optimized page", map[string]string{"o/index.html": "-> ../p.html", "p.html": earlier}, func(c *optimize.Config, ws string) { c.Output = "o" },
			[]string{"did not make"}},
		{"a dangling link as output", map[string]string{"l": "-> none"}, func(c *optimize.Config, ws string) { c.Output = "l" }, []string{"symlink to nothing"}},

		{"faults of binary, arguments and folders at once", nil, func(c *optimize.Config, ws string) { c.Binary, c.Source, c.Args = "/none", "nope", "--json" }, []string{"/none", "nope", "--json"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page})
			write(t, ws, tt.files)
			cfg := faked(t, ws, "")
			if tt.set != nil {
				tt.set(&cfg, ws)
			}
			before := snapshot(t, ws)
			refused(t, cfg, tt.want...)
			if len(snapshot(t, ws)) != len(before) {
				t.Error("the workspace changed, want nothing touched")
			}
		})
	}
}

// toOut sets an output beside the source.
func toOut(c *optimize.Config, _ string) { c.Output = "out" }

func refused(t *testing.T, cfg optimize.Config, want ...string) {
	t.Helper()
	_, err := optimize.Check(cfg)
	if err == nil {
		t.Fatal("Check = nil, want a refusal")
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("Check = %q, want it to say %q", err, part)
		}
	}
}

func TestCheckRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page})
	for name, kind := range map[string]uint32{"pipe": unix.S_IFIFO, "sock": unix.S_IFSOCK} {
		if err := unix.Mknod(filepath.Join(ws, "dist", name), kind|0o644, 0); err != nil {
			t.Fatal(err)
		}
	}
	cfg := faked(t, ws, "")
	refused(t, cfg, `"pipe" is no file`, `"sock" is no file`)
}

// Without the right to override permissions, as a self-hosted runner's user has it.
func TestCheckRefusesWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	ws := site(t, map[string]string{"dist/index.html": page, "dist/secret.txt": "x", "dist/closed/a": "", "dist/l": "-> secret.txt", "shut/": ""})
	for _, name := range []string{"dist/secret.txt", "dist/closed"} {
		path := filepath.Join(ws, name)
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
	}
	if err := os.Chmod(filepath.Join(ws, "shut"), 0o500); err != nil {
		t.Fatal(err)
	}
	cfg := faked(t, ws, "")
	asUser(t)
	refused(t, cfg, `"secret.txt" cannot be read`, `"closed" cannot be read`, `"l" is a link to "secret.txt", which cannot be read`)
	cfg.Output = "shut/out"
	refused(t, cfg, `parent folder is not writable`)
}

// asUser takes root's right to override permissions from this test's thread, which ends with the
// test.
func asUser(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
}

func TestCheckBoundsWhatItReports(t *testing.T) {
	t.Parallel()
	files := map[string]string{"dist/index.html": page}
	for i := range 100 {
		files["dist/l"+strings.Repeat("x", i)] = "-> /etc"
	}
	cfg := faked(t, site(t, files), "")
	_, err := optimize.Check(cfg)
	if n := strings.Count(err.Error(), "\n") + 1; n != 21 {
		t.Errorf("Check reports %d faults of 100, want 20 and a last line", n)
	}
}

func TestCheckTakesAnOutputThatIsEmptyOrAnEarlierOne(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"none":                                     {},
		"an empty folder":                          {"out/": ""},
		"a folder that is kept empty":              {"out/.gitkeep": ""},
		"the same pages":                           {"out/index.html": earlier, "out/index.webp": ""},
		"pages that the source had once":           {"out/index.html": earlier, "out/a/gone.html": page, "out/.nojekyll": "", "out/gone.js": ""},
		"a first page that could not be processed": {"out/index.html": page, "out/about.html": earlier},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page})
			write(t, ws, files)
			cfg := faked(t, ws, done)
			cfg.Output = "out"
			run(t, cfg)
			if got := names(t, filepath.Join(ws, "out")); got != "index.html" {
				t.Errorf("out = %q, want it replaced", got)
			}
		})
	}
}

func TestCheckComparesRealFolders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, source, output string
		inPlace              bool
		want                 string
	}{
		{"no output is in place", "dist", "", true, "dist"},
		{"the source as output is in place", "dist", "./x/../dist/", true, "dist"},
		{"a link to the source is in place", "dist", "link", true, "dist"},
		{"a link as source stands for its folder", "link", "", true, "dist"},
		{"an output beside", "dist", "out", false, "out"},
		{"an output whose name begins like the source", "dist", "dist2", false, "dist2"},
		{"an output in folders to be made", "dist", "a/b/c", false, "a/b/c"},
		{"a link as output stands for its folder", "dist", "other", false, "real"},
		{"an output below a link", "dist", "other/new", false, "real/new"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page, "link": "-> dist", "real/": "", "other": "-> real", "x/": ""})
			cfg := faked(t, ws, "")
			cfg.Source, cfg.Output = tt.source, tt.output
			p := check(t, cfg)
			if p.InPlace != tt.inPlace || p.Output != filepath.Join(ws, tt.want) || p.Source != filepath.Join(ws, "dist") {
				t.Errorf("plan = %q to %q in place %v, want to %q in place %v", p.Source, p.Output, p.InPlace, tt.want, tt.inPlace)
			}
		})
	}
}

func TestCheckNamesAnOutputLeftAside(t *testing.T) {
	t.Parallel()
	cfg := faked(t, site(t, map[string]string{".dist.pageflare-123/index.html": page}), "")
	refused(t, cfg, "build the site first")
	write(t, cfg.Workspace, map[string]string{".dist.pageflare-456.old/index.html": page})
	refused(t, cfg, `an interrupted run left it as ".dist.pageflare-456.old": rename that back`)
}
