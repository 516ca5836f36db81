package main

import (
	"os/exec"
	"strings"
	"testing"
)

// What bash offers is what there is, at each place of the command line.
func TestBashCompletesCommandsAndFlags(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("completion", b.ok("completion", "bash"))
	offers := func(words ...string) []string {
		t.Helper()
		script := `source ./completion; COMP_WORDS=(pageflare-license "$@"); COMP_CWORD=$#; _pageflare_license; printf '%s\n' "${COMPREPLY[@]}"`
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", script, "bash"}, words...)...)
		cmd.Dir = b.dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", words, err, out)
		}
		return strings.Fields(string(out))
	}
	for line, want := range map[string]string{
		"acc": "account", "account d": "delete", "account create --e": "--email", "key retire --f": "--force",
		"serve --listen": "--listen", "account delete --json --y": "--yes", "delete": "", "completion": "completion",
	} {
		if got := strings.Join(offers(strings.Fields(line)...), " "); got != want {
			t.Errorf("%s<Tab> = %q, want %q", line, got, want)
		}
	}
	for path, node := range paths(model(t).Node) {
		got := " " + strings.Join(append(offers(append(strings.Fields(path), "")...), offers(append(strings.Fields(path), "--")...)...), " ") + " "
		for _, child := range node.Children {
			if !strings.Contains(got, " "+child.Name+" ") {
				t.Errorf("%s <Tab> lacks %s: %s", path, child.Name, got)
			}
		}
		for _, f := range node.Flags {
			if !strings.Contains(got, " --"+f.Name+" ") {
				t.Errorf("%s <Tab> lacks --%s: %s", path, f.Name, got)
			}
		}
	}
}

// The scripts of the other shells name every command and flag too.
func TestEveryShellHasAScript(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	zsh, fish := b.ok("completion", "zsh"), b.ok("completion", "fish")
	if !strings.HasPrefix(zsh, "autoload -U +X bashcompinit && bashcompinit\n") || !strings.HasSuffix(zsh, b.ok("completion", "bash")) {
		t.Errorf("completion zsh:\n%s", zsh)
	}
	for path, node := range paths(model(t).Node) {
		for _, f := range node.Flags {
			if want := ` = " ` + path + `"' -l ` + f.Name + ` -d '`; !strings.Contains(fish, want) {
				t.Errorf("completion fish lacks %s", want)
			}
		}
	}
	b.run("completion", "tcsh").wantFaults(t, `<shell> must be one of "bash","zsh","fish" but got "tcsh"`)
}
